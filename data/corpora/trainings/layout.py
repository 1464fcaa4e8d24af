"""Weights of K networks of one shape as one matrix: one product a layer computes them all."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from optformer.data.corpora.trainings.columns import Columns


class Layout:
    """Where the weights of each layer lie in a matrix of K rows, one a network.

    All networks begin with the same noise, scaled for each: then the metric differs between
    configurations by what they are, not by chance.

    What is stored and learned is a weight over `multiplier`. A step of size lr then moves an output
    as far as in a layer that is multiplier squared times as wide, so that good learning rates lie
    where people find them, though the networks are small and trained for few steps.

    Args:
        columns: The configurations of the K networks.
    """

    def __init__(self, columns: Columns) -> None:
        self.count = len(columns)
        self._multiplier = float(columns.usual("multiplier"))
        self._shapes: list[tuple[int, ...]] = []
        self._scales: list[Tensor | float] = []
        self._fills: list[float] = []

    def add(self, *shape: int, scale: Tensor | float = 0.0, fill: float = 0.0) -> int:
        """Make room for weights.

        Args:
            shape: Their shape in one network.
            scale: Standard deviation of their first values, of all networks or of each, (K,).
            fill: Mean of their first values.

        Returns:
            Their number among the views.
        """
        self._shapes.append(shape)
        self._scales.append(scale)
        self._fills.append(fill)
        return len(self._shapes) - 1

    def draw(self, generator: torch.Generator) -> Tensor:
        """First values, (K, P)."""
        parts = []
        for shape, scale, fill in zip(self._shapes, self._scales, self._fills, strict=True):
            noise = torch.randn(1, math.prod(shape), generator=generator)
            spread = scale[:, None] if isinstance(scale, Tensor) else scale
            parts.append((fill + spread * noise).expand(self.count, -1))
        return torch.cat(parts, 1) / self._multiplier

    def views(self, flat: Tensor) -> list[Tensor]:
        """The weights of each layer, (K, *shape), from all, (K, P)."""
        sizes = [math.prod(shape) for shape in self._shapes]
        scaled = flat * self._multiplier
        return [
            part.view(-1, *shape)
            for part, shape in zip(torch.split(scaled, sizes, 1), self._shapes, strict=True)
        ]
