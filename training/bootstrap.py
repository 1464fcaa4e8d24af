"""Means over tasks with bootstrap intervals. K counts tasks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RESAMPLES = 2000
"""Bootstrap resamples behind an interval."""


@dataclass(frozen=True)
class Estimate:
    """A statistic of K tasks with its 95 % percentile bootstrap interval over tasks.

    `f"{estimate:.2f}"` is its text: `0.12 (0.10 to 0.15)`.

    Attributes:
        value: The statistic.
        low: Lower end of the interval; one task gives it no width.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    def __format__(self, form: str) -> str:
        return f"{self.value:{form}} ({self.low:{form}} to {self.high:{form}})"


def mean(values: Array) -> Estimate:
    """The mean of one value a task, shape (K,)."""
    low, high = bootstrap_limits(values)
    return Estimate(float(values.mean()), float(low), float(high))


def ratio(above: Array, below: Array) -> Estimate:
    """The ratio of two means over the same tasks, each (K,); the lower one is not 0."""
    weights = _weights(len(above))
    with np.errstate(divide="ignore", invalid="ignore"):
        resampled = (weights @ above) / (weights @ below)
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    return Estimate(float(above.mean() / below.mean()), float(low), float(high))


def bootstrap_limits(values: Array) -> Array:
    """Ends of the 95 % percentile interval of a mean over tasks, resampled with replacement.

    Args:
        values: One value, or one array of values, a task: shape (K, ...), K at least 1.

    Returns:
        Shape (2, ...): the lower and the upper ends. All calls with K tasks draw the same tasks.
    """
    means = np.tensordot(_weights(len(values)), values, axes=1)
    limits: Array = np.quantile(means, [0.025, 0.975], axis=0)
    return limits


def _weights(tasks: int) -> Array:
    """Share of each task in each resample, (RESAMPLES, K)."""
    rng = np.random.default_rng(0)
    weights: Array = rng.multinomial(tasks, np.full(tasks, 1 / tasks), size=RESAMPLES) / tasks
    return weights
