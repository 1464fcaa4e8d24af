"""Plots of studies with several goals."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from optformer.data.studies.errors import StudyError
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.serving.study.figures import COLORS, QUIET, finished, new_figure
from optformer.serving.study.front import pareto_front

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from optformer.serving.study.study import Study


def plot_front(
    study: Study,
    goals: tuple[str, str] | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Plot completed trials by two goals, and the Pareto front among them.

    Crosses are trials beyond a limit. With more than two goals the marked trials are the front in
    all of them, and the line is left out: in two of them alone a trial of the front may be beaten.

    Args:
        study: A study with several goals.
        goals: Names of the two goals, the first one to the right; the first two when absent.
        path: Where to write it; the suffix chooses the format (.png, .svg, .pdf).

    Raises:
        StudyError: The study has one goal, no trial is completed yet, or a goal or the suffix is
            unknown.
    """
    config = study.config
    if not config.further_goals:
        raise StudyError(f"study {study.name!r} has one goal; plot_history draws it")
    across, up = goals or list(config.goals)[:2]
    for name in (across, up):
        if name not in config.goals:
            raise StudyError(f"unknown goal {name!r}; this study has {list(config.goals)}")
    trials = [
        trial
        for trial in study.trials
        if trial.status is TrialStatus.COMPLETED and {across, up} <= config.metrics_of(trial).keys()
    ]
    if not trials:
        raise StudyError(f"study {study.name!r} has no completed trial to plot yet")

    def places(some: Sequence[Trial]) -> tuple[list[float], list[float]]:
        known = [config.metrics_of(trial) for trial in some]
        return [each[across] for each in known], [each[up] for each in known]

    front = sorted(pareto_front(config, trials), key=lambda t: config.metrics_of(t)[across])
    beyond = [trial for trial in trials if not config.keeps_limits(trial)]
    numbers = {trial.number for trial in [*front, *beyond]}
    others = [trial for trial in trials if trial.number not in numbers]
    figure, axes = new_figure()
    if others:
        axes.scatter(*places(others), s=22, color=QUIET, label="beaten")
    if beyond:
        axes.scatter(*places(beyond), s=26, marker="x", color=QUIET, label="beyond a limit")
    if front:
        axes.scatter(*places(front), s=30, color=COLORS[1], label="Pareto front", zorder=3)
        if len(config.goals) == 2:
            # What the front is sure to reach: between two of its trials the worse of each goal.
            maximizes = config.goals[across] == "maximize"
            axes.step(*places(front), where="pre" if maximizes else "post", color=COLORS[1])
    axes.set_xlabel(f"{across} ({config.goals[across]})")
    axes.set_ylabel(f"{up} ({config.goals[up]})")
    axes.set_title(study.name, loc="left")
    for name, limit in config.limits.items():
        draw = axes.axvline if name == across else axes.axhline if name == up else None
        if draw is not None:
            draw(limit.bound, color=QUIET, linestyle="--", label=f"{name} {limit}")
    return finished(figure, path)
