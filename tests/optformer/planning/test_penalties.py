from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from optformer.data.studies.parameters import Float
from optformer.data.studies.spaces import SearchSpace
from optformer.planning.distribution import BinnedDistribution
from optformer.planning.penalties import (
    KNOWN_SIGNAL,
    center_prior,
    failure_penalty,
    local_penalty,
    metadata_trust,
    steepest_slope,
)
from optformer.planning.space_transform import SpaceTransform

Gaussian = Callable[..., BinnedDistribution]
BINS = 200


def test_center_prior__more_trials__fades() -> None:
    space = SpaceTransform(SearchSpace(x=Float(0, 1), y=Float(-3, 5)), {})
    values = np.array([[0.5, 0.5], [0.5, 0.9], [0.02, 0.98]])
    first = center_prior(space, values, 0)
    assert first[0] == 0
    assert first[0] > first[1] > first[2]
    torch.testing.assert_close(center_prior(space, values, 3), first / 4)


def test_metadata_trust__signal__goes_from_none_to_all() -> None:
    assert metadata_trust(0.0) == 0
    assert metadata_trust(0.03) < 0.01  # nameless parameters
    assert metadata_trust(KNOWN_SIGNAL) == pytest.approx(0.5)
    assert metadata_trust(0.4) > 0.9


def test_failure_penalty__chance_to_fail__is_three_more_powers_of_the_feasibility(
    gaussian: Gaussian,
) -> None:
    for failing in (0.0, 0.3, 0.999):
        found = float(failure_penalty(gaussian(0.4, 0.1, failing)).exp())
        assert found == pytest.approx((1 - failing) ** 3, abs=1e-5)
    hopeless = torch.full((1, BINS + 1), -200.0)
    hopeless[0, -1] = 200.0
    assert failure_penalty(BinnedDistribution(hopeless)).isfinite().all()


def test_local_penalty__gaussian_pending_trials__is_the_chance_to_lie_outside_their_balls(
    gaussian: Gaussian,
) -> None:
    pending = BinnedDistribution.join([gaussian(0.4, 0.1), gaussian(0.6, 0.05)])
    distances = np.array([[0.0, 0.3], [0.2, 0.1], [5.0, 5.0]])
    penalty = local_penalty(pending, distances, torch.tensor(0.7), slope=2.0)
    for n, (first, second) in enumerate(distances.tolist()):
        chances = [
            0.5 * math.erfc(-(2.0 * gap - (0.7 - mean)) / (deviation * math.sqrt(2)))
            for gap, mean, deviation in ((first, 0.4, 0.1), (second, 0.6, 0.05))
        ]
        assert float(penalty[n].exp()) == pytest.approx(math.prod(chances), rel=5e-2)
    assert float(penalty[2]) == 0.0


def test_steepest_slope__three_points__is_of_the_steepest_pair(gaussian: Gaussian) -> None:
    prediction = BinnedDistribution.join([gaussian(mean, 0.02) for mean in (0.3, 0.5, 0.6)])
    distances = np.array([[0.0, 0.5, 0.9], [0.5, 0.0, 0.1], [0.9, 0.1, 0.0]])
    assert steepest_slope(prediction.mean, distances) == pytest.approx(1.0, rel=1e-2)
