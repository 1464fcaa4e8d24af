"""Small drawings in the text of a page, made on the server: they need no script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from optformer.data.studies.trials import TrialStatus
from optformer.serving.service.page.history import WORDS, History

if TYPE_CHECKING:
    from optformer.planning.prediction import Prediction

_STEPS = 60  # points of a line at most
WIDTH, HEIGHT = 120, 28
"""Size of the drawing of the best so far."""


@dataclass(frozen=True)
class Segment:
    """A part of a bar, in percent of its width."""

    kind: str
    start: float
    width: float


def status_bar(history: History) -> list[Segment]:
    """Trials by status, side by side."""
    total = max(1, len(history.trials))
    segments, start = [], 0.0
    for status in (
        TrialStatus.COMPLETED,
        TrialStatus.STOPPED,
        TrialStatus.FAILED,
        TrialStatus.PENDING,
    ):
        width = 100.0 * history.counts[status] / total
        if width:
            segments.append(Segment(WORDS[status], round(start, 2), round(width, 2)))
        start += width
    return segments


def best_line(history: History) -> str:
    """The best so far as the points of a stepped line, better is higher; "" without two values."""
    better, last = history.improvements, len(history.trials) - 1
    if len(history.completed) < 2 or last < 1:
        return ""
    gains = [history.config.sign * (trial.value or 0.0) for trial in better]
    low, high = gains[0], gains[-1]
    span = high - low
    points: list[tuple[float, float]] = []
    for trial, gain in list(zip(better, gains, strict=True))[-_STEPS:]:
        x = (WIDTH - 4) * trial.number / last + 2
        y = HEIGHT - 3 - (HEIGHT - 6) * ((gain - low) / span if span > 0 else 0.5)
        points += [(x, points[-1][1])] if points else []
        points.append((x, y))
    points.append((WIDTH - 2, points[-1][1]))
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


@dataclass(frozen=True)
class Strip:
    """A predicted distribution beside the best so far, all in percent of the width."""

    outer: tuple[float, float]
    inner: tuple[float, float]
    middle: float
    best: float | None


def prediction_strip(prediction: Prediction, best: float | None) -> Strip:
    """Where the quantiles of a prediction lie.

    Args:
        prediction: The prediction.
        best: The best value so far, in the metric's units.
    """
    quantiles = prediction.quantiles
    ends = [quantiles[0.05], quantiles[0.95], *([] if best is None else [best])]
    low, high = min(ends), max(ends)
    room = 0.06 * (high - low)

    def place(value: float) -> float:
        return round(float(np.interp(value, [low - room, high + room], [0.0, 100.0])), 2)

    def between(start: float, end: float) -> tuple[float, float]:
        return place(start), max(0.6, round(place(end) - place(start), 2))

    if high <= low:
        return Strip((49.0, 2.0), (49.5, 1.0), 50.0, None if best is None else 50.0)
    return Strip(
        between(quantiles[0.05], quantiles[0.95]),
        between(quantiles[0.25], quantiles[0.75]),
        place(quantiles[0.5]),
        None if best is None else place(best),
    )


def shares(parts: Sequence[tuple[str, float]]) -> list[tuple[str, float, float]]:
    """Names, shares, and the width of a bar for each: the largest is the longest."""
    largest = max((share for _, share in parts), default=0.0) or 1.0
    return [(name, share, round(100 * share / largest, 2)) for name, share in parts]
