"""What a sampler reads of an Optuna study: its space, its trials and its words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.inferred_conditions import infer_conditions
from optformer.data.studies.optuna_distributions import from_distributions, to_distributions
from optformer.data.studies.parameters import Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import Goal
from optformer.data.studies.trials import Trial
from optformer.serving.study.optuna_trials import read_outcome

PLAN = "optformer:plan"
"""System attribute of a trial: the values chosen for it, which it asks for one by one."""

CONSTRAINTS = "constraints"
"""System attribute in which Optuna keeps the constraints of a trial, those with names each behind a
colon."""


def whole(study: Study) -> Study:
    """The study itself, of the one bracket of it that samplers see beside a `HyperbandPruner`."""
    inner = getattr(study, "_study", study)
    return inner if isinstance(inner, Study) else study


def values_of(trial: FrozenTrial) -> dict[str, Value]:
    """What a trial tries, as far as that is known: asked for, enqueued, or planned for it."""
    if trial.state.is_finished():
        return trial.params
    enqueued = trial.system_attrs.get("fixed_params", {})
    return {**trial.system_attrs.get(PLAN, {}), **enqueued, **trial.params}


def infer_space(
    distributions: Mapping[str, BaseDistribution],
    trials: Sequence[FrozenTrial],
    current: Mapping[str, Value],
) -> SearchSpace:
    """The space of some parameters, with the conditions that the trials follow.

    Args:
        distributions: The parameters.
        trials: The other trials of the study.
        current: What the trial in question tries; it may try more.

    Raises:
        SearchSpaceError: A distribution cannot be read; the message names the parameter.
    """
    entire = [trial.params for trial in trials if trial.state is TrialState.COMPLETE]
    cut = [values_of(trial) for trial in trials if trial.state is not TrialState.COMPLETE]
    return infer_conditions(from_distributions(distributions), entire, [*cut, current])


def declared_space(
    distributions: Mapping[str, BaseDistribution], declared: SearchSpace
) -> SearchSpace:
    """The space of some parameters, as it was declared where it was.

    A parameter that is asked for with another distribution than declared keeps its condition and
    description; one that was not declared has neither.

    Raises:
        SearchSpaceError: A distribution cannot be read, or contradicts a declared condition; the
            message names the parameter.
    """
    parameters = dict(from_distributions(distributions))
    written = to_distributions(declared)
    for name in parameters.keys() & declared.keys():
        known = declared[name]
        when = {parent: v for parent, v in (known.when or {}).items() if parent in parameters}
        parameter = known if distributions[name] == written[name] else parameters[name]
        parameters[name] = replace(parameter, when=when or None, description=known.description)
    return SearchSpace(parameters)


def constraints_of(trial: FrozenTrial) -> dict[str, float]:
    """The constraints of a trial by name, at most 0 where it keeps them.

    They come from `trial.set_constraint(name, value)` of Optuna 5, or from a `constraints_func`,
    which gives them no names.
    """
    attributes = trial.system_attrs
    unnamed = enumerate(attributes.get(CONSTRAINTS) or ())
    prefix = f"{CONSTRAINTS}:"
    return {
        **{f"constraint_{index}": value for index, value in unnamed},
        **{
            f"constraint_{key.removeprefix(prefix)}": value
            for key, value in attributes.items()
            if key.startswith(prefix)
        },
    }


def read_goals(study: Study) -> dict[str, Goal]:
    """The goals of a study by the names of its metrics."""
    directions = study.directions
    unnamed = ["value"] if len(directions) == 1 else [f"value_{i}" for i in range(len(directions))]
    names = study.metric_names or unnamed
    return {
        name: "maximize" if direction is StudyDirection.MAXIMIZE else "minimize"
        for name, direction in zip(names, directions, strict=True)
    }


def read_trials(
    trials: Sequence[FrozenTrial], space: SearchSpace, goals: Sequence[str] = ()
) -> list[Trial]:
    """Trials in the words of a space, without those that say nothing about it.

    Args:
        trials: The trials.
        space: The space.
        goals: Names of the goals where a trial has several metrics, constraints among them.
    """
    history = []
    for frozen in trials:
        params = legal_values(space, values_of(frozen))
        if params:
            status, value, reason = read_outcome(frozen)
            metrics = _metrics(frozen, goals) if goals else {}
            history.append(Trial(frozen.number, params, status, value, reason, metrics))
    return history


def _metrics(frozen: FrozenTrial, goals: Sequence[str]) -> dict[str, float]:
    values = dict(zip(goals, frozen.values or (), strict=False))
    found = {**values, **constraints_of(frozen)}
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}


def legal_values(space: SearchSpace, values: Mapping[str, Value]) -> dict[str, Value]:
    """The values that lie in a space; Optuna takes others, too, and only warns."""
    legal: dict[str, Value] = {}
    for name, parameter in space.items():
        if name in values and space.is_active(name, legal):
            with suppress(SearchSpaceError):
                legal[name] = parameter.validate(values[name])
    return legal
