"""What all plots of studies share: their figures, and the points that they draw.

The figures are built without pyplot, so that they need no display and no clean-up; a notebook shows
one that is returned.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from optformer.data.runtime.files import write_atomically
from optformer.data.studies.errors import StudyError
from optformer.data.studies.parameters import Float, Int, Parameter, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.trials import Trial, TrialStatus

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = ("#1f6fb4", "#d1495b", "#2a9d6f", "#e0922f", "#7b5ea7", "#5b6770", "#b0588f", "#3aa6b9")
QUIET = "#8a929a"


def new_figure() -> tuple[Figure, Axes]:
    """An empty figure and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 4.2), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    return figure, axes


def count_on(axes: Axes) -> None:
    """Ticks at whole numbers only: the axis counts trials."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def finished(figure: Figure, path: str | os.PathLike[str] | None) -> Figure:
    """A figure with its legend, written to `path` if there is one.

    Raises:
        StudyError: It cannot be written, or the suffix is unknown.
    """
    # Beside the axes: inside, it would cover trials.
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    if path is not None:
        try:
            path = Path(path)
            path.parent.stat()  # a folder of a mistyped name is not made
            with write_atomically(path) as beside:
                figure.savefig(beside, format=path.suffix[1:])
        except (OSError, ValueError) as error:  # the latter for a suffix that it does not know
            raise StudyError(f"cannot write the plot {str(path)!r}: {error}") from error
    return figure


def spread_values(parameter: Parameter, count: int) -> list[Value]:
    """Every choice, or up to `count` distinct legal values evenly spread."""
    if not isinstance(parameter, Float | Int):
        return list(parameter.choices)
    spread = [parameter.from_unit(unit) for unit in np.linspace(0.0, 1.0, count)]
    return list(dict.fromkeys(spread))


def best_first(trials: Sequence[Trial], sign: float) -> list[Trial]:
    """Completed trials, the best first."""
    completed = [trial for trial in trials if trial.status is TrialStatus.COMPLETED]
    return sorted(completed, key=lambda trial: -sign * (trial.value or 0.0))


def changed_point(
    space: SearchSpace, changes: Mapping[str, Value], ranked: Sequence[Trial]
) -> dict[str, Value]:
    """The best trial with some parameters changed, made a legal point.

    A parameter that becomes active takes the value of the best trial that knows it, otherwise the
    middle of its range. Changes of parameters that are not active are left out.
    """
    point: dict[str, Value] = {}
    for name in space:
        if not space.is_active(name, point):
            continue
        known = [trial.params[name] for trial in ranked if name in trial.params]
        fallback = known[0] if known else _middle(space[name])
        point[name] = changes.get(name, fallback)
    return point


def _middle(parameter: Parameter) -> Value:
    if isinstance(parameter, Float | Int):
        return parameter.from_unit(0.5)
    return parameter.choices[len(parameter.choices) // 2]
