from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from optformer.data.studies.parameters import Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.planning.distribution import BinnedDistribution
from optformer.planning.prediction import LEVELS, Measured, predictions
from optformer.planning.space_transform import SpaceTransform
from optformer.tokenization.objective_scale import fit_scale

Gaussian = Callable[..., BinnedDistribution]
SPACE = SearchSpace(x=Float(0, 1))
TRANSFORM = SpaceTransform(SPACE, {})


def _config(sign: float = 1.0, **settings: Any) -> StudyConfig:
    return StudyConfig(SPACE, "m", "maximize" if sign > 0 else "minimize", **settings)


def _measured(gains: Sequence[float], tried: Sequence[float], points: Sequence[float]) -> Measured:
    column = np.array([tried]).T, np.array([points]).T
    return Measured.of(TRANSFORM, column[1], column[0], gains)


def _unknown(count: int = 1) -> Measured:
    return _measured([], [], [0.5] * count)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_predictions__gaussian__come_back_in_original_units(
    gaussian: Gaussian, sign: float
) -> None:
    values = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0], dtype=torch.float64)
    scale = fit_scale(values, torch.ones(5, dtype=torch.bool))
    middle, width = float(scale.to_unit(torch.tensor([4.0]))[0]), float(scale.slope)
    distribution = gaussian(middle, 0.1 * width, failing=0.2)
    (prediction,) = predictions(
        distribution, scale, scale.to_unit(values).amax(), _config(sign), _unknown()
    )
    deviation = 0.1 * float(scale.spread)
    assert prediction.mean == pytest.approx(sign * 4.0, abs=0.01)
    assert prediction.std == pytest.approx(deviation, rel=0.05)
    for level, z in zip(LEVELS, (-1.645, -0.674, 0.0, 0.674, 1.645), strict=True):
        assert prediction.quantiles[level] == pytest.approx(sign * 4.0 + z * deviation, abs=0.01)
    assert prediction.probability_of_failure == pytest.approx(0.2, abs=1e-6)
    assert prediction.probability_of_improvement < 1e-3
    assert prediction.expected_improvement < 1e-4
    best = scale.to_unit(torch.tensor([3.9]))[0]
    (prediction,) = predictions(distribution, scale, best, _config(sign), _unknown())
    gain = 0.1 * NormalDist().cdf(0.1 / deviation) + deviation * NormalDist().pdf(0.1 / deviation)
    assert prediction.expected_improvement == pytest.approx(0.8 * gain, rel=0.05)


def test_predictions__huge_offset__keep_the_small_part(gaussian: Gaussian) -> None:
    values = 1e9 + torch.tensor([0.0, 1e-3, 2e-3, 3e-3, 4e-3], dtype=torch.float64)
    scale = fit_scale(values, torch.ones(5, dtype=torch.bool))
    middle = float(scale.to_unit(values[3:4])[0])
    distribution = gaussian(middle, 0.05)
    (prediction,) = predictions(
        distribution, scale, scale.to_unit(values).amax(), _config(), _unknown()
    )
    assert abs(prediction.mean - float(values[3])) < 2e-4
    expected = 0.05 / float(scale.slope) * float(scale.spread)
    assert prediction.std == pytest.approx(expected, rel=0.2)
    assert prediction.quantiles[0.5] == pytest.approx(prediction.mean, abs=1e-3)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_predictions__at_the_floor__tell_what_was_measured_so_low(
    gaussian: Gaussian, sign: float
) -> None:
    good = [0.53, 0.531, 0.532, 0.533, 0.534, 0.535]
    gains = torch.tensor([*good, 0.1, 0.1, 0.2, -40.0], dtype=torch.float64)
    scale = fit_scale(gains, torch.ones(10, dtype=torch.bool))
    assert scale.below_floor(gains).tolist() == [False] * 6 + [True] * 4
    places = [0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 0.02, 0.06, 0.2, 0.3]
    points = [0.02, 0.04, 0.2, 0.75]
    floor, above = float(scale.floor), float(scale.to_unit(gains[2:3])[0])
    at = [(floor, 0.002)] * 3 + [(above, 0.002)]
    distribution = BinnedDistribution.join([gaussian(*one) for one in at])
    measured = _measured(gains.tolist(), places, points)
    found = predictions(distribution, scale, scale.to_unit(gains).amax(), _config(sign), measured)
    for prediction, value in zip(found, (0.1, 0.1, 0.2, 0.532), strict=True):
        low, high = prediction.quantiles[0.05], prediction.quantiles[0.95]
        assert low <= sign * value <= high
        assert prediction.mean == pytest.approx(sign * value, abs=0.02)
        assert list(prediction.quantiles.values()) == sorted(prediction.quantiles.values())
        assert prediction.expected_improvement == pytest.approx(0.0, abs=0.005)


@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8),
    center=st.floats(0, 1),
    width=st.sampled_from([1e-4, 0.01, 0.3]),
    sign=st.sampled_from([1.0, -1.0]),
)
@settings(max_examples=60, deadline=None)
def test_predictions__where_it_was_measured__the_interval_holds_it(
    values: list[float], center: float, width: float, sign: float
) -> None:
    gains = torch.tensor(values, dtype=torch.float64)
    scale = fit_scale(gains, torch.ones(len(values), dtype=torch.bool))
    steps = (torch.linspace(0, 1, 1000) - center) / width
    logits = torch.cat([-0.5 * steps.square(), torch.tensor([-9.0])])[None]
    measured = _measured(values, [0.5] * len(values), [0.5])
    best = scale.to_unit(gains).amax()
    (found,) = predictions(BinnedDistribution(logits), scale, best, _config(sign), measured)
    assert found.quantiles[0.05] <= min(sign * gain for gain in values)
    assert found.quantiles[0.95] >= max(sign * gain for gain in values)
    assert list(found.quantiles.values()) == sorted(found.quantiles.values())
    assert np.isfinite([found.mean, found.std, *found.quantiles.values()]).all()


@pytest.mark.parametrize("size", [1e300, 1e155, 1.0, 1e-155, 1e-290])
def test_predictions__metrics_of_any_size__have_deviations_of_that_size(
    gaussian: Gaussian, size: float
) -> None:
    values = size * torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0], dtype=torch.float64)
    scale = fit_scale(values, torch.ones(5, dtype=torch.bool))
    (found,) = predictions(
        gaussian(0.5, 0.05), scale, scale.to_unit(values).amax(), _config(), _unknown()
    )
    assert found.std / size == pytest.approx(0.05 * float(scale.spread / size / scale.slope), 0.2)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_predictions__range_of_the_metric__is_kept(gaussian: Gaussian, sign: float) -> None:
    gains = torch.tensor([0.9, 0.95, 0.99, 0.999], dtype=torch.float64) - float(sign < 0)
    scale = fit_scale(gains, torch.ones(4, dtype=torch.bool))
    best = scale.to_unit(gains).amax()
    config, measured = _config(sign, metric_ranges={"m": (0, 1)}), _unknown()
    (free,) = predictions(gaussian(0.9, 0.1), scale, best, _config(sign), measured)
    (kept,) = predictions(gaussian(0.9, 0.1), scale, best, config, measured)
    end = 1.0 if sign > 0 else 0.0
    assert sign * (free.quantiles[0.95 if sign > 0 else 0.05] - end) > 0
    assert all(0 <= value <= 1 for value in (kept.mean, *kept.quantiles.values()))
    assert 0 < kept.expected_improvement <= 0.001 + 1e-9
    perfect = scale.to_unit(torch.tensor([end * sign], dtype=torch.float64))[0]
    (found,) = predictions(gaussian(0.9, 0.1), scale, perfect, config, measured)
    assert found.probability_of_improvement == pytest.approx(0.0, abs=1e-3)
    beyond = _measured([sign * 1.2], [0.1], [0.5])  # what was observed stands
    (wider,) = predictions(gaussian(0.99, 0.01), scale, best, config, beyond)
    assert wider.quantiles[0.5] == pytest.approx(1.0 if sign > 0 else 0.0, abs=0.21)
