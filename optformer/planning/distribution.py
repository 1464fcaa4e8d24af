"""Predictive distributions of the scaled metric y: the model's, and the Gaussian processes'.

y lies on the unit interval and is maximized. A trial may fail instead of having a y; its
feasibility is the probability that it does not. Shapes: N points, Q bins; more axes may stand in
front.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from optformer.model.tensors import bin_centers

_TINY = 1e-12  # keeps logarithms finite, in single precision
_TINY_DOUBLE = 1e-300  # in double precision


class PredictiveDistribution(Protocol):
    """A prediction of y at N points.

    `mean`, `stddev` and `quantile` hold for trials that do not fail. `log_ei`, `log_pi` and
    `log_ucb` are weighted with the feasibility; `log_ei` and `log_pi` broadcast `best`, the y to
    improve on, against (N,).
    """

    @property
    def mean(self) -> Tensor:
        """Mean of y, (N,)."""

    @property
    def stddev(self) -> Tensor:
        """Standard deviation of y, (N,)."""

    @property
    def log_feasible(self) -> Tensor:
        """Logarithm of the feasibility, (N,)."""

    def quantile(self, level: float) -> Tensor:
        """Quantile of y at a level in [0, 1], (N,)."""

    def sample(self, generator: torch.Generator) -> Tensor:
        """One draw of each y, (N,); 0, the lowest y, for a drawn failure."""

    def log_ei(self, best: Tensor) -> Tensor:
        """Logarithm of the expected improvement (Jones et al. 1998), (N,)."""

    def log_pi(self, best: Tensor) -> Tensor:
        """Logarithm of the probability of improvement (Kushner 1964), (N,)."""

    def log_ucb(self, level: float) -> Tensor:
        """Logarithm of an upper confidence bound: the quantile at a level in [0, 1], (N,)."""

    def excess(self, thresholds: Tensor) -> Tensor:
        """Expected y above each of T thresholds if the trial does not fail, float64, (N, T)."""

    def log_at_least(self, y: float) -> Tensor:
        """Logarithm of the probability of this y or more if the trial does not fail, (N,)."""

    def log_at_most(self, y: float) -> Tensor:
        """Logarithm of the probability of this y or less if the trial does not fail, (N,)."""


@dataclass(frozen=True, eq=False)
class BinnedDistribution:
    """A `PredictiveDistribution` with a probability for each bin of y, and for a failure.

    Attributes:
        logits: Logits over the bins and `failed`, (N, Q + 1).
    """

    logits: Tensor

    @staticmethod
    def join(parts: Sequence[BinnedDistribution]) -> BinnedDistribution:
        """The points of several predictions, one after the other."""
        return BinnedDistribution(torch.cat([part.logits for part in parts]))

    def select(self, index: list[int]) -> BinnedDistribution:
        """The prediction at some of the points."""
        return BinnedDistribution(self.logits[index])

    def double(self) -> BinnedDistribution:
        """The same prediction in double precision."""
        return BinnedDistribution(self.logits.double())

    @cached_property
    def centers(self) -> Tensor:
        """Centers of the bins, rounded to single precision, (Q,)."""
        centers = bin_centers(self.logits.shape[-1] - 1, self.logits.device)
        return centers.float().to(self.logits.dtype)

    @cached_property
    def probabilities(self) -> Tensor:
        """Probabilities of the bins for trials that do not fail, (N, Q)."""
        return self.logits[..., :-1].softmax(-1)

    @cached_property
    def outcome_probabilities(self) -> Tensor:
        """Probabilities of the bins and of a failure, (N, Q + 1)."""
        return self.logits.softmax(-1)

    def log_prob(self, outcome: Tensor) -> Tensor:
        """Logarithm of the probability of outcomes: bins, or Q for a failure, int64, (N,)."""
        return self.logits.log_softmax(-1).gather(-1, outcome[..., None])[..., 0]

    @cached_property
    def mean(self) -> Tensor:
        """See `PredictiveDistribution`."""
        return self.probabilities @ self.centers

    @cached_property
    def stddev(self) -> Tensor:
        """See `PredictiveDistribution`."""
        squares = (self.centers - self.mean[..., None]).square()
        return (self.probabilities * squares).sum(-1).sqrt()

    @property
    def log_feasible(self) -> Tensor:
        """See `PredictiveDistribution`."""
        return F.logsigmoid(self.logits[..., :-1].logsumexp(-1) - self.logits[..., -1])

    def quantile(self, level: float) -> Tensor:
        """See `PredictiveDistribution`; inside a bin the quantile is interpolated linearly."""
        cumulative = self.probabilities.cumsum(-1)
        bins = cumulative.shape[-1]
        index = (cumulative < level).sum(-1, keepdim=True).clamp(max=bins - 1)
        inside = torch.gather(self.probabilities, -1, index)
        before = torch.gather(cumulative, -1, index) - inside
        part = ((level - before) / inside.clamp(min=_TINY)).clamp(0, 1)
        return ((index + part) / bins)[..., 0]

    def sample(self, generator: torch.Generator) -> Tensor:
        """See `PredictiveDistribution`; uniform inside the drawn bin."""
        drawn = torch.multinomial(self.outcome_probabilities, 1, generator=generator)[:, 0]
        inside = torch.rand(drawn.shape, generator=generator)
        bins = self.logits.shape[-1] - 1
        return torch.where(drawn == bins, 0.0, (drawn + inside) / bins)

    def sample_center(self, generator: torch.Generator) -> Tensor:
        """The center of a drawn bin for each point that does not fail, (N,)."""
        drawn = torch.multinomial(self.probabilities, 1, generator=generator)[:, 0]
        return self.centers[drawn]

    def pi(self, best: Tensor) -> Tensor:
        """Probability of improvement on `best`, (N,)."""
        better = (self.centers > best).to(self.logits.dtype)
        return self.outcome_probabilities[..., :-1] @ better

    def log_ei(self, best: Tensor) -> Tensor:
        """See `PredictiveDistribution`."""
        improvement = (self.centers - best).clamp(min=0)
        return torch.log((self.outcome_probabilities[..., :-1] * improvement).sum(-1) + _TINY)

    def log_pi(self, best: Tensor) -> Tensor:
        """See `PredictiveDistribution`."""
        return torch.log(self.pi(best) + _TINY)

    def log_ucb(self, level: float) -> Tensor:
        """See `PredictiveDistribution`."""
        feasible = 1 - self.outcome_probabilities[..., -1]
        return torch.log(self.quantile(level) * feasible + _TINY)

    def excess(self, thresholds: Tensor) -> Tensor:
        """See `PredictiveDistribution`."""
        above = (self.centers.double()[:, None] - thresholds.double()).clamp(min=0)
        return self.probabilities.double() @ above

    def log_at_least(self, y: float) -> Tensor:
        """See `PredictiveDistribution`; the bin of y counts whole, and the last one always."""
        first = min(max(math.floor(y * len(self.centers)), 0), len(self.centers) - 1)
        return self.logits[..., :-1].double().log_softmax(-1)[..., first:].logsumexp(-1)

    def log_at_most(self, y: float) -> Tensor:
        """See `PredictiveDistribution`; the bin of y counts whole, and the first one always."""
        last = min(max(math.floor(y * len(self.centers)), 0), len(self.centers) - 1)
        return self.logits[..., :-1].double().log_softmax(-1)[..., : last + 1].logsumexp(-1)


@dataclass(frozen=True, eq=False)
class NormalDistribution:
    """A normal `PredictiveDistribution`, in which no trial fails.

    Attributes:
        mean: Mean of y, (N,).
        stddev: Standard deviation of y, above 0, (N,).
    """

    mean: Tensor
    stddev: Tensor

    @property
    def log_feasible(self) -> Tensor:
        """See `PredictiveDistribution`."""
        return torch.zeros_like(self.mean)

    def quantile(self, level: float) -> Tensor:
        """See `PredictiveDistribution`."""
        return self.mean + statistics.NormalDist().inv_cdf(level) * self.stddev

    def sample(self, generator: torch.Generator) -> Tensor:
        """See `PredictiveDistribution`."""
        return self.mean + self.stddev * torch.randn(self.mean.shape, generator=generator)

    def log_ei(self, best: Tensor) -> Tensor:
        """See `PredictiveDistribution`."""
        # In double precision: single precision ends five deviations below the best.
        gap = ((self.mean - best) / self.stddev).double()
        density = torch.exp(-0.5 * gap.square()) / math.sqrt(2 * math.pi)
        improvement = self.stddev * (gap * torch.special.ndtr(gap) + density)
        return torch.log(improvement + _TINY_DOUBLE)

    def log_pi(self, best: Tensor) -> Tensor:
        """See `PredictiveDistribution`."""
        log_probability: Tensor = torch.special.log_ndtr((self.mean - best) / self.stddev)
        return log_probability

    def log_ucb(self, level: float) -> Tensor:
        """See `PredictiveDistribution`."""
        return self.quantile(level).clamp(min=_TINY).log()

    def excess(self, thresholds: Tensor) -> Tensor:
        """See `PredictiveDistribution`."""
        stddev = self.stddev.double()[:, None]
        gap = (self.mean.double()[:, None] - thresholds.double()) / stddev
        density = torch.exp(-0.5 * gap.square()) / math.sqrt(2 * math.pi)
        above: Tensor = stddev * (gap * torch.special.ndtr(gap) + density)
        return above.clamp(min=0)

    def log_at_least(self, y: float) -> Tensor:
        """See `PredictiveDistribution`."""
        log_probability: Tensor = torch.special.log_ndtr((self.mean - y).double() / self.stddev)
        return log_probability

    def log_at_most(self, y: float) -> Tensor:
        """See `PredictiveDistribution`."""
        log_probability: Tensor = torch.special.log_ndtr((y - self.mean).double() / self.stddev)
        return log_probability
