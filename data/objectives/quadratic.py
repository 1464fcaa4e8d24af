"""A training run in two numbers: gradient ascent on a surrogate that hyperparameters shape."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from optformer.data.studies.parameters import Float, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig

_START = 0.9  # where both weights begin, as in the paper
_RATE = 0.01  # learning rate of the ascent


class Quadratic:
    """Maximize 1.2 - a^2 - b^2 by ascending 1.2 - g a^2 - h b^2, where g and h are chosen.

    Neither g = 0 nor h = 0 alone reaches the top, whatever the weights; a schedule or both do. It
    trains in microseconds and needs no torch: an example, and a check of population methods.
    Source: section 4.1 (figure 2) of Jaderberg et al. 2017, with a little noise in the steps.

    Args:
        noise: Standard deviation added to each step, at least 0.
    """

    def __init__(self, noise: float = 0.001):
        self._noise = noise
        self._weights = np.full(2, _START)

    @property
    def config(self) -> StudyConfig:
        """See `Trainable.config`."""
        space = SearchSpace(
            g=Float(0.0, 1.0, description="weight of the first term in the surrogate"),
            h=Float(0.0, 1.0, description="weight of the second term in the surrogate"),
        )
        metadata = {
            "task": "maximization of a quadratic",
            "model": "gradient ascent on a surrogate",
        }
        return StudyConfig(space, "quadratic", "maximize", metadata)

    def init(self, seed: int) -> None:
        """See `Trainable.init`; the start is the same for every seed."""
        self._weights = np.full(2, _START)

    def train(self, params: Mapping[str, Value], steps: int, seed: int) -> float:
        """See `Trainable.train`."""
        rng = np.random.default_rng(seed)
        curvature = np.array([params["g"], params["h"]])
        for _ in range(steps):
            gradient = -2 * curvature * self._weights
            self._weights = self._weights + _RATE * gradient + self._noise * rng.standard_normal(2)
        return float(1.2 - np.sum(self._weights**2))

    def save(self) -> bytes:
        """See `Trainable.save`."""
        return self._weights.tobytes()

    def load(self, checkpoint: bytes) -> None:
        """See `Trainable.load`."""
        self._weights = np.frombuffer(checkpoint).copy()
