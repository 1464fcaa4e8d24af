from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist

import pytest
import torch

from optformer.planning.distribution import BinnedDistribution
from optformer.planning.prediction import LEVELS, predictions
from optformer.tokenization.objective_scale import fit_scale

Gaussian = Callable[..., BinnedDistribution]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_predictions__gaussian__come_back_in_original_units(
    gaussian: Gaussian, sign: float
) -> None:
    values = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0], dtype=torch.float64)
    scale = fit_scale(values, torch.ones(5, dtype=torch.bool))
    middle, width = float(scale.to_unit(torch.tensor([4.0]))[0]), float(scale.slope)
    distribution = gaussian(middle, 0.1 * width, failing=0.2)
    (prediction,) = predictions(distribution, scale, scale.to_unit(values).amax(), sign)
    deviation = 0.1 * float(scale.spread)
    assert prediction.mean == pytest.approx(sign * 4.0, abs=0.01)
    assert prediction.std == pytest.approx(deviation, rel=0.05)
    for level, z in zip(LEVELS, (-1.645, -0.674, 0.0, 0.674, 1.645), strict=True):
        assert prediction.quantiles[level] == pytest.approx(sign * 4.0 + z * deviation, abs=0.01)
    assert prediction.probability_of_failure == pytest.approx(0.2, abs=1e-6)
    assert prediction.probability_of_improvement < 1e-3
    assert prediction.expected_improvement < 1e-4
    best = scale.to_unit(torch.tensor([3.9]))[0]
    (prediction,) = predictions(distribution, scale, best, sign)
    gain = 0.1 * NormalDist().cdf(0.1 / deviation) + deviation * NormalDist().pdf(0.1 / deviation)
    assert prediction.expected_improvement == pytest.approx(0.8 * gain, rel=0.05)


def test_predictions__huge_offset__keep_the_small_part(gaussian: Gaussian) -> None:
    values = 1e9 + torch.tensor([0.0, 1e-3, 2e-3, 3e-3, 4e-3], dtype=torch.float64)
    scale = fit_scale(values, torch.ones(5, dtype=torch.bool))
    middle = float(scale.to_unit(values[3:4])[0])
    distribution = gaussian(middle, 0.05)
    (prediction,) = predictions(distribution, scale, scale.to_unit(values).amax(), 1.0)
    assert abs(prediction.mean - float(values[3])) < 2e-4
    expected = 0.05 / float(scale.slope) * float(scale.spread)
    assert prediction.std == pytest.approx(expected, rel=0.2)
    assert prediction.quantiles[0.5] == pytest.approx(prediction.mean, abs=1e-3)
