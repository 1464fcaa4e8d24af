"""Optuna's samplers as search methods.

The history becomes a fresh study in memory, with pending trials as running ones, and the sampler is
asked define-by-run, so that it sees conditions as in a user's objective. Categoricals and ordinals
go by position: unordered, and as an integer. Fixed values are not suggested at all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from optformer.data.methods.base import check_count
from optformer.data.methods.points import point_key, sample_untried, tried_keys
from optformer.data.runtime.optuna_logging import quiet_optuna
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Parameter, Value
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler


class _OptunaMethod(ABC):
    """A sampler asked anew with the whole history; a point that was tried is drawn at random."""

    def __init__(self, config: StudyConfig) -> None:
        self._config = config

    @abstractmethod
    def _sampler(self, seed: int) -> BaseSampler:
        """The sampler with that seed."""

    def suggest(
        self, history: Sequence[Trial], count: int, rng: np.random.Generator
    ) -> list[dict[str, Value]]:
        """See `SearchMethod.suggest`."""
        check_count(count)
        tried = tried_keys(history)
        points: list[dict[str, Value]] = []
        searched = {
            name: _distribution(parameter)
            for name, parameter in self._config.space.items()
            if name not in self._config.fixed
        }
        with quiet_optuna():
            study = self._study(history, searched, int(rng.integers(2**31)))
            for _ in range(count):
                point = self._ask(study, searched)
                if point_key(point) in tried:
                    point = sample_untried(self._config.space, self._config.fixed, tried, rng)
                tried.add(point_key(point))
                points.append(point)
        return points

    def _study(
        self, history: Sequence[Trial], searched: Mapping[str, BaseDistribution], seed: int
    ) -> optuna.Study:
        import optuna

        study = optuna.create_study(direction=self._config.goal, sampler=self._sampler(seed))
        study.add_trials(self._frozen(trial, searched) for trial in history)
        return study

    def _frozen(
        self, trial: Trial, searched: Mapping[str, BaseDistribution]
    ) -> optuna.trial.FrozenTrial:
        import optuna

        states = {
            TrialStatus.PENDING: optuna.trial.TrialState.RUNNING,
            TrialStatus.FAILED: optuna.trial.TrialState.FAIL,
        }
        space = self._config.space
        names = [name for name in trial.params if name in searched]
        return optuna.create_trial(
            state=states.get(trial.status, optuna.trial.TrialState.COMPLETE),
            value=trial.value,
            params={name: position(space[name], trial.params[name]) for name in names},
            distributions={name: searched[name] for name in names},
        )

    def _ask(
        self, study: optuna.Study, searched: Mapping[str, BaseDistribution]
    ) -> dict[str, Value]:
        trial = study.ask()
        space, fixed = self._config.space, self._config.fixed
        params: dict[str, Value] = {}
        for name, parameter in space.items():
            if not space.is_active(name, params):
                continue
            if name in fixed:
                params[name] = fixed[name]
            else:
                params[name] = _from_optuna(parameter, _suggest(trial, name, searched[name]))
        return params


class OptunaTpe(_OptunaMethod):
    """Optuna's TPESampler: draws where good trials are denser than the rest.

    Ten random trials come first; a pending trial counts among the bad ones.

    Source: Bergstra et al. 2011, "Algorithms for hyper-parameter optimization".

    Args:
        config: The study.
    """

    def _sampler(self, seed: int) -> BaseSampler:
        from optuna.samplers import TPESampler

        return TPESampler(seed=seed, constant_liar=True)


class OptunaGp(_OptunaMethod):
    """Optuna's GPSampler: maximizes expected improvement under a Gaussian process.

    Ten random trials come first.

    Source: Snoek et al. 2012, "Practical Bayesian optimization of machine learning algorithms".

    Args:
        config: The study.
    """

    def _sampler(self, seed: int) -> BaseSampler:
        from optuna.samplers import GPSampler

        return GPSampler(seed=seed, warn_independent_sampling=False)


def _distribution(parameter: Parameter) -> BaseDistribution:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    match parameter:
        case Float():
            return FloatDistribution(
                parameter.low, parameter.from_unit(1.0), log=parameter.log, step=parameter.step
            )
        case Int(num_levels=None):  # the Gaussian process would list every level
            return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
        case Int():
            return IntDistribution(
                parameter.low, parameter.from_unit(1.0), log=parameter.log, step=parameter.step
            )
        case Ordinal():
            return IntDistribution(0, parameter.num_levels - 1)
        case Categorical():
            return CategoricalDistribution(tuple(range(parameter.num_levels)))


def position(parameter: Parameter, value: Value) -> Value:
    """A value as Optuna is told it: that of a list by its place."""
    return parameter.index(value) if isinstance(parameter, Categorical | Ordinal) else value


def _from_optuna(parameter: Parameter, value: Value) -> Value:
    if isinstance(parameter, Categorical | Ordinal):
        return parameter.choices[value]
    if isinstance(parameter, Int):
        return parameter.from_unit(parameter.to_unit(value))
    return parameter.validate(value)


def _suggest(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> Value:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    match distribution:
        case FloatDistribution(low=low, high=high, log=log, step=step):
            return trial.suggest_float(name, low, high, log=log, step=step)
        case IntDistribution(low=low, high=high, log=log, step=step):
            return trial.suggest_int(name, low, high, log=log, step=step)
        case CategoricalDistribution(choices=choices):
            return trial.suggest_categorical(name, choices)
