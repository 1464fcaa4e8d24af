"""How a run is scored: incumbents, normalised regret, ranks and their uncertainty.

Everything here is on the gain scale (the metric times the goal's sign: larger is better).
C counts cells (a task with a seed), M methods, T trials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from optformer.data.methods.points import point_key
from optformer.data.parameters import Value

Array = NDArray[np.float64]

RESAMPLES = 2000
"""Bootstrap resamples behind an interval."""


def incumbents(values: Sequence[float | None], sign: float, length: int) -> Array:
    """Best gain seen so far after each trial.

    Args:
        values: Metric of each trial, None when the trial failed.
        sign: 1.0 when the metric is maximized, -1.0 when it is minimized.
        length: Trials T of the result, at least 1.

    Returns:
        Shape (T,); minus infinity before the first value. A run that ended early keeps its last
        incumbent, a longer one is cut.
    """
    gains = np.full(length, -np.inf)
    for i, value in enumerate(values[:length]):
        if value is not None:
            gains[i] = sign * value
    return np.maximum.accumulate(gains)


def normalised_regret(gains: Array, best: float, median: float) -> Array:
    """Distance to the best gain, in units of the distance from the median to the best.

    Args:
        gains: Incumbents, any shape.
        best: Best possible gain.
        median: Median gain over the space.

    Returns:
        Same shape, in [0, 1]: 0 at the best, 1 at the median or worse. Where the median is
        itself the best, 0 for incumbents that reach it and 1 for others.
    """
    if best <= median:
        return np.where(gains >= best, 0.0, 1.0)
    return np.clip((best - gains) / (best - median), 0.0, 1.0)


def ranks(gains: Array) -> Array:
    """Rank of each method in each cell, 1 for the largest gain, ties averaged; shape (M, C)."""
    ranked: Array = rankdata(-gains, method="average", axis=0)
    return ranked


def bootstrap_interval(values: Array, *, seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile interval of the mean over cells, resampled with replacement.

    Args:
        values: One value a cell, shape (C,), at least one.
        seed: Seed of the resampling; one number for a whole report, so that methods are resampled
            alike.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def repeat_rate(points: Sequence[Mapping[str, Value]]) -> float:
    """Share of the points that the run had tried before."""
    return 1.0 - len({point_key(point) for point in points}) / len(points) if points else 0.0
