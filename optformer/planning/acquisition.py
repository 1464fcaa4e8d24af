"""Acquisition functions: sums over the predicted distribution of the metric's bins.

All take logits over Q bins and `failed`, (N, Q + 1), and the best scaled value so far, and return
one score a candidate, (N,), larger is better: the logarithm of something positive, so that what is
added weighs it. Expected improvement takes studies together, too: B axes in front, and the best
values (B, 1, 1). Each has a screen beside it, which takes the mean and deviation of normal
distributions instead.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

import torch
from torch import Tensor

from optformer.data.studies.errors import ConfigError
from optformer.planning.space_transform import Array

UCB_QUANTILE = 0.9
FAILURE_WEIGHT = 3.0  # further powers of the probability of not failing
_TINY = 1e-12
_LEAST = 1e-300  # in double precision
_CLOSE = 1e-3  # distance below which a slope is rounding

Acquisition = Callable[[Tensor, Tensor, torch.Generator], Tensor]


def bin_centres(bins: int, like: Tensor) -> Tensor:
    """Centres of the bins on the unit interval, (Q,)."""
    return (torch.arange(bins, device=like.device) + 0.5) / bins


def expected_improvement(logits: Tensor, best: Tensor, generator: torch.Generator) -> Tensor:
    """Logarithm of the expected improvement, times the probability of not failing (Jones 1998)."""
    del generator
    chances = logits.softmax(-1)[..., :-1]  # sums to the probability of not failing
    gain = (bin_centres(chances.shape[-1], chances) - best).clamp(min=0)
    return torch.log((chances * gain).sum(-1) + _TINY)


def probability_of_improvement(logits: Tensor, best: Tensor, generator: torch.Generator) -> Tensor:
    """Logarithm of the probability of a better value (Kushner 1964)."""
    del generator
    chances = logits.softmax(-1)[..., :-1]
    better = bin_centres(chances.shape[-1], chances) > best
    return torch.log(chances @ better.to(chances.dtype) + _TINY)


def upper_confidence_bound(logits: Tensor, best: Tensor, generator: torch.Generator) -> Tensor:
    """Logarithm of the 0.9 quantile, times the probability of not failing (Srinivas 2010)."""
    del best, generator
    succeeding = 1 - logits.softmax(-1)[..., -1]
    return torch.log(quantile(logits, UCB_QUANTILE) * succeeding + _TINY)


def thompson_sample(logits: Tensor, best: Tensor, generator: torch.Generator) -> Tensor:
    """Logarithm of one draw of each candidate's value; a drawn failure ranks below all values."""
    del best
    drawn = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
    inside = torch.rand(drawn.shape, generator=generator)
    bins = logits.shape[-1] - 1
    return torch.where(drawn == bins, 0.0, (drawn + inside) / bins).add(_TINY).log()


ACQUISITIONS: dict[str, Acquisition] = {
    "ei": expected_improvement,
    "pi": probability_of_improvement,
    "ucb": upper_confidence_bound,
    "ts": thompson_sample,
}
"""Acquisition functions by the name of the strategy."""


def acquisition(name: str) -> Acquisition:
    """Look up an acquisition function.

    Raises:
        ConfigError: The name is unknown.
    """
    if name not in ACQUISITIONS:
        raise ConfigError(
            f"unknown strategy {name!r}; known are {sorted([*ACQUISITIONS, 'policy'])}"
        )
    return ACQUISITIONS[name]


Screen = Callable[[Tensor, Tensor, Tensor, torch.Generator], Tensor]
"""Mean and deviation of N candidates, the best value, and a source of randomness, to scores."""


def _normal_improvement(
    mean: Tensor, deviation: Tensor, best: Tensor, generator: torch.Generator
) -> Tensor:
    del generator
    gap = ((mean - best) / deviation).double()  # single precision ends five deviations below
    density = torch.exp(-0.5 * gap.square()) / math.sqrt(2 * math.pi)
    return torch.log(deviation * (gap * torch.special.ndtr(gap) + density) + _LEAST)


def _normal_probability(
    mean: Tensor, deviation: Tensor, best: Tensor, generator: torch.Generator
) -> Tensor:
    del generator
    chance: Tensor = torch.special.log_ndtr((mean - best) / deviation)
    return chance


def _normal_quantile(
    mean: Tensor, deviation: Tensor, best: Tensor, generator: torch.Generator
) -> Tensor:
    del best, generator
    value = mean + statistics.NormalDist().inv_cdf(UCB_QUANTILE) * deviation
    return value.clamp(min=_TINY).log()


def _normal_sample(
    mean: Tensor, deviation: Tensor, best: Tensor, generator: torch.Generator
) -> Tensor:
    del best
    value = mean + deviation * torch.randn(mean.shape, generator=generator)
    return value.clamp(min=_TINY).log()


SCREENS: dict[str, Screen] = {
    "ei": _normal_improvement,
    "pi": _normal_probability,
    "ucb": _normal_quantile,
    "ts": _normal_sample,
}
"""The acquisition functions of normal distributions, to rank many candidates cheaply."""


def failure_penalty(logits: Tensor) -> Tensor:
    """Keep candidates away from where trials fail: what is added to their scores, at most 0, (N,).

    An acquisition weighs what it promises by the chance not to fail, once. But a promise that a
    failed trial did not keep is made again beside it, as failures say nothing of values: where many
    failed, what is left promises most. So the chance counts more than once.
    """
    return FAILURE_WEIGHT * torch.nn.functional.logsigmoid(
        logits[..., :-1].logsumexp(-1) - logits[..., -1]
    )


def local_penalty(logits: Tensor, distances: Array, best: Tensor, slope: float) -> Tensor:
    """Keep candidates away from pending trials whose values are not known.

    Where a response is nowhere steeper than `slope`, nothing in a ball around a pending trial can
    be better than the best. The penalty is the logarithm of the chance to lie outside all balls
    (Gonzalez et al. 2016, "Batch Bayesian optimization via local penalization").

    Args:
        logits: Predictions of M pending trials, (M, Q + 1).
        distances: From the candidates to them, (N, M).
        best: Best scaled value so far, scalar.
        slope: Scaled value over distance.

    Returns:
        What is added to the candidates' scores, at most 0, (N,).
    """
    mean, deviation = moments(logits)
    reach = slope * torch.from_numpy(distances).float()
    penalty: Tensor = torch.special.log_ndtr((reach - (best - mean)) / deviation).sum(-1)
    return penalty


def steepest_slope(mean: Tensor, distances: Array) -> float:
    """The steepest predicted mean, (N,), between two candidates, distances (N, N) apart."""
    rise = (mean[:, None] - mean[None, :]).abs()
    return float((rise / torch.from_numpy(distances).float().clamp(min=_CLOSE)).amax())


def moments(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the scaled value given that the trial does not fail, (N,)."""
    chances = logits[..., :-1].softmax(-1)
    centres = bin_centres(chances.shape[-1], chances)
    mean = chances @ centres
    spread = (centres - mean[..., None]).square()
    return mean, (chances * spread).sum(-1).sqrt()


def quantile(logits: Tensor, level: float) -> Tensor:
    """Quantile of the scaled value given that the trial does not fail, (N,), linear in a bin."""
    chances = logits[..., :-1].softmax(-1)
    cumulative = chances.cumsum(-1)
    index = (cumulative < level).sum(-1, keepdim=True).clamp(max=chances.shape[-1] - 1)
    inside = torch.gather(chances, -1, index)
    before = torch.gather(cumulative, -1, index) - inside
    part = ((level - before) / inside.clamp(min=_TINY)).clamp(0, 1)
    return ((index + part) / chances.shape[-1])[..., 0]
