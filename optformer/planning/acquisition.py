"""Acquisition functions by name: how promising a candidate is, given a prediction of its y.

A new one is a method of the distributions, or a function of them, and a line of `ACQUISITIONS`.
This module imports no torch, so that studies and the command line can read the names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optformer.data.studies.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from optformer.planning.distribution import PredictiveDistribution

UCB_LEVEL = 0.9  # of the quantile: optimistic, yet one trial in ten is better
_TINY = 1e-12  # keeps logarithms finite, in single precision


@dataclass(frozen=True)
class Acquisition:
    """A way to rank candidates.

    Attributes:
        text: What it ranks by.
        score: A prediction for N candidates, the best y so far (a scalar), and a source of
            randomness, to scores: logarithms, (N,), larger is better.
    """

    text: str
    score: Callable[[PredictiveDistribution, Tensor, torch.Generator], Tensor]


def _log_sample(
    prediction: PredictiveDistribution, best: Tensor, generator: torch.Generator
) -> Tensor:
    """Logarithm of a sample of each y (Thompson 1933)."""
    del best
    return prediction.sample(generator).clamp(min=_TINY).log()


ACQUISITIONS = {
    "ei": Acquisition("expected improvement", lambda y, best, _: y.log_ei(best)),
    "pi": Acquisition("probability of improvement", lambda y, best, _: y.log_pi(best)),
    "ucb": Acquisition("an upper confidence bound", lambda y, _, __: y.log_ucb(UCB_LEVEL)),
    "ts": Acquisition("Thompson samples", _log_sample),
}
"""Acquisition functions by the name of the strategy."""

STRATEGIES = {
    **{name: f"chooses by {each.text}" for name, each in ACQUISITIONS.items()},
    "optimum": "draws from the belief of where the best lies, without ranking",
}
"""What each strategy of a study does, by its name; the first is the default."""


def check_strategy(name: str) -> None:
    """Refuse an unknown strategy.

    Raises:
        ConfigError: The strategy is none of `STRATEGIES`.
    """
    if name not in STRATEGIES:
        raise ConfigError(f"unknown strategy {name!r}; known are {list(STRATEGIES)}")
