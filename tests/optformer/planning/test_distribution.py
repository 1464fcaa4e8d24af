from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from optformer.planning.distribution import BinnedDistribution, NormalDistribution

Gaussian = Callable[..., BinnedDistribution]
BINS = 200


def random_logits(seed: int, count: int = 5) -> Tensor:
    """Logits over the bins and `failed`, (N, BINS + 1)."""
    return 2 * torch.randn(count, BINS + 1, generator=torch.Generator().manual_seed(seed))


def test_centers__bins__lie_in_the_middle() -> None:
    assert BinnedDistribution(torch.zeros(1, 5)).centers.tolist() == [0.125, 0.375, 0.625, 0.875]


def test_binned__gaussian__has_its_mean_and_deviation(gaussian: Gaussian) -> None:
    prediction = gaussian(0.4, 0.1, failing=0.25)
    assert float(prediction.mean) == pytest.approx(0.4, abs=1e-4)
    assert float(prediction.stddev) == pytest.approx(0.1, rel=1e-2)


def test_binned__join_and_select__keep_the_points() -> None:
    first, second = BinnedDistribution(random_logits(0)), BinnedDistribution(random_logits(1))
    joined = BinnedDistribution.join([first, second])
    assert torch.equal(joined.select([7]).logits, second.logits[[2]])
    assert joined.mean.shape == (10,)


def test_log_prob__bins_and_failure__are_the_logits_normalized() -> None:
    logits = random_logits(2)
    prediction = BinnedDistribution(logits)
    outcome = torch.tensor([0, 7, BINS, 3, BINS])
    found = prediction.log_prob(outcome).exp()
    torch.testing.assert_close(found, logits.softmax(-1)[torch.arange(5), outcome])


@pytest.mark.parametrize("level", [0.0, 0.05, 0.5, 0.9, 1.0])
def test_quantile__random_logits__holds_its_share_below(level: float) -> None:
    logits = random_logits(3)
    found = BinnedDistribution(logits).quantile(level)
    for row, where in zip(logits.double(), found.tolist(), strict=True):
        probabilities = row[:-1].softmax(-1).numpy()
        cumulative = np.concatenate([[0.0], probabilities.cumsum()])
        below = np.interp(where, np.arange(BINS + 1) / BINS, cumulative)
        assert below == pytest.approx(level, abs=1e-5)


def test_log_feasible__gaussian__is_the_chance_not_to_fail(gaussian: Gaussian) -> None:
    for failing in (0.0, 0.3, 0.999):
        found = float(gaussian(0.4, 0.1, failing).log_feasible.exp())
        assert found == pytest.approx(1 - failing, abs=1e-5)
    assert NormalDistribution(torch.tensor([0.4]), torch.tensor([0.1])).log_feasible.tolist() == [0]


@pytest.mark.parametrize("best", [0.0, 0.31, 0.99])
def test_log_ei_and_log_pi__random_logits__are_the_sums_over_bins(best: float) -> None:
    logits = random_logits(0)
    prediction = BinnedDistribution(logits)
    at = torch.tensor(best)
    improvement, chance = prediction.log_ei(at), prediction.log_pi(at)
    for n, row in enumerate(logits.double().softmax(-1).tolist()):
        gain = sum(p * max((b + 0.5) / BINS - best, 0) for b, p in enumerate(row[:-1]))
        better = sum(p for b, p in enumerate(row[:-1]) if (b + 0.5) / BINS > best)
        assert float(improvement[n].exp()) == pytest.approx(gain, rel=1e-4)
        assert float(chance[n].exp()) == pytest.approx(better, rel=1e-4)
        assert float(prediction.pi(at)[n]) == pytest.approx(better, rel=1e-4)


def test_log_ei__several_studies__each_improves_on_its_own_best() -> None:
    logits = random_logits(4, 6).reshape(2, 3, -1)
    best = torch.tensor([0.2, 0.7])
    together = BinnedDistribution(logits).log_ei(best[:, None, None])
    for study in range(2):
        alone = BinnedDistribution(logits[study]).log_ei(best[study])
        assert torch.equal(together[study], alone)


@pytest.mark.parametrize("failing", [0.0, 0.3])
@pytest.mark.parametrize(("mean", "deviation", "best"), [(0.4, 0.1, 0.5), (0.6, 0.05, 0.5)])
def test_log_ei__gaussian__is_the_closed_form(
    gaussian: Gaussian, mean: float, deviation: float, best: float, failing: float
) -> None:
    z = (mean - best) / deviation
    density = math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    below = 0.5 * math.erfc(-z / math.sqrt(2))
    closed = (mean - best) * below + deviation * density
    at = torch.tensor(best)
    binned = float(gaussian(mean, deviation, failing).log_ei(at).exp())
    assert binned == pytest.approx((1 - failing) * closed, rel=5e-3)
    normal = NormalDistribution(torch.tensor([mean]), torch.tensor([deviation]))
    assert float(normal.log_ei(at).exp()) == pytest.approx(closed, rel=1e-5)


def test_log_ei__normal_far_below_the_best__still_orders() -> None:
    prediction = NormalDistribution(torch.tensor([0.1, 0.2, 0.15]), torch.full((3,), 0.02))
    found = prediction.log_ei(torch.tensor(0.6))
    assert found.argsort().tolist() == [0, 2, 1]
    assert found.isfinite().all()


def test_log_ucb__gaussian__is_its_quantile_times_the_feasibility(gaussian: Gaussian) -> None:
    score = gaussian(0.4, 0.1, 0.25).log_ucb(0.9)
    assert float(score.exp()) == pytest.approx(0.75 * (0.4 + 1.2816 * 0.1), abs=2e-3)


def test_sample__gaussian__follows_the_distribution(gaussian: Gaussian) -> None:
    prediction = BinnedDistribution(gaussian(0.4, 0.1, 0.2).logits.expand(20_000, -1))
    drawn = prediction.sample(torch.Generator().manual_seed(0))
    assert torch.equal(drawn, prediction.sample(torch.Generator().manual_seed(0)))
    assert not torch.equal(drawn, prediction.sample(torch.Generator().manual_seed(1)))
    failed = drawn == 0
    assert float(failed.float().mean()) == pytest.approx(0.2, abs=0.015)
    assert float(drawn[~failed].mean()) == pytest.approx(0.4, abs=0.005)
    assert float(drawn[~failed].std()) == pytest.approx(0.1, abs=0.005)


def test_sample_center__gaussian_that_may_fail__is_a_center_of_what_does_not(
    gaussian: Gaussian,
) -> None:
    prediction = BinnedDistribution(gaussian(0.4, 0.1, 0.9).logits.expand(20_000, -1))
    drawn = prediction.sample_center(torch.Generator().manual_seed(0))
    assert torch.isin(drawn, prediction.centers).all()
    assert float(drawn.mean()) == pytest.approx(0.4, abs=0.005)
    assert float(drawn.std()) == pytest.approx(0.1, abs=0.005)


def test_sample__normal__follows_the_distribution() -> None:
    mean, stddev = torch.tensor([0.4, 0.6]).repeat(4000), torch.tensor([0.1, 0.01]).repeat(4000)
    found = NormalDistribution(mean, stddev).sample(torch.Generator().manual_seed(0))
    for i, (center, spread) in enumerate([(0.4, 0.1), (0.6, 0.01)]):
        drawn = found[i::2]
        assert float(drawn.mean()) == pytest.approx(center, abs=4 * spread / 4000**0.5)
        assert float(drawn.std()) == pytest.approx(spread, rel=0.06)
