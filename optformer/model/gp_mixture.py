"""A mixture of Gaussian processes over the trials of a study, which the model consults.

No single process suits: whether a parameter matters, how rough the function is, and whether it is
smooth before or after the objective's scale warps its lower half are all unknown after a few
trials. So the most probable processes of a grid, and one with a length scale for each parameter,
answer together. Each is weighted by its posterior probability. Failed and pending trials are not
read.

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
    covariances,
    fit_lengthscales,
    grid_log_posterior,
    grid_points,
    noisy,
    squared_gaps,
)
from optformer.model.tensors import HistoryTensors, PointTensors, bin_centers
from optformer.tokenization.history import MetricKind

FROM_GRID = 4  # components with one length scale for all parameters; one more has one for each
_LEAST_SPREAD = 0.02  # of trials above their median: unwarping exponentiates values in spreads
_FLAT = 0.01  # share of a prediction that is uniform: no value is impossible
_NEGLIGIBLE = 1e-4  # weight of a component that is left out of a prediction


@dataclass(frozen=True)
class OutcomeWarp:
    """The objective scale's change from affine to logarithmic, estimated from scaled trials.

    `ObjectiveScale` is affine above the median of the trials, of which the best lies one spread
    above it, and logarithmic below. *Unwarped* values are those of a scale that is affine
    throughout. If the trials are a subsample of the history, whose median is another, they are so
    only nearly.

    Attributes:
        median: Scaled value at which the scale changes, float64, (B, 1).
        spread: Unit of the affine side, infinite where trials do not determine it, float64, (B, 1).
    """

    median: Tensor
    spread: Tensor

    @staticmethod
    def fit(y: Tensor, measured: Tensor) -> OutcomeWarp:
        """Estimate the warp.

        Args:
            y: Scaled values, (B, T).
            measured: Which of them are measurements, bool, (B, T).
        """
        seen = F.pad(y.masked_fill(~measured, torch.nan), (0, 1), value=torch.nan)
        median = seen.nanmedian(-1, keepdim=True).values.nan_to_num(0.5)
        spread = seen.nan_to_num(-torch.inf).amax(-1, keepdim=True) - median
        return OutcomeWarp(median, spread.where(spread > _LEAST_SPREAD, torch.inf))

    def unwarp(self, y: Tensor) -> Tensor:
        """Scaled values to unwarped ones, both (B, N)."""
        steps = ((y - self.median) / self.spread).clamp(max=0.0)
        return torch.where(steps < 0, self.median - self.spread * torch.expm1(-steps), y)

    def warp(self, unwarped: Tensor) -> Tensor:
        """Unwarped values to scaled ones, both (B, N)."""
        steps = ((unwarped - self.median) / self.spread).clamp(max=0.0)
        return torch.where(steps < 0, self.median - self.spread * torch.log1p(-steps), unwarped)

    def log_slope(self, y: Tensor) -> Tensor:
        """Logarithm of the derivative of unwarped values by scaled ones, (B, N)."""
        return -((y - self.median) / self.spread).clamp(max=0.0)


@dataclass(frozen=True)
class GPMixture:
    """Gaussian processes fitted to the trials of each study.

    Attributes:
        history: The T trials that the decoder reads, too.
        further: F more trials, which come before them here.
        measured: Which trials have a value, bool, (B, F + T).
        y: Scaled metrics of the trials, 0 where not measured, float64, (B, F + T).
        warp: Warp of the scale of these metrics.
        unwarped: Which components model unwarped values, bool, (B, K).
        inverse_squared_lengthscales: Kernel of each component, (B, K, P).
        noise: Noise variance of each component relative to the signal's, (B, K, 1).
        weights: Posterior probability of each component, (B, K).
        posterior: The components, conditioned on the trials.
    """

    history: HistoryTensors
    further: HistoryTensors
    measured: Tensor
    y: Tensor
    warp: OutcomeWarp
    unwarped: Tensor
    inverse_squared_lengthscales: Tensor
    noise: Tensor
    weights: Tensor
    posterior: Posterior

    @property
    def length(self) -> int:
        """Number of trials T that the decoder reads."""
        return self.history.length

    @property
    def points(self) -> PointTensors:
        """Points of all trials."""
        return self.further.join(self.history).points

    @torch.no_grad()
    def predict(self, points: PointTensors, position: Tensor | None = None) -> GPMixturePrediction:
        """Predict measurements at points.

        Args:
            points: N points a study.
            position: How many trials each point may see, (N,); all when absent. The model reads
                nothing of a prediction at a point that may see only some.
        """
        gaps = squared_gaps(points, self.points).double()  # (B, N, T, P)
        cross = covariances(gaps, self.inverse_squared_lengthscales) * self.measured[:, None, None]
        means, stddevs = self.posterior.predict(cross, self.noise)
        visible = means.new_ones(means.shape[-1]) if position is None else position >= self.length
        return self._prediction(means, stddevs, visible)

    @torch.no_grad()
    def condition_on(self, history: HistoryTensors) -> GPMixture:
        """Condition on other trials without refitting the hyperparameters.

        Refitted to values that they predicted themselves, the processes would grow too certain.

        Args:
            history: All trials that the decoder reads, those with assumed values among them.
        """
        trials = self.further.join(history)
        measured, y = _measurements(trials)
        gaps = squared_gaps(trials.points, trials.points).double()
        covariance = covariances(gaps, self.inverse_squared_lengthscales)
        covariance = noisy(covariance, self.noise, measured[:, None])
        both = _both_scales(y, measured, self.warp)
        posterior = self.posterior.condition_on(
            covariance, _by_component(both, self.unwarped), measured[:, None]
        )
        return replace(self, history=history, measured=measured, y=y, posterior=posterior)

    @torch.no_grad()
    def leave_one_out(self) -> GPMixturePrediction:
        """Predict each trial that the decoder reads from all others."""
        both = _both_scales(self.y, self.measured, self.warp)
        y = _by_component(both, self.unwarped)[..., self.further.length :]
        means, stddevs = self.posterior.leave_one_out(y)
        return self._prediction(means, stddevs, means.new_ones(self.length))

    def _prediction(self, means: Tensor, stddevs: Tensor, visible: Tensor) -> GPMixturePrediction:
        return GPMixturePrediction(
            means, stddevs, self.weights, self.unwarped, self.warp, visible.float()
        )


@dataclass(frozen=True)
class GPMixturePrediction:
    """Predicted metrics of N points a study.

    Attributes:
        means: Mean of each component, unwarped where the component is, float64, (B, K, N).
        stddevs: Standard deviation of each component, on the scale of its mean, (B, K, N).
        weights: Posterior probability of each component, (B, K).
        unwarped: Which components model unwarped values, bool, (B, K).
        warp: Warp of the scale.
        visible: 1 for points that may see all trials, 0 for others, float32, (N,).
    """

    means: Tensor
    stddevs: Tensor
    weights: Tensor
    unwarped: Tensor
    warp: OutcomeWarp
    visible: Tensor

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the scaled metric, float32, each (B, N).

        An unwarped component contributes what its mean, and one deviation on each side, warp to.
        """
        low, middle, high = (self._scaled(self.means + side * self.stddevs) for side in (-1, 0, 1))
        weights = self.weights[..., None]
        mean = (weights * middle).sum(1)
        squares = weights * (((high - low) / 2).square() + (middle - mean[:, None]).square())
        return mean.float(), squares.sum(1).sqrt().float()

    def _scaled(self, values: Tensor) -> Tensor:
        """Values of components, (B, K, N), on the objective's scale."""
        warped = self.warp.warp(values.flatten(1)).view_as(values)
        return torch.where(self.unwarped[..., None], warped, values)

    def log_density(self, bins: int) -> Tensor:
        """Logarithm of the density at the centers of Q bins, but for a constant, (B, N, Q)."""
        centers = bin_centers(bins, self.means.device)[None]
        unwarped, log_slope = self.warp.unwarp(centers), self.warp.log_slope(centers)  # (B, Q)
        # No narrower than half a bin, at the mean.
        steepness = self.warp.log_slope(self._scaled(self.means).flatten(1)).view_as(self.means)
        narrowest = torch.where(self.unwarped[..., None], steepness.exp(), 1.0) * 0.5 / bins
        stddevs = self.stddevs.maximum(narrowest)
        density = self.visible.new_zeros(*self.means[:, 0].shape, bins)
        for k in range(self.weights.shape[1]):
            weight, is_unwarped = self.weights[:, k, None], self.unwarped[:, k, None]
            if not (weight > _NEGLIGIBLE).any():
                continue
            stddev = stddevs[:, k].float()[..., None]  # (B, N, 1)
            position = torch.where(is_unwarped, unwarped, centers).float()[:, None]  # (B, 1, Q)
            height = weight * torch.where(is_unwarped, log_slope.exp(), 1.0)
            apart = (position - self.means[:, k].float()[..., None]) / stddev
            height = (height / math.sqrt(2 * math.pi)).float()[:, None]
            density += apart.square_().mul_(-0.5).exp_().mul_(height).div_(stddev)
        return density.mul_(1 - _FLAT).add_(_FLAT).log_()


@torch.no_grad()
def fit_gp_mixture(
    history: HistoryTensors,
    further: HistoryTensors | None = None,
    warp: OutcomeWarp | None = None,
) -> GPMixture:
    """Fit the mixture to the measured trials of each study; without any it is the prior.

    Args:
        history: The trials that the decoder reads, too. The hyperparameters are fitted to them.
        further: More trials of a long history, on which the processes are conditioned, too.
        warp: Warp of the scale, where these trials are a part of those that it was fitted to.
    """
    further = history.first(0) if further is None else further
    measured, y = _measurements(history)
    warp = OutcomeWarp.fit(y, measured) if warp is None else warp
    both = _both_scales(y, measured, warp)
    # Change of variables: likelihoods of unwarped values, as densities of scaled ones.
    log_jacobian = (warp.log_slope(y) * measured).sum(-1)
    gaps = squared_gaps(history.points, history.points).double()  # (B, T, T, P)
    parameters = gaps.shape[-1]

    log_posterior = grid_log_posterior(gaps, both, measured)  # (B, 2, G)
    log_posterior[:, 1] += log_jacobian[:, None]
    top, index = log_posterior.flatten(1).topk(FROM_GRID, -1)
    unwarped = index >= len(GRID)
    common, noise = grid_points(index % len(GRID), parameters)  # (B, 4)
    best_unwarped = unwarped[:, :1]
    own, own_noise, own_log_posterior = fit_lengthscales(
        gaps, index[:, :1] % len(GRID), _by_component(both, best_unwarped)[:, 0], measured
    )
    own_log_posterior = own_log_posterior + log_jacobian[:, None] * best_unwarped

    unwarped = torch.cat([unwarped, best_unwarped], 1)
    inverse_squared = torch.cat(
        [common[..., None].expand(-1, -1, parameters), own[:, None]], 1
    )  # (B, K, P)
    noise = torch.cat([noise, own_noise], 1)[..., None]
    weights = torch.cat([top, own_log_posterior], 1).softmax(-1)
    if further.length:  # the cost counts: only what weighs anything
        weighs = (weights > _NEGLIGIBLE).any(0)
        unwarped, weights = unwarped[:, weighs], weights[:, weighs]
        inverse_squared, noise = inverse_squared[:, weighs], noise[:, weighs]
        trials = further.join(history)
        measured, y = _measurements(trials)
        gaps = squared_gaps(trials.points, trials.points).double()
        both = _both_scales(y, measured, warp)
    covariance = noisy(covariances(gaps, inverse_squared), noise, measured[:, None])
    posterior = Posterior.fit(covariance, _by_component(both, unwarped), measured[:, None])
    return GPMixture(
        history,
        further,
        measured,
        y,
        warp,
        unwarped,
        inverse_squared,
        noise,
        weights,
        posterior,
    )


def _measurements(history: HistoryTensors) -> tuple[Tensor, Tensor]:
    """Which trials have a value, and the values, 0 for others, each (B, T)."""
    measured = history.metric_kinds == MetricKind.VALUE
    return measured, history.metric.double() * measured


def _both_scales(y: Tensor, measured: Tensor, warp: OutcomeWarp) -> Tensor:
    """Scaled values, and unwarped ones, (B, 2, T)."""
    return torch.stack([y, warp.unwarp(y) * measured], 1)


def _by_component(both: Tensor, unwarped: Tensor) -> Tensor:
    """Values that each component models, (B, K, T), of those on both scales, (B, 2, T)."""
    return torch.where(unwarped[..., None], both[:, 1:], both[:, :1])
