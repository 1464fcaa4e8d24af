"""A mixture of Gaussian processes over the trials of a study, which the model consults.

No single process suits: whether a parameter matters, how rough the function is, and whether it is
smooth before or after the objective's scale bends its lower half are all unknown after a few
trials. So the most probable processes of a grid and one with a length scale for each parameter
answer together, each with a weight for how well it explains the measured trials. Failed and pending
trials say nothing.

Shapes use the letters of `optformer.model.tensors`, and K components.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from optformer.model.gaussian_process import (
    GRID,
    Posterior,
    climb,
    covariances,
    grid_log_posterior,
    grid_points,
    noisy,
    squared_gaps,
)
from optformer.model.tensors import HistoryTensors, PointTensors
from optformer.tokenization.history import MetricKind

FROM_GRID = 4  # components with a length scale for all parameters; one more has its own for each
_LEAST_SPREAD = 0.02  # of trials above their median: the unit is exponentiated in spreads
_FLAT = 0.01  # share of an answer that is alike for all bins: no value is impossible
_NEGLIGIBLE = 1e-4  # chance of a component that is left out of an answer


@dataclass(frozen=True)
class OutcomeWarp:
    """Where the objective's scale turns from affine to logarithmic, read off scaled trials.

    `ObjectiveScale` is affine above the trials' median, whose best lies one spread above it, and
    logarithmic below. Straight values are those of a scale that is affine throughout. Of a thinned
    history, whose median is not that of the scale, they are straight only nearly.

    Attributes:
        median: Where the scale bends, float64, (B, 1).
        spread: The affine side's unit; infinite where trials do not tell it, float64, (B, 1).
    """

    median: Tensor
    spread: Tensor

    @staticmethod
    def of(values: Tensor, known: Tensor) -> OutcomeWarp:
        """The bend of scaled values, (B, T), of which some are known."""
        seen = F.pad(values.masked_fill(~known, torch.nan), (0, 1), value=torch.nan)
        median = seen.nanmedian(-1, keepdim=True).values.nan_to_num(0.5)
        spread = seen.nan_to_num(-torch.inf).amax(-1, keepdim=True) - median
        return OutcomeWarp(median, spread.where(spread > _LEAST_SPREAD, torch.inf))

    def straight(self, unit: Tensor) -> Tensor:
        """Scaled values, (B, N), made straight."""
        steps = ((unit - self.median) / self.spread).clamp(max=0.0)
        return torch.where(steps < 0, self.median - self.spread * torch.expm1(-steps), unit)

    def bent(self, straight: Tensor) -> Tensor:
        """Straight values, (B, N), back on the scale."""
        steps = ((straight - self.median) / self.spread).clamp(max=0.0)
        return torch.where(steps < 0, self.median - self.spread * torch.log1p(-steps), straight)

    def log_slope(self, unit: Tensor) -> Tensor:
        """Logarithm of the derivative of straight values by scaled ones, (B, N)."""
        return -((unit - self.median) / self.spread).clamp(max=0.0)


@dataclass(frozen=True)
class GPMixture:
    """Processes fitted to the trials of each study.

    Attributes:
        points: The trials' points, T a study.
        known: Which trials have a value, bool, (B, T).
        values: Their scaled metrics, 0 for others, (B, T).
        bend: Of the scale of these.
        straight: Which components are processes of straight values, bool, (B, K).
        weights: Weight of each parameter in the squared distance, (B, K, P).
        noise: Noise variance relative to the signal's, (B, K, 1).
        chances: How probable each component is, (B, K).
        posterior: What follows from them.
    """

    points: PointTensors
    known: Tensor
    values: Tensor
    bend: OutcomeWarp
    straight: Tensor
    weights: Tensor
    noise: Tensor
    chances: Tensor
    posterior: Posterior

    @property
    def length(self) -> int:
        """Number of trials T."""
        return self.values.shape[1]

    @torch.no_grad()
    def predict(self, points: PointTensors, position: Tensor | None = None) -> GPMixturePrediction:
        """What to expect of measurements at N points.

        Args:
            points: N points a study.
            position: How many trials each may see, (N,); all when absent. Points that may see only
                some are told nothing.
        """
        gaps = squared_gaps(points, self.points).double()  # (B, N, T, P)
        cross = covariances(gaps, self.weights) * self.known[:, None, None]
        means, deviations = self.posterior.predict(cross, self.noise)
        told = means.new_ones(means.shape[-1]) if position is None else position >= self.length
        return self._expected(means, deviations, told)

    @torch.no_grad()
    def told(self, history: HistoryTensors) -> GPMixture:
        """The same processes told of more trials, such as assumed ones: they are not fitted again.

        Fitted to what they predicted themselves, they would grow too sure of it.
        """
        known, values = _measured(history)
        gaps = squared_gaps(history.points, history.points).double()
        covariance = noisy(covariances(gaps, self.weights), self.noise, known[:, None])
        seen = _seen(_views(values, known, self.bend), self.straight)
        posterior = self.posterior.told(covariance, seen, known[:, None])
        return replace(self, points=history.points, known=known, values=values, posterior=posterior)

    @torch.no_grad()
    def left_out(self) -> GPMixturePrediction:
        """What to expect of each trial, from all others."""
        views = _views(self.values, self.known, self.bend)
        means, deviations = self.posterior.left_out(_seen(views, self.straight))
        return self._expected(means, deviations, means.new_ones(self.length))

    def _expected(self, means: Tensor, deviations: Tensor, told: Tensor) -> GPMixturePrediction:
        return GPMixturePrediction(
            means, deviations, self.chances, self.straight, self.bend, told.float()
        )


@dataclass(frozen=True)
class GPMixturePrediction:
    """What a mixture expects of the metric of N points a study.

    Attributes:
        means: Of each component, straight where the component is, float64, (B, K, N).
        deviations: Standard deviations, likewise.
        chances: How probable each component is, (B, K).
        straight: Which components are of straight values, bool, (B, K).
        bend: Of the scale.
        told: 1 for points that may see all trials, 0 for others, float32, (N,).
    """

    means: Tensor
    deviations: Tensor
    chances: Tensor
    straight: Tensor
    bend: OutcomeWarp
    told: Tensor

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the scaled metric, float32, each (B, N)."""
        low, middle, high = (self._bent(self.means + side * self.deviations) for side in (-1, 0, 1))
        chances = self.chances[..., None]
        mean = (chances * middle).sum(1)
        squares = chances * (((high - low) / 2).square() + (middle - mean[:, None]).square())
        return mean.float(), squares.sum(1).sqrt().float()

    def _bent(self, values: Tensor) -> Tensor:
        bent = self.bend.bent(values.flatten(1)).view_as(values)
        return torch.where(self.straight[..., None], bent, values)

    def log_chances(self, bins: int) -> Tensor:
        """Logarithm of each bin's share of the distribution, but for a constant, (B, N, Q)."""
        centres = (torch.arange(bins, device=self.means.device).double() + 0.5)[None] / bins
        straight, log_slope = self.bend.straight(centres), self.bend.log_slope(centres)  # (B, Q)
        # No narrower than half a bin, at the mean.
        steepness = self.bend.log_slope(self._bent(self.means).flatten(1)).view_as(self.means)
        narrowest = torch.where(self.straight[..., None], steepness.exp(), 1.0) * 0.5 / bins
        deviations = self.deviations.maximum(narrowest)
        density = self.told.new_zeros(*self.means[:, 0].shape, bins)
        for k in range(self.chances.shape[1]):
            chance, is_straight = self.chances[:, k, None], self.straight[:, k, None]
            if not (chance > _NEGLIGIBLE).any():
                continue
            deviation = deviations[:, k].float()[..., None]  # (B, N, 1)
            place = torch.where(is_straight, straight, centres).float()[:, None]  # (B, 1, Q)
            height = chance * torch.where(is_straight, log_slope.exp(), 1.0)
            apart = (place - self.means[:, k].float()[..., None]) / deviation
            height = (height / math.sqrt(2 * math.pi)).float()[:, None]
            density += apart.square_().mul_(-0.5).exp_().mul_(height).div_(deviation)
        return density.mul_(1 - _FLAT).add_(_FLAT).log_()


@torch.no_grad()
def fit_processes(history: HistoryTensors) -> GPMixture:
    """Fit processes to the measured trials of each study; without any they are the prior."""
    known, values = _measured(history)
    bend = OutcomeWarp.of(values, known)
    views = _views(values, known, bend)
    stretched = (bend.log_slope(values) * known).sum(-1)
    gaps = squared_gaps(history.points, history.points).double()  # (B, T, T, P)
    parameters = gaps.shape[-1]

    fitness = grid_log_posterior(gaps, views, known)  # (B, 2, G)
    fitness[:, 1] += stretched[:, None]
    reached, index = fitness.flatten(1).topk(FROM_GRID, -1)
    straight = index >= len(GRID)
    weight, noise = grid_points(index % len(GRID), parameters)  # (B, 4)
    best = straight[:, :1]
    fitted = _seen(views, best)[:, 0]
    own_weights, own_noise, own_fitness = climb(gaps, index[:, :1] % len(GRID), fitted, known)
    own_fitness = own_fitness + stretched[:, None] * best

    straight = torch.cat([straight, best], 1)
    weights = torch.cat([weight[..., None].expand(-1, -1, parameters), own_weights[:, None]], 1)
    noise = torch.cat([noise, own_noise], 1)[..., None]
    chances = torch.cat([reached, own_fitness], 1).softmax(-1)
    covariance = noisy(covariances(gaps, weights), noise, known[:, None])
    posterior = Posterior.of(covariance, _seen(views, straight), known[:, None])
    return GPMixture(
        history.points, known, values, bend, straight, weights, noise, chances, posterior
    )


def _measured(history: HistoryTensors) -> tuple[Tensor, Tensor]:
    """Which trials have a value, and the values, 0 for others, each (B, T)."""
    known = history.metric_kinds == MetricKind.VALUE
    return known, history.metric.double() * known


def _views(values: Tensor, known: Tensor, bend: OutcomeWarp) -> Tensor:
    """Scaled values, and straight ones, (B, 2, T)."""
    return torch.stack([values, bend.straight(values) * known], 1)


def _seen(views: Tensor, straight: Tensor) -> Tensor:
    """What each component is fitted to, (B, K, T), of both views of the values, (B, 2, T)."""
    return torch.where(straight[..., None], views[:, 1:], views[:, :1])
