from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from optformer.data.studies.errors import ConfigError
from optformer.planning.acquisition import ACQUISITIONS, STRATEGIES, check_strategy
from optformer.planning.distribution import (
    BinnedDistribution,
    NormalDistribution,
    PredictiveDistribution,
)

Gaussian = Callable[..., BinnedDistribution]


DETERMINISTIC = sorted(set(ACQUISITIONS) - {"ts"})


def _score(name: str, prediction: PredictiveDistribution, best: float, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return ACQUISITIONS[name].score(prediction, torch.tensor(best), generator)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_acquisition__normal_distributions__rank_as_their_bins(
    gaussian: Gaussian, name: str
) -> None:
    shapes = [(0.3, 0.1), (0.45, 0.02), (0.5, 0.05), (0.4, 0.2), (0.55, 0.03)]
    binned = BinnedDistribution.join([gaussian(*shape) for shape in shapes])
    normal = NormalDistribution(*torch.tensor(shapes).T)
    exact, analytic = _score(name, binned, 0.52), _score(name, normal, 0.52)
    assert analytic.argsort().tolist() == exact.argsort().tolist()
    if name == "ei":
        torch.testing.assert_close(analytic.float(), exact, atol=0.02, rtol=0.02)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_acquisition__better_values_or_fewer_failures__score_higher(
    gaussian: Gaussian, name: str
) -> None:
    worse = _score(name, gaussian(0.4, 0.1, 0.2), 0.5)
    assert _score(name, gaussian(0.45, 0.1, 0.2), 0.5) > worse
    assert _score(name, gaussian(0.4, 0.1, 0.1), 0.5) > worse
    assert _score(name, gaussian(0.4, 0.13, 0.2), 0.5) > worse  # uncertainty is worth trying


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_acquisition__hopeless_candidates__stay_finite_with_gradients(
    gaussian: Gaussian, name: str
) -> None:
    logits = gaussian(0.1, 0.001).logits.clone().requires_grad_()
    score = _score(name, BinnedDistribution(logits), 0.999)
    score.sum().backward()  # type: ignore[no-untyped-call]
    assert score.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_ts__drawn_failures_and_values_below_zero__rank_last_and_finite(gaussian: Gaussian) -> None:
    failing = BinnedDistribution(gaussian(0.4, 0.1, 0.2).logits.expand(1000, -1))
    below = NormalDistribution(torch.full((1000,), -0.1), torch.full((1000,), 0.1))
    for prediction in (failing, below):
        drawn = prediction.sample(torch.Generator().manual_seed(0))
        score = _score("ts", prediction, 0.5)
        assert (drawn <= 0).any()
        assert score.isfinite().all()
        assert score[drawn <= 0].max() < score[drawn > 0].min()


def test_check_strategy__unknown_name__lists_the_known() -> None:
    for name in STRATEGIES:
        check_strategy(name)
    with pytest.raises(ConfigError, match=r"'best'.*'ei'.*'optimum'"):
        check_strategy("best")


def test_import__names_of_strategies__load_no_torch() -> None:
    code = "import sys, optformer.planning.acquisition; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0
