"""The model as one of Optuna's samplers."""

from __future__ import annotations

import math
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from optformer.data.runtime.forks import freed_by_fork
from optformer.data.studies.errors import (
    MetricError,
    SearchSpaceError,
    SpaceExhaustedError,
    StudyError,
)
from optformer.data.studies.optuna_distributions import (
    from_distributions,
    to_distributions,
    union_of_distributions,
)
from optformer.data.studies.parameters import Value, is_whole
from optformer.data.studies.space_files import load_space
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.planning.acquisition import check_strategy
from optformer.serving.integrations.optuna_history import (
    PLAN,
    declared_space,
    infer_space,
    legal_values,
    read_goals,
    read_trials,
    read_words,
    recorded_space,
    values_of,
    whole,
)
from optformer.serving.study.optuna_goals import CONSTRAINTS, foreign_limits

if TYPE_CHECKING:
    from optformer.planning.planner import Planner

_SEEDS = 2**63


class OptFormerSampler(BaseSampler):
    """Suggests the trials of an Optuna study with the pretrained model.

        study = optuna.create_study(sampler=optformer.OptFormerSampler())

    The model reads the names and ranges of the parameters, the study's name and user attributes,
    and all trials: running, failed and pruned ones, too. The study is the only state, so one
    sampler may serve several studies, and several processes one study.

    Several objectives are ranked by their expected hypervolume improvement, from one prediction
    each; constraints weigh it by the predicted chance to keep them.

    The space is the union of what the trials have asked for, with the conditions that they follow.
    A parameter that is new, or that is asked for with another range, is chosen on its own, given
    what the trial has so far. With `space` all of it is known from the first trial on.

    Args:
        seed: Seed of the suggestions, at least 0: with the same seed, the same trials get the same
            suggestions. Drawn when absent.
        space: The space, where it is known before the search: ours, with descriptions, ordinals and
            conditions, which Optuna's distributions do not have, or whatever `load_space` reads. A
            study of `optformer.create_study` comes with its own.
        metadata: Free text about the task, which the model reads (task, data set, model, ...).
        model: Directory of a checkpoint; the shipped one when absent.
        strategy: How suggestions are chosen: "ei", "pi", "ucb", "ts" or "optimum"; "ei" alone with
            several objectives or constraints.
        constraints_func: Computes the constraints of a finished trial, at most 0 where it keeps
            them. From Optuna 5 on, `trial.set_constraint` in the objective does the same.

    Raises:
        StudyError: The seed is not a whole number of at least 0.
        ConfigError: The strategy is unknown.
        SearchSpaceError: The space cannot be read, or Optuna cannot hold it.
    """

    def __init__(
        self,
        *,
        seed: int | None = None,
        space: Any = None,
        metadata: Mapping[str, str] | None = None,
        model: str | Path | None = None,
        strategy: str = "ei",
        constraints_func: Callable[[FrozenTrial], Sequence[float]] | None = None,
    ) -> None:
        if seed is not None and (not is_whole(seed) or seed < 0):
            raise StudyError(f"seed must be a whole number of at least 0, got {seed!r}")
        check_strategy(strategy)
        self._seed = secrets.randbelow(2**32) if seed is None else int(seed)
        self._space = None if space is None else load_space(space)
        if self._space is not None:
            to_distributions(self._space)  # refuses at once what Optuna cannot hold
        self._metadata = dict(metadata or {})
        self._model, self._strategy = model, strategy
        self._constraints_func = constraints_func
        self._config: StudyConfig | None = None  # the last one: its metadata are encoded
        self._turn = freed_by_fork(threading.Lock())

    def __getstate__(self) -> dict[str, Any]:
        """All but what another process makes anew."""
        kept = {**self.__dict__, "_config": None}
        return {name: kept[name] for name in kept if name not in ("_turn", "_planner")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _turn=freed_by_fork(threading.Lock()))

    def reseed_rng(self) -> None:
        """Draw another seed."""
        self._seed = secrets.randbelow(2**32)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The declared space, and what the trials so far have asked for.

        Raises:
            SearchSpaceError: A parameter has changed its kind; the message names it.
        """
        space = self._declared_in(study)
        declared = {} if space is None else to_distributions(space)
        asked = [other.distributions for other in _others(study, trial)]
        return union_of_distributions([declared, *asked])

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The next values of the parameters, those that are active.

        They are noted in the trial, so that others know them before it asks.

        Raises:
            SearchSpaceError: A distribution cannot be read; the message names the parameter.
        """
        held = values_of(trial)
        if all(name in held or each.single() for name, each in search_space.items()):
            return {}
        distributions = {**search_space, **trial.distributions}
        with self._turn:
            point = self._suggest(study, trial, distributions, held)
            values = {name: point[name] for name in search_space if name in point}
            # Optuna's own samplers note things in a trial like this, too.
            study._storage.set_trial_system_attr(trial._trial_id, PLAN, values)
        return values

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """The next value of one parameter, given those that the trial has.

        Raises:
            SearchSpaceError: The distribution cannot be read, or the declared space says that the
                parameter is inactive in this trial; the message names it.
        """
        asked = {param_name: param_distribution}
        (parameter,) = from_distributions(asked).values()
        # Any value will do, to say that the parameter is active here.
        anything = {param_name: parameter.sample(np.random.default_rng(0))}
        distributions = {**trial.distributions, **asked}
        with self._turn:
            point = self._suggest(study, trial, distributions, trial.params, anything)
        if param_name not in point:
            raise SearchSpaceError(
                f"parameter {param_name!r} is asked for where the declared space has it inactive, "
                f"beside {trial.params}; declare another condition, or leave the space away"
            )
        return point[param_name]

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Store the constraints of a trial with a value, where a function computes them.

        Raises:
            MetricError: A constraint is not a number.
        """
        del values
        if self._constraints_func is None or state not in (TrialState.COMPLETE, TrialState.PRUNED):
            return
        constraints = [float(constraint) for constraint in self._constraints_func(trial)]
        if any(map(math.isnan, constraints)):
            raise MetricError(
                f"constraints_func must return numbers, got {constraints} of trial {trial.number}"
            )
        study._storage.set_trial_system_attr(trial._trial_id, CONSTRAINTS, constraints)

    def _suggest(
        self,
        study: Study,
        trial: FrozenTrial,
        distributions: Mapping[str, BaseDistribution],
        held: Mapping[str, Value],
        active: Mapping[str, Value] | None = None,
    ) -> dict[str, Value]:
        """A point for a trial that holds some of its values already.

        Args:
            study: The study.
            trial: The trial.
            distributions: The parameters of the space.
            held: Values that the trial holds.
            active: Parameters without a value that are known to be active.
        """
        others = _others(study, trial)
        declared = self._declared_in(study)
        if declared is None:
            space = infer_space(distributions, others, {**(active or {}), **held})
        else:
            space = declared_space(distributions, declared)
        held = legal_values(space, held)
        config = self._configure(study, space, others)
        history = read_trials(others, config)
        # A suggestion beside others that have said nothing yet must differ from theirs.
        seed = (self._seed + trial.number - len(history)) % _SEEDS
        if trial.number and not history:
            return _space_filling(space, held, seed, trial.number)
        try:
            (suggestion,) = self._planner.suggest(config, history, 1, seed=seed, fixed=held)
            return suggestion.params
        except SpaceExhaustedError:  # Optuna goes on, since objectives may be noisy
            return space.sample(np.random.default_rng([seed, trial.number]), held)

    def _declared_in(self, study: Study) -> SearchSpace | None:
        return recorded_space(whole(study)) if self._space is None else self._space

    def _configure(
        self, study: Study, space: SearchSpace, trials: Sequence[FrozenTrial]
    ) -> StudyConfig:
        """The study as the model reads it; the same object while nothing changes."""
        (metric, goal), *further = read_goals(whole(study)).items()
        config = StudyConfig(
            space=space,
            metric=metric,
            goal=goal,
            metadata={**read_words(whole(study)), **self._metadata},
            further_goals=dict(further),
            limits=foreign_limits(trials),
        )
        if self._config is None or self._config != config:
            self._config = config
        return self._config

    @cached_property
    def _planner(self) -> Planner:
        from optformer.planning.planner import load_planner

        return load_planner(self._model, strategy=self._strategy)


def _space_filling(
    space: SearchSpace, held: Mapping[str, Value], seed: int, number: int
) -> dict[str, Value]:
    """A point for a trial beside which others run that have not said what they try."""
    from optformer.planning.candidates import space_filling
    from optformer.planning.space_transform import SpaceTransform

    transform = SpaceTransform(space, held)
    rng = np.random.default_rng([seed, number])
    (values,) = space_filling(transform, np.empty((0, len(space))), seed, number, rng).values
    return transform.decode(values)


def _others(study: Study, trial: FrozenTrial) -> list[FrozenTrial]:
    """The other trials of a study."""
    return [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
