"""Predictions with known answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from optformer.planning.distribution import BinnedDistribution

BINS = 200


@pytest.fixture(scope="session")
def gaussian() -> Callable[..., BinnedDistribution]:
    """Makes a normal distribution on the bins, of one point: mean, deviation, chance to fail."""

    def make(mean: float, stddev: float, failing: float = 0.0) -> BinnedDistribution:
        edges = torch.arange(BINS + 1, dtype=torch.float64) / BINS
        inside = torch.special.ndtr((edges - mean) / stddev).diff()
        inside = inside / inside.sum() * (1 - failing)
        both = torch.cat([inside, torch.tensor([failing])]).clamp(min=1e-300)
        return BinnedDistribution(both.log()[None].float())

    return make
