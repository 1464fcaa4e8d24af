"""The Pareto front of a study's trials, and the volume that it dominates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from optformer.data.studies.errors import StudyError
from optformer.data.studies.pareto import hypervolume, nondominated
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus


def pareto_front(config: StudyConfig, trials: Sequence[Trial]) -> list[Trial]:
    """Completed trials that keep the limits and that no other one beats, by number.

    Args:
        config: The study's configuration.
        trials: Its trials.
    """
    counted = [
        trial
        for trial in trials
        if trial.status is TrialStatus.COMPLETED and _complete(config, trial)
    ]
    kept = nondominated(_gains(config, counted))
    return [trial for trial, keeps in zip(counted, kept, strict=True) if keeps]


def front_volume(
    config: StudyConfig,
    trials: Sequence[Trial],
    reference: Mapping[str, float] | None = None,
) -> tuple[float, dict[str, float]] | None:
    """The hypervolume of a study's front, and the reference point that it is measured from.

    Args:
        config: The study's configuration.
        trials: Its trials.
        reference: Value of each goal that is worth nothing; the worst one of all completed trials
            when absent.

    Returns:
        The volume in the product of the goals' units, and the reference; None before a trial keeps
        the limits.

    Raises:
        StudyError: The reference lacks a goal.
    """
    front = pareto_front(config, trials)
    if not front:
        return None
    signs = np.array([view.sign for view in config.views[: len(config.goals)]])
    if reference is None:
        completed = [t for t in trials if t.status is TrialStatus.COMPLETED]
        measured = [t for t in completed if config.goals.keys() <= config.metrics_of(t).keys()]
        worst = signs * _gains(config, measured).min(0)
        reference = dict(zip(config.goals, worst.tolist(), strict=True))
    missing = [name for name in config.goals if name not in reference]
    if missing:
        raise StudyError(f"the reference lacks {missing}; it needs a value of {list(config.goals)}")
    point = np.array([reference[name] for name in config.goals])
    return hypervolume(_gains(config, front), signs * point), dict(reference)


def _complete(config: StudyConfig, trial: Trial) -> bool:
    """Whether a trial has a value of every goal and keeps the limits."""
    return config.goals.keys() <= config.metrics_of(trial).keys() and config.keeps_limits(trial)


def _gains(config: StudyConfig, trials: Sequence[Trial]) -> NDArray[np.float64]:
    """Values of the goals, greater is better, (N, M)."""
    views = config.views[: len(config.goals)]
    rows = [
        [view.sign * config.metrics_of(trial)[view.metric_name] for view in views]
        for trial in trials
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, len(views))
