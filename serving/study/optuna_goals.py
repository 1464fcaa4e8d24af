"""Several goals, and limits, as Optuna has them: directions, values and constraints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from optformer.data.studies.limits import Limit
from optformer.data.studies.study_config import Goal, StudyConfig
from optformer.data.studies.trials import Trial

CONSTRAINTS = "constraints"
"""Trial system attribute of Optuna 4; Optuna 5 adds a colon and a name."""

_NAMED = hasattr(optuna.trial.Trial, "set_constraint")


def directions(config: StudyConfig) -> list[Goal]:
    """The direction of each goal, as Optuna writes it."""
    return list(config.goals.values())


def goal_of(direction: StudyDirection) -> Goal:
    """A direction of Optuna's as a goal."""
    return "maximize" if direction is StudyDirection.MAXIMIZE else "minimize"


def values(config: StudyConfig, trial: Trial) -> list[float] | None:
    """The value of each goal of a trial, None when it has none."""
    metrics = config.metrics_of(trial)
    if not config.goals.keys() <= metrics.keys():
        return None
    return [metrics[name] for name in config.goals]


def constraints(config: StudyConfig, trial: Trial) -> dict[str, Any]:
    """Trial system attributes that say by how much a trial is beyond each limit.

    Optuna calls a trial feasible when all are at most 0.
    """
    metrics = config.metrics_of(trial)
    if not config.limits.keys() <= metrics.keys():  # one that failed or was stopped early
        return {}
    beyond = {name: limit.violation(metrics[name]) for name, limit in config.limits.items()}
    if _NAMED:
        return {f"{CONSTRAINTS}:{name}": amount for name, amount in beyond.items()}
    return {CONSTRAINTS: list(beyond.values())} if beyond else {}


def foreign_limits(trials: Iterable[FrozenTrial]) -> dict[str, Limit]:
    """A limit "<= 0" for each constraint of trials that Optuna wrote, by the metric's name."""
    names = dict.fromkeys(name for trial in trials for name in _constraint_metrics(trial))
    return {name: Limit("<=", 0.0) for name in names}


def foreign_metrics(config: StudyConfig, trial: FrozenTrial) -> dict[str, Any]:
    """The values of a trial's further goals, and its constraints as metrics, by name.

    Constraints that stand for limits of our own are left out: their metrics are user attributes.
    """
    goals = dict(zip(config.goals, trial.values or [], strict=False))
    every = {**goals, **_constraint_metrics(trial)}
    return {name: every[name] for name in (*config.further_goals, *config.limits) if name in every}


def _constraint_metrics(trial: FrozenTrial) -> dict[str, Any]:
    attributes: Mapping[str, Any] = trial.system_attrs
    told = attributes.get(CONSTRAINTS)
    listed = told if isinstance(told, list | tuple) else ()  # what else is there is no constraint
    named = {
        key.removeprefix(f"{CONSTRAINTS}:"): value
        for key, value in attributes.items()
        if key.startswith(f"{CONSTRAINTS}:")
    }
    every = {**{str(i): value for i, value in enumerate(listed)}, **named}
    return {f"constraint {name}": value for name, value in every.items()}
