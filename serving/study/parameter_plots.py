"""Plots of how parameters act together, as matplotlib figures; see `plots` for the others."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from optformer.data.studies.errors import StudyError
from optformer.data.studies.parameters import Float, Int, Parameter, Value
from optformer.data.studies.trials import TrialStatus
from optformer.serving.study.figures import (
    COLORS,
    QUIET,
    best_first,
    changed_point,
    finished,
    new_figure,
    spread_values,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

    from optformer.serving.study.study import Study

_CONTOUR_POINTS = 25  # along each axis
_WORST_FIRST = {"maximize": "viridis", "minimize": "viridis_r"}  # the best is bright
_LABELED_CHOICES = 12  # more would cover each other


def plot_contour(
    study: Study, x: str, y: str, path: str | os.PathLike[str] | None = None
) -> Figure:
    """Plot the predicted metric over two parameters, the others held at the best trial.

    Dots are past trials, which differ in the other parameters too. Where the values of one
    parameter switch the other off, the plot is empty.

    Args:
        study: A study with at least one completed trial.
        x: Name of the parameter along the horizontal axis.
        y: Name of the parameter along the vertical axis.
        path: Where to write it; the suffix chooses the format (.png, .svg, .pdf).

    Raises:
        StudyError: A parameter is unknown, both are the same or never active together, no trial is
            completed, or the suffix is unknown.
    """
    space, config = study.config.space, study.config
    for name in (x, y):
        if name not in space:
            raise StudyError(f"unknown parameter {name!r}; this space has {list(space)}")
    if x == y:
        raise StudyError(f"a contour needs two parameters, got {x!r} twice")
    best, trials = study.best_trial, study.trials
    ranked = best_first(trials, config.sign)
    across = spread_values(space[x], _CONTOUR_POINTS)
    up = spread_values(space[y], _CONTOUR_POINTS)
    points = [changed_point(space, {x: a, y: b}, ranked) for b in up for a in across]
    shown = [index for index, point in enumerate(points) if x in point and y in point]
    if not shown:
        raise StudyError(
            f"parameters {x!r} and {y!r} are not active together while the others are as in the "
            f"best trial, number {best.number}"
        )
    means = np.full(len(points), np.nan)
    means[shown] = [one.mean for one in study.predict([points[index] for index in shown])]
    height = np.ma.masked_invalid(means.reshape(len(up), len(across)))
    known = [trial for trial in trials if trial.has_value and x in trial and y in trial]
    figure, axes = new_figure()
    colors = _WORST_FIRST[config.goal]
    numeric = all(isinstance(space[name], Float | Int) for name in (x, y))
    where = _places(space[x], across), _places(space[y], up)
    drawn: ScalarMappable = (
        axes.contourf(*where, height, levels=16, cmap=colors)
        if numeric and min(height.shape) > 1
        else axes.pcolormesh(*where, height, shading="nearest", cmap=colors)
    )
    figure.colorbar(drawn, ax=axes, label=f"predicted {config.metric_name}")
    dots: dict[str, Any] = {"edgecolors": "black", "linewidths": 0.6, "zorder": 3, "clip_on": False}
    at_x, at_y = (_places(space[name], [trial[name] for trial in known]) for name in (x, y))
    axes.scatter(at_x, at_y, s=18, color="white", label="trials", **dots)
    if x in best and y in best:
        at_x, at_y = (_places(space[name], [best[name]]) for name in (x, y))
        axes.scatter(at_x, at_y, marker="*", s=130, color=COLORS[1], label="best trial", **dots)
    _scale(axes, "x", x, space[x])
    _scale(axes, "y", y, space[y])
    axes.grid(visible=False)
    axes.set_title(f"{study.name}: other parameters as in trial {best.number}", loc="left")
    return finished(figure, path)


def plot_parallel_coordinates(
    study: Study,
    path: str | os.PathLike[str] | None = None,
    *,
    parameters: Sequence[str] | None = None,
) -> Figure:
    """Plot every trial as a line across its parameters to its value.

    Lines are bright where the value is good; the best trial is red, or the Pareto front. A line is
    interrupted where a parameter is not active, and dotted where the trial failed.

    Args:
        study: A study with at least one trial that has a value.
        path: Where to write it; the suffix chooses the format (.png, .svg, .pdf).
        parameters: Names of the parameters to show, in order; all when absent.

    Raises:
        StudyError: A parameter is unknown, or no trial has a value, or the suffix is unknown.
    """
    space, config = study.config.space, study.config
    names = list(space) if parameters is None else list(parameters)
    for name in names:
        if name not in space:
            raise StudyError(f"unknown parameter {name!r}; this space has {list(space)}")
    trials = study.trials
    values = [trial.value for trial in trials if trial.value is not None]
    if not values:
        raise StudyError(f"study {study.name!r} has no trial with a value to plot yet")
    low, high = min(values), max(values)
    best = study.best_trials
    from matplotlib import colormaps

    colors = colormaps[_WORST_FIRST[config.goal]]
    figure, axes = new_figure()
    figure.set_size_inches(max(8.0, 1.3 * len(names) + 2.5), 4.6)
    for trial in trials:
        if trial.status is TrialStatus.PENDING:
            continue
        line = [_unit(space[name], trial[name]) if name in trial else np.nan for name in names]
        if trial.value is None:
            axes.plot([*line, np.nan], ":", color=QUIET, linewidth=1.0)
            continue
        level = (trial.value - low) / (high - low) if high > low else 0.5
        style: dict[str, Any] = {"color": colors(level), "linewidth": 1.0, "alpha": 0.7}
        if trial in best:
            style = {"color": COLORS[1], "linewidth": 2.4, "zorder": 4}
        axes.plot([*line, level], marker="o", markersize=3, **style)
    for place, name in enumerate(names):
        _mark_axis(axes, place, _labels(space[name]))
    _mark_axis(axes, len(names), [(0.0, f"{low:.4g}"), (1.0, f"{high:.4g}")])
    axes.set_xticks(range(len(names) + 1), [*names, config.metric_name])
    axes.set_xlim(-0.1, len(names) + 0.6)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False)
    if best:
        label = "Pareto front" if config.further_goals else "best trial"
        axes.plot([], [], color=COLORS[1], linewidth=2.4, label=label)
    if any(trial.status is TrialStatus.FAILED for trial in trials):
        axes.plot([], [], ":", color=QUIET, label="failed")
    axes.set_title(f"{study.name} ({config.goal})", loc="left")
    return finished(figure, path)


def _unit(parameter: Parameter, value: Value) -> float:
    """Where a value lies on a vertical axis, from 0 to 1."""
    if isinstance(parameter, Float | Int):
        return parameter.to_unit(value)
    return parameter.index(value) / max(1, len(parameter.choices) - 1)


def _labels(parameter: Parameter) -> list[tuple[float, str]]:
    """Where a vertical axis is labeled, and how."""
    values = spread_values(parameter, 3)
    if not isinstance(parameter, Float | Int) and len(values) > _LABELED_CHOICES:
        values = [values[0], values[-1]]
    return [(_unit(parameter, value), _short(value)) for value in values]


def _short(value: Value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _mark_axis(axes: Axes, place: float, labels: Sequence[tuple[float, str]]) -> None:
    axes.axvline(place, color="black", linewidth=0.8, alpha=0.5, zorder=1)
    for height, text in labels:
        axes.annotate(
            text,
            (place, height),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize="small",
            zorder=5,
            bbox={"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.7},
        )


def _places(parameter: Parameter, values: Sequence[Value]) -> list[float]:
    """Where values lie on an axis: a number where it is, a choice at its index."""
    if isinstance(parameter, Float | Int):
        return [float(value) for value in values]
    return [float(parameter.index(value)) for value in values]


def _scale(axes: Axes, which: str, name: str, parameter: Parameter) -> None:
    """Name an axis, and give it its scale or its choices."""
    from matplotlib.ticker import MaxNLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_label_text(name)
    if not isinstance(parameter, Float | Int):
        choices = parameter.choices
        axis.set_ticks(range(len(choices)), [str(choice) for choice in choices])
    elif isinstance(parameter, Int) and not parameter.log:
        axis.set_major_locator(MaxNLocator(integer=True))
    elif parameter.log:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
