"""How runs are scored: incumbents, normalised regret, ranks, repeats.

Gains are the metric times the goal's sign: larger is better. M counts methods, T trials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from optformer.data.methods.points import point_key
from optformer.data.studies.parameters import Value

Array = NDArray[np.float64]


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


def ranks(regrets: Array) -> Array:
    """Rank of each method, 1 for the smallest regret, ties averaged.

    Args:
        regrets: Shape (M, ...).

    Returns:
        Same shape.
    """
    ranked: Array = rankdata(regrets, method="average", axis=0)
    return ranked


def repeat_rate(points: Sequence[Mapping[str, Value]]) -> float:
    """Share of the points that the run had tried before."""
    return 1.0 - len({point_key(point) for point in points}) / len(points) if points else 0.0
