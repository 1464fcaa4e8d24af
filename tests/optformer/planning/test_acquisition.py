from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from optformer.data.studies.errors import ConfigError
from optformer.planning.acquisition import (
    ACQUISITIONS,
    SCREENS,
    acquisition,
    bin_centres,
    failure_penalty,
    local_penalty,
    moments,
    quantile,
    steepest_slope,
)
from optformer.planning.prediction import LEVELS, predictions
from optformer.tokenization.objective_scale import fit_scale

BINS = 200


def _logits(seed: int, count: int = 5) -> Tensor:
    return 2 * torch.randn(count, BINS + 1, generator=torch.Generator().manual_seed(seed))


def _gaussian(mean: float, deviation: float, failing: float = 0.0) -> Tensor:
    """A normal distribution on the bins."""
    edges = torch.arange(BINS + 1, dtype=torch.float64) / BINS
    chances = torch.special.ndtr((edges - mean) / deviation).diff()
    chances = chances / chances.sum() * (1 - failing)
    return torch.cat([chances, torch.tensor([failing])]).clamp(min=1e-300).log()[None].float()


def _score(name: str, logits: Tensor, best: float, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return acquisition(name)(logits, torch.tensor(best), generator)


@pytest.mark.parametrize("best", [0.0, 0.31, 0.99])
def test_ei_and_pi__random_logits__are_the_sums_over_bins(best: float) -> None:
    logits = _logits(0)
    improvement, chance = _score("ei", logits, best), _score("pi", logits, best)
    for n, row in enumerate(logits.double().softmax(-1).tolist()):
        gain = sum(p * max((b + 0.5) / BINS - best, 0) for b, p in enumerate(row[:-1]))
        better = sum(p for b, p in enumerate(row[:-1]) if (b + 0.5) / BINS > best)
        assert float(improvement[n].exp()) == pytest.approx(gain, rel=1e-4)
        assert float(chance[n].exp()) == pytest.approx(better, rel=1e-4)


@pytest.mark.parametrize("name", ["ei", "pi", "ucb"])
def test_screens__normal_distributions__rank_as_the_sums_over_bins(name: str) -> None:
    shapes = [(0.3, 0.1), (0.45, 0.02), (0.5, 0.05), (0.4, 0.2), (0.55, 0.03)]
    best, generator = torch.tensor(0.52), torch.Generator()
    exact = _score(name, torch.cat([_gaussian(*shape) for shape in shapes]), float(best))
    mean, deviation = torch.tensor(shapes).T
    screened = SCREENS[name](mean, deviation, best, generator)
    assert screened.argsort().tolist() == exact.argsort().tolist()
    if name == "ei":
        torch.testing.assert_close(screened.float(), exact, atol=0.02, rtol=0.02)


def test_screens__expected_improvement_far_below_the_best__still_orders() -> None:
    mean, deviation = torch.tensor([0.1, 0.2, 0.15]), torch.full((3,), 0.02)
    found = SCREENS["ei"](mean, deviation, torch.tensor(0.6), torch.Generator())
    assert found.argsort().tolist() == [0, 2, 1]
    assert found.isfinite().all()


def test_screens__thompson__draws_from_the_distributions() -> None:
    mean, deviation = torch.tensor([0.4, 0.6]).repeat(4000), torch.tensor([0.1, 0.01]).repeat(4000)
    generator = torch.Generator().manual_seed(0)
    found = SCREENS["ts"](mean, deviation, torch.tensor(0.5), generator).exp()
    for place, (centre, spread) in enumerate([(0.4, 0.1), (0.6, 0.01)]):
        drawn = found[place::2]
        assert float(drawn.mean()) == pytest.approx(centre, abs=4 * spread / 4000**0.5)
        assert float(drawn.std()) == pytest.approx(spread, rel=0.06)


def test_screens__every_strategy_that_ranks__has_one() -> None:
    assert SCREENS.keys() == ACQUISITIONS.keys()


@pytest.mark.parametrize("failing", [0.0, 0.3])
@pytest.mark.parametrize(("mean", "deviation", "best"), [(0.4, 0.1, 0.5), (0.6, 0.05, 0.5)])
def test_ei__gaussian__is_the_closed_form(
    mean: float, deviation: float, best: float, failing: float
) -> None:
    z = (mean - best) / deviation
    density = math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    below = 0.5 * math.erfc(-z / math.sqrt(2))
    closed = (1 - failing) * ((mean - best) * below + deviation * density)
    score = float(_score("ei", _gaussian(mean, deviation, failing), best).exp())
    assert score == pytest.approx(closed, rel=5e-3)


def test_ucb__gaussian__is_its_quantile_times_the_chance_of_success() -> None:
    score = _score("ucb", _gaussian(0.4, 0.1, 0.25), 0.5)
    assert float(score.exp()) == pytest.approx(0.75 * (0.4 + 1.2816 * 0.1), abs=2e-3)


def test_ts__many_draws__follow_the_distribution() -> None:
    logits = _gaussian(0.4, 0.1, 0.2).expand(20_000, -1)
    drawn = _score("ts", logits, 0.5)
    assert torch.equal(drawn, _score("ts", logits, 0.5))
    assert not torch.equal(drawn, _score("ts", logits, 0.5, seed=1))
    drawn = drawn.exp()
    failed = drawn < 1e-6
    assert float(failed.float().mean()) == pytest.approx(0.2, abs=0.015)
    assert float(drawn[~failed].mean()) == pytest.approx(0.4, abs=0.005)
    assert float(drawn[~failed].std()) == pytest.approx(0.1, abs=0.005)


@pytest.mark.parametrize("name", sorted(set(ACQUISITIONS) - {"ts"}))
def test_acquisition__better_values_or_fewer_failures__score_higher(name: str) -> None:
    worse = _score(name, _gaussian(0.4, 0.1, 0.2), 0.5)
    assert _score(name, _gaussian(0.45, 0.1, 0.2), 0.5) > worse
    assert _score(name, _gaussian(0.4, 0.1, 0.1), 0.5) > worse
    assert _score(name, _gaussian(0.4, 0.13, 0.2), 0.5) > worse  # uncertainty is worth trying


@pytest.mark.parametrize("name", sorted(set(ACQUISITIONS) - {"ts"}))
def test_acquisition__hopeless_candidates__stay_finite_with_gradients(name: str) -> None:
    logits = _gaussian(0.1, 0.001).clone().requires_grad_()
    score = _score(name, logits, 0.999)
    score.sum().backward()  # type: ignore[no-untyped-call]
    assert score.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_failure_penalty__chance_to_fail__is_three_more_powers_of_success() -> None:
    for failing in (0.0, 0.3, 0.999):
        found = float(failure_penalty(_gaussian(0.4, 0.1, failing)).exp())
        assert found == pytest.approx((1 - failing) ** 3, abs=1e-5)
    hopeless = torch.full((1, BINS + 1), -200.0)
    hopeless[0, -1] = 200.0
    assert failure_penalty(hopeless).isfinite().all()


@pytest.mark.parametrize("level", [0.0, 0.05, 0.5, 0.9, 1.0])
def test_quantile__random_logits__holds_its_share_below(level: float) -> None:
    logits = _logits(3)
    for row, where in zip(logits.double(), quantile(logits, level).tolist(), strict=True):
        chances = row[:-1].softmax(-1).numpy()
        cumulative = np.concatenate([[0.0], chances.cumsum()])
        below = np.interp(where, np.arange(BINS + 1) / BINS, cumulative)
        assert below == pytest.approx(level, abs=1e-5)


def test_acquisition__unknown_name__lists_the_known() -> None:
    with pytest.raises(ConfigError, match=r"'best'.*'ei'.*'policy'"):
        acquisition("best")


def test_bin_centres__bins__lie_in_the_middle() -> None:
    assert bin_centres(4, torch.zeros(1)).tolist() == [0.125, 0.375, 0.625, 0.875]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_predictions__gaussian__come_back_in_original_units(sign: float) -> None:
    values = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0], dtype=torch.float64)
    scale = fit_scale(values, torch.ones(5, dtype=torch.bool))
    middle, width = float(scale.to_unit(torch.tensor([4.0]))[0]), float(scale.slope)
    logits = _gaussian(middle, 0.1 * width, failing=0.2)
    (prediction,) = predictions(logits, scale, scale.to_unit(values).amax(), sign)
    deviation = 0.1 * float(scale.spread)
    assert prediction.mean == pytest.approx(sign * 4.0, abs=0.01)
    assert prediction.std == pytest.approx(deviation, rel=0.05)
    for level, z in zip(LEVELS, (-1.645, -0.674, 0.0, 0.674, 1.645), strict=True):
        assert prediction.quantiles[level] == pytest.approx(sign * 4.0 + z * deviation, abs=0.01)
    assert prediction.probability_of_failure == pytest.approx(0.2, abs=1e-6)
    assert prediction.probability_of_improvement < 1e-3


def test_predictions__huge_offset__keep_the_small_part() -> None:
    values = 1e9 + torch.tensor([0.0, 1e-3, 2e-3, 3e-3, 4e-3], dtype=torch.float64)
    scale = fit_scale(values, torch.ones(5, dtype=torch.bool))
    middle = float(scale.to_unit(values[3:4])[0])
    logits = _gaussian(middle, 0.05)
    (prediction,) = predictions(logits, scale, scale.to_unit(values).amax(), 1.0)
    assert abs(prediction.mean - float(values[3])) < 2e-4
    expected = 0.05 / float(scale.slope) * float(scale.spread)
    assert prediction.std == pytest.approx(expected, rel=0.2)
    assert prediction.quantiles[0.5] == pytest.approx(prediction.mean, abs=1e-3)


def test_moments__gaussian__are_its_mean_and_deviation() -> None:
    mean, deviation = moments(_gaussian(0.4, 0.1, failing=0.25))
    assert float(mean) == pytest.approx(0.4, abs=1e-4)
    assert float(deviation) == pytest.approx(0.1, rel=1e-2)


def test_local_penalty__gaussian_pending_trials__is_the_chance_to_lie_outside_their_balls() -> None:
    pending = torch.cat([_gaussian(0.4, 0.1), _gaussian(0.6, 0.05)])
    distances = np.array([[0.0, 0.3], [0.2, 0.1], [5.0, 5.0]])
    penalty = local_penalty(pending, distances, torch.tensor(0.7), slope=2.0)
    for n, (first, second) in enumerate(distances.tolist()):
        chances = [
            0.5 * math.erfc(-(2.0 * gap - (0.7 - mean)) / (deviation * math.sqrt(2)))
            for gap, mean, deviation in ((first, 0.4, 0.1), (second, 0.6, 0.05))
        ]
        assert float(penalty[n].exp()) == pytest.approx(math.prod(chances), rel=5e-2)
    assert float(penalty[2]) == 0.0


def test_steepest_slope__three_points__is_of_the_steepest_pair() -> None:
    logits = torch.cat([_gaussian(mean, 0.02) for mean in (0.3, 0.5, 0.6)])
    distances = np.array([[0.0, 0.5, 0.9], [0.5, 0.0, 0.1], [0.9, 0.1, 0.0]])
    assert steepest_slope(moments(logits)[0], distances) == pytest.approx(1.0, rel=1e-2)
