"""Learning rates of K networks over the steps of a training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from optformer.data.corpora.trainings.columns import Columns

_DROPS = 3  # parts of a training between which a step schedule drops
_RISE = 0.3  # share of one cycle in which the rate rises
_RESTARTS = 3


def _cosine(done: Tensor) -> Tensor:
    return 0.5 * (1 + torch.cos(math.pi * done))


SCHEDULES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "constant": lambda done, factor: torch.ones_like(done),
    "linear": lambda done, factor: 1 - done,
    "cosine": lambda done, factor: _cosine(done),
    "step": lambda done, factor: factor ** (done * _DROPS).floor(),
    "exponential": lambda done, factor: factor ** (2 * done),
    "one_cycle": lambda done, factor: torch.where(
        done < _RISE, 0.04 + 0.96 * done / _RISE, _cosine(((done - _RISE) / (1 - _RISE)).clamp(0))
    ),
    "warm_restarts": lambda done, factor: _cosine((done * _RESTARTS) % 1),
    "inverse_sqrt": lambda done, factor: (1 + 10 * done).rsqrt(),
}
"""Name to the share of the peak rate, from the share of steps done and the decay factor."""


def learning_rates(columns: Columns, steps: Tensor) -> Tensor:
    """The rate of each step, (S, K) where S is the length of the longest training.

    Args:
        columns: The configurations.
        steps: Steps of each, (K,); afterwards its rate is 0.
    """
    number = torch.arange(int(steps.max()))[:, None]
    done = number / steps
    factor = columns.numbers("decay_factor").expand_as(done)
    share = torch.zeros_like(done)
    for name in sorted(set(columns.values("schedule"))):
        share = torch.where(columns.where("schedule", name), SCHEDULES[name](done, factor), share)
    warm = columns.numbers("warmup") * steps
    rising = ((number + 1) / warm.clamp_min(1.0)).clamp_max(1.0)
    return columns.numbers("learning_rate") * share * rising * (number < steps)
