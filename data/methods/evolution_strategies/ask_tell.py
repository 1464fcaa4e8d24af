"""The shipped learned evolution strategy, one search at a time, on NumPy arrays."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from optformer.data.methods.evolution_strategies.network import Weights, load_weights
from optformer.data.methods.evolution_strategies.strategy import candidates, initial_state, update


class LearnedStrategy:
    """One search of the unit cube with the shipped network.

    Args:
        dimension: Dimensions D, at least 1.
        rng: Source of randomness of the candidates.
        weights: Another network (M = 1); None is the shipped one.
    """

    def __init__(
        self, dimension: int, rng: np.random.Generator, weights: Weights | None = None
    ) -> None:
        self._weights = _shipped() if weights is None else weights
        self._rng = rng
        self._state = initial_state(1, dimension)

    @property
    def mean(self) -> NDArray[np.float64]:
        """Centre of the search distribution, shape (D,)."""
        return self._state.mean[0].numpy()

    @property
    def deviation(self) -> NDArray[np.float64]:
        """Deviation of the search distribution, shape (D,)."""
        return self._state.deviation[0].numpy()

    def ask(self) -> NDArray[np.float64]:
        """Draw a candidate, shape (D,), in [0, 1]."""
        noise = torch.from_numpy(self._rng.standard_normal((1, 1, self._state.mean.shape[-1])))
        return candidates(self._state, noise)[0, 0].numpy()

    def tell(self, points: NDArray[np.float64], losses: NDArray[np.float64]) -> None:
        """Move by one generation.

        Args:
            points: Shape (N, D), in [0, 1].
            losses: Smaller is better, finite, shape (N,).
        """
        self._state = update(
            self._weights,
            self._state,
            torch.from_numpy(points).unsqueeze(0),
            torch.from_numpy(losses).unsqueeze(0),
        )


@cache
def _shipped() -> Weights:
    return load_weights()
