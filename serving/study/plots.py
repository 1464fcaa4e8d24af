"""Plots of studies, as matplotlib figures.

The figures are built without pyplot, so that they need no display and no clean-up; a notebook shows
one that is returned, and `path` writes it to a file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from optformer.data.studies.errors import StudyError
from optformer.data.studies.parameters import Float, Int, Value
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.serving.study.figures import COLORS, QUIET, count_on, finished, new_figure
from optformer.serving.study.responses import Response, predict_response

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from optformer.data.studies.study_config import Goal
    from optformer.serving.study.study import Study


def plot_history(study: Study, path: str | os.PathLike[str] | None = None) -> Figure:
    """Plot the value of every trial and the best so far; failed trials are marked at the bottom.

    With limits the best is that of the trials that keep them; others are crosses. With several
    goals it is the first one's; `plot_front` draws two.

    Args:
        study: The study.
        path: Where to write it; the suffix chooses the format (.png, .svg, .pdf).

    Raises:
        StudyError: The study has no observed trial yet, or the suffix is unknown.
    """
    trials = [trial for trial in study.trials if trial.status is not TrialStatus.PENDING]
    if not trials:
        raise StudyError(f"study {study.name!r} has no observed trial to plot yet")
    figure, axes = new_figure()
    ended = [trial for trial in trials if trial.status is TrialStatus.COMPLETED]
    completed = [trial for trial in ended if study.config.keeps_limits(trial)]
    beyond = [trial for trial in ended if not study.config.keeps_limits(trial)]
    stopped = [trial for trial in trials if trial.status is TrialStatus.STOPPED]
    axes.scatter(*_values(completed), s=22, color=COLORS[0], label="completed", zorder=3)
    if beyond:
        axes.scatter(*_values(beyond), s=26, marker="x", color=QUIET, label="beyond a limit")
    if stopped:
        axes.scatter(
            *_values(stopped), s=22, facecolors="none", edgecolors=COLORS[0], label="stopped"
        )
    if completed:
        numbers, values = _values(completed)
        best = best_so_far(values, study.config.goal)
        axes.step(
            [*numbers, max(trial.number for trial in trials)],
            [*best, best[-1]],
            where="post",
            color=COLORS[1],
            label="best so far",
        )
    _mark_failed(axes, [trial.number for trial in trials if trial.status is TrialStatus.FAILED])
    axes.set_xlabel("trial")
    axes.set_ylabel(study.config.metric_name)
    axes.set_title(f"{study.name} ({study.config.goal})", loc="left")
    count_on(axes)
    return finished(figure, path)


def plot_response(
    study: Study,
    parameter: str,
    path: str | os.PathLike[str] | None = None,
    *,
    at: Mapping[str, Value] | None = None,
) -> Figure:
    """Plot the predicted metric along one parameter, the others held at the best trial.

    The line is the predicted mean, the bands hold 50 and 90 % of the predicted distribution, and
    the dots are past trials, which differ in the other parameters too. A parameter that becomes
    active only along the way takes the value it has in the best trial that knows it, otherwise the
    middle of its range. With several goals it is the first one's.

    Args:
        study: A study with at least one completed trial.
        parameter: Name of the parameter, active there.
        path: Where to write it; the suffix chooses the format (.png, .svg, .pdf).
        at: Values of other parameters that are held instead of the best trial's, such as those that
            make the parameter active.

    Raises:
        StudyError: The parameter is unknown or inactive there, no trial is completed, or the suffix
            is unknown.
        SearchSpaceError: A value to hold is not legal.
    """
    response = predict_response(study, parameter, at)
    space, values, predictions = study.config.space, response.values, response.predictions
    numeric = isinstance(space[parameter], Float | Int)
    places = list(values) if numeric else list(range(len(values)))
    figure, axes = new_figure()
    mean = [prediction.mean for prediction in predictions]
    for low, high, strength in ((0.05, 0.95, 0.16), (0.25, 0.75, 0.30)):
        lower = [prediction.quantiles[low] for prediction in predictions]
        upper = [prediction.quantiles[high] for prediction in predictions]
        label = f"{100 * (high - low):.0f} % of the prediction"
        if numeric:
            axes.fill_between(
                places, lower, upper, color=COLORS[0], alpha=strength, lw=0, label=label
            )
        else:
            heights = np.subtract(upper, lower)
            axes.bar(
                places, heights, 0.5, lower, color=COLORS[0], alpha=strength, lw=0, label=label
            )
    axes.plot(places, mean, "-" if numeric else "_", color=COLORS[0], ms=22, label="predicted mean")
    _draw_trials(axes, response, None if numeric else values)
    if numeric and getattr(space[parameter], "log", False):
        axes.set_xscale("log")
    if not numeric:
        axes.set_xticks(places, [str(value) for value in values])
    axes.set_xlabel(parameter)
    axes.set_ylabel(study.config.metric_name)
    others = ", ".join(f"{name} = {value}" for name, value in response.held.items())
    title = f"{study.name}: other parameters as in trial {response.best.number}"
    axes.set_title(f"{title}, {others}" if others else title, loc="left")
    return finished(figure, path)


def plot_comparison(
    histories: Mapping[str, Sequence[float]],
    *,
    goal: Goal,
    metric: str = "value",
    title: str = "",
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Plot the best value so far of several searches against the number of trials.

    Args:
        histories: Name of each search to its trials' values in order; a failed trial is NaN.
        goal: "maximize" or "minimize".
        metric: The metric's name, for the axis.
        title: A title.
        path: Where to write it; the suffix chooses the format (.png, .svg, .pdf).

    Raises:
        StudyError: There is nothing to plot, or the suffix is unknown.
    """
    if not any(len(values) for values in histories.values()):
        raise StudyError("histories holds no value to plot")
    figure, axes = new_figure()
    for index, (name, values) in enumerate(histories.items()):
        axes.step(
            range(1, len(values) + 1),
            best_so_far(values, goal),
            where="post",
            color=COLORS[index % len(COLORS)],
            linestyle=("-", "--", ":")[index // len(COLORS) % 3],
            label=name,
        )
    axes.set_xlabel("trials")
    axes.set_ylabel(f"best {metric} so far")
    axes.set_title(title, loc="left")
    count_on(axes)
    return finished(figure, path)


def best_so_far(values: Sequence[float], goal: Goal) -> list[float]:
    """The best of the first 1, 2, ... values; NaN counts as no value."""
    best = np.fmax if goal == "maximize" else np.fmin
    return [float(value) for value in best.accumulate(np.asarray(values, dtype=np.float64))]


def _values(trials: Sequence[Trial]) -> tuple[list[int], list[float]]:
    return (
        [trial.number for trial in trials],
        [trial.value for trial in trials if trial.value is not None],
    )


def _mark_failed(axes: Axes, places: Sequence[float]) -> None:
    """Crosses on the lower edge: a failed trial has a place but no value."""
    if places:
        axes.scatter(
            places,
            [0.02] * len(places),
            marker="x",
            s=26,
            color=QUIET,
            transform=axes.get_xaxis_transform(),
            label="failed",
        )
        # Of places without a value the limits of the axis know nothing.
        axes.update_datalim([(place, 0.0) for place in places], updatey=False)
        axes.autoscale_view(scaley=False)


def _draw_trials(axes: Axes, response: Response, choices: Sequence[Value] | None) -> None:
    parameter, trials, best = response.parameter, response.trials, response.best

    def place(trial: Trial) -> float:
        value = trial.params[parameter]
        return float(value if choices is None else choices.index(value))

    known = [trial for trial in trials if parameter in trial.params]
    shown = [trial for trial in known if trial.has_value]
    axes.scatter(
        [place(trial) for trial in shown],
        _values(shown)[1],
        s=16,
        color=QUIET,
        label="trials",
        zorder=3,
    )
    if parameter in best.params:
        axes.scatter(
            [place(best)],
            _values([best])[1],
            marker="*",
            s=110,
            color=COLORS[1],
            label="best trial",
            zorder=4,
        )
    _mark_failed(axes, [place(trial) for trial in known if trial.status is TrialStatus.FAILED])
