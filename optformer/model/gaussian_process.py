"""Gaussian processes over the trials of a study: one kernel, its posterior, its hyperparameters.

The kernel is Matern 5/2, either with one length scale for all parameters, from a small grid, or
with one for each of them, after some steps along the gradient of their posterior (Snoek et al.
2012). Values are on the unit interval, or near it. Nothing here is learned, and no gradient passes
through.

Shapes use the letters of `optformer.model.tensors`, and G points of the grid; all is float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor

from optformer.data.methods.gaussian_process import matern52_at
from optformer.model.tensors import PointTensors
from optformer.tokenization.history import ValueKind

LENGTH_SCALES = (0.15, 0.3, 0.6, 1.2, 2.4)  # of the grid, times the square root of P / 2
NOISES = (1e-4, 3e-3, 1e-1)  # variances of the grid, relative to the signal's
GRID = tuple(product(LENGTH_SCALES, NOISES))
STEPS = 6  # along the gradient
RATE = 0.7  # size of the first step, of a hyperparameter's logarithm

# Prior distributions of logarithms, as mean and deviation; the kernel's weights are inverse squared
# length scales, which are near each other.
_COMMON_SCALE, _COMMON_DEVIATION = 0.6, 1.2  # length scale times the square root of P / 2
_WEIGHT_DEVIATION = 0.7
_NOISE, _NOISE_DEVIATION = 2e-3, 2.0
_WEIGHT_RANGE, _NOISE_RANGE = (1e-4, 4e2), (2e-5, 1.0)
# Of the values: their mean, and deviation, and how many trials each counts for.
_MEAN, _MEAN_COUNT = 0.45, 0.1
_DEVIATION, _DEVIATION_COUNT = 0.15, 2.0
_FREEDOM = 0.4  # nats that a length scale of its own costs a fit: it was sought, not averaged over


@dataclass(frozen=True)
class Posterior:
    """What trials say under given hyperparameters; leading dimensions are any.

    Attributes:
        factor: Lower Cholesky factor of the trials' covariance, the signal's variance being 1.
        solved: Inverse of that covariance times the residuals, (..., T).
        mean: Constant mean, (..., 1).
        variance: Variance of the signal, (..., 1).
        evidence: Logarithm of the marginal likelihood, but for a constant, (..., 1).
    """

    factor: Tensor
    solved: Tensor
    mean: Tensor
    variance: Tensor
    evidence: Tensor

    @staticmethod
    def of(covariance: Tensor, values: Tensor, known: Tensor) -> Posterior:
        """The posterior under a covariance; mean and variance are at their modes.

        Args:
            covariance: Of measurements, see `noisy`, (..., T, T).
            values: What was measured, 0 where nothing was, (..., T).
            known: Where something was, bool, (..., T).
        """
        factor = torch.linalg.cholesky(covariance)
        ones = known.double().expand_as(values)
        both = torch.cholesky_solve(torch.stack([values, ones], -1), factor)
        of_values, of_ones = both.unbind(-1)
        total = (of_values * ones).sum(-1, keepdim=True) + _MEAN_COUNT * _MEAN
        mean = total / ((of_ones * ones).sum(-1, keepdim=True) + _MEAN_COUNT)
        solved = (of_values - mean * of_ones) * ones
        count = ones.sum(-1, keepdim=True) + _DEVIATION_COUNT
        squares = ((values - mean) * solved).sum(-1, keepdim=True)
        variance = (squares + _DEVIATION_COUNT * _DEVIATION**2) / count
        halves = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1, keepdim=True)
        return Posterior(factor, solved, mean, variance, -0.5 * count * variance.log() - halves)

    def told(self, covariance: Tensor, values: Tensor, known: Tensor) -> Posterior:
        """The posterior of more trials under the same mean and variance; arguments as in `of`.

        The evidence stays that of the trials that mean and variance were fitted to.
        """
        factor = torch.linalg.cholesky(covariance)
        ones = known.double().expand_as(values)
        residual = ((values - self.mean) * ones)[..., None]
        solved = torch.cholesky_solve(residual, factor)[..., 0] * ones
        return replace(self, factor=factor, solved=solved)

    def predict(self, cross: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of measurements, each (..., N).

        Args:
            cross: Covariance of N points with the trials, 0 for those without a value,
                (..., N, T).
            noise: Noise variance relative to the signal's, (..., 1).
        """
        white = torch.linalg.solve_triangular(self.factor, cross.mT, upper=False)  # (..., T, N)
        mean = self.mean + (cross @ self.solved[..., None])[..., 0]
        relative = (1 - white.square().sum(-2)).clamp(min=1e-8) + noise
        return mean, (self.variance * relative).sqrt()

    def left_out(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each trial, predicted from all others, each (..., T)."""
        precision = torch.cholesky_inverse(self.factor).diagonal(dim1=-2, dim2=-1)
        return values - self.solved / precision, (self.variance / precision).sqrt()

    def sensitivity(self) -> Tensor:
        """Derivative of the evidence by each entry of the covariance, (..., T, T)."""
        outer = self.solved[..., :, None] * self.solved[..., None, :] / self.variance[..., None]
        return 0.5 * (outer - torch.cholesky_inverse(self.factor))


def squared_gaps(first: PointTensors, second: PointTensors) -> Tensor:
    """Squared distances by parameter, each in [0, 1], float32, (B, N, M, P).

    Numbers differ by their distance and choices by 1. A number that takes no part is half a unit
    away from the middle of those that do. All are distances of a Euclidean space, as a covariance
    needs.
    """
    gap = _middle(first)[:, :, None] - _middle(second)[:, None]
    active = (first.kinds == ValueKind.NUMBER)[:, :, None] ^ (second.kinds == ValueKind.NUMBER)[
        :, None
    ]
    chosen = _choice(first)[:, :, None] != _choice(second)[:, None]
    return (gap.square() + 0.25 * active).where(~chosen, 1.0)


def _middle(points: PointTensors) -> Tensor:
    """Numbers, and the middle for what is none."""
    return points.values.where(points.kinds == ValueKind.NUMBER, 0.5)


def _choice(points: PointTensors) -> Tensor:
    """Index of each choice, -1 for what is none."""
    return points.values.where(points.kinds == ValueKind.CHOICE, -1.0)


def covariances(gaps: Tensor, weights: Tensor) -> Tensor:
    """Covariance of functions of unit variance under K weightings of the parameters.

    Args:
        gaps: Squared distances by parameter, (B, N, M, P).
        weights: Inverse squared length scales, (B, K, P).

    Returns:
        (B, K, N, M).
    """
    return _matern52(_weighted(gaps, weights))


def noisy(covariance: Tensor, noise: Tensor, known: Tensor) -> Tensor:
    """A covariance of measurements, (..., T, T); trials without one are independent of all others.

    Args:
        covariance: Of the function, (..., T, T).
        noise: Noise variance, (..., 1).
        known: Which trials were measured, bool, (..., T).
    """
    covariance = covariance * (known[..., :, None] & known[..., None, :])
    return covariance + torch.diag_embed(noise.where(known, 1.0))


def grid_log_posterior(gaps: Tensor, values: Tensor, known: Tensor) -> Tensor:
    """Logarithm of the posterior of each point of the grid, but for a constant, (B, V, G).

    Args:
        gaps: Squared distances of the trials by parameter, (B, T, T, P).
        values: V versions of what was measured, (B, V, T).
        known: Which trials were measured, bool, (B, T).
    """
    total, parameters = gaps.sum(-1), gaps.shape[-1]
    noise = values.new_tensor(NOISES)[:, None]  # (N, 1)
    known = known[:, None]
    found = []
    for scale in LENGTH_SCALES:
        weight = _common_weight(scale, parameters)
        covariance = noisy(_matern52(weight * total)[:, None], noise, known)  # (B, N, T, T)
        fitted = Posterior.of(covariance[:, :, None], values[:, None], known[:, None])
        fitness = fitted.evidence[..., 0] + _log_prior(scale, noise)  # (B, N, V)
        found.append(fitness.mT)
    return torch.cat(found, -1)


def grid_points(index: Tensor, parameters: int) -> tuple[Tensor, Tensor]:
    """Weight of all P parameters, and noise, of points of the grid, each shaped as `index`."""
    weights = [_common_weight(scale, parameters) for scale, _ in GRID]
    noises = [noise for _, noise in GRID]
    table = torch.tensor([weights, noises], dtype=torch.float64, device=index.device)
    weight, noise = table[:, index]
    return weight, noise


def climb(
    gaps: Tensor, start: Tensor, values: Tensor, known: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Some steps up the posterior, from a point of the grid, with a weight for each parameter.

    The steps are Adam's (Kingma and Ba 2015), with short memories, on the logarithms.

    Args:
        gaps: Squared distances of the trials by parameter, (B, T, T, P).
        start: Index of the point of the grid, (B, 1).
        values: What was measured, (B, T).
        known: Which trials were measured, bool, (B, T).

    Returns:
        Weights, (B, P), and noise, (B, 1); and their fitness beside that of the grid, (B, 1).
    """
    parameters = gaps.shape[-1]
    weight, noise = grid_points(start, parameters)
    place = torch.cat([weight.expand(-1, parameters), noise], 1).log()
    usual = torch.cat([place[:, :-1], torch.full_like(noise, math.log(_NOISE))], 1)
    deviation = torch.full_like(place, _WEIGHT_DEVIATION)
    deviation[:, -1] = _NOISE_DEVIATION
    low, high = (
        torch.tensor([weights] * parameters + [noises]).log().to(place)
        for weights, noises in zip(_WEIGHT_RANGE, _NOISE_RANGE, strict=True)
    )

    def fitted(squared: Tensor) -> Posterior:
        return Posterior.of(noisy(_matern52(squared), place[:, -1:].exp(), known), values, known)

    def squared_at(place: Tensor) -> Tensor:
        return _weighted(gaps, place[:, None, :-1].exp())[:, 0]  # (B, T, T)

    first, second = torch.zeros_like(place), torch.zeros_like(place)
    for step in range(STEPS):
        squared = squared_at(place)
        sensitivity = fitted(squared).sensitivity()
        by_distance = (sensitivity * _matern52_slope(squared)).flatten(1)[:, None]
        by_weight = (by_distance @ gaps.flatten(1, 2))[:, 0]
        by_noise = (sensitivity.diagonal(dim1=-2, dim2=-1) * known).sum(-1, keepdim=True)
        gradient = torch.cat([by_weight, by_noise], 1) * place.exp()
        gradient = gradient - (place - usual) / deviation.square()
        first = torch.lerp(first, gradient, 0.3)
        second = torch.lerp(second, gradient.square(), 0.2)
        size = (second / (1 - 0.8 ** (step + 1))).sqrt() + 0.3
        move = first / (1 - 0.7 ** (step + 1)) / size
        place = (place + RATE * (1 - step / STEPS) * move).clamp(low, high)
    evidence = fitted(squared_at(place)).evidence
    common = (weight * parameters / 2).rsqrt()
    apart = ((place - usual) / deviation)[:, :-1].square().sum(-1, keepdim=True)
    noise = place[:, -1:].exp()
    fitness = evidence + _log_prior(common, noise) - 0.5 * apart - _FREEDOM * parameters
    return place[:, :-1].exp(), noise, fitness


def _common_weight(scale: float, parameters: int) -> float:
    return 2 / (parameters * scale**2)


def _log_prior(scale: Tensor | float, noise: Tensor) -> Tensor:
    """Of a common length scale, times the square root of P / 2, and a noise."""
    scale = torch.as_tensor(scale).to(noise)
    of_scale = 2 * (scale / _COMMON_SCALE).log() / _COMMON_DEVIATION
    of_noise = (noise / _NOISE).log() / _NOISE_DEVIATION
    return -0.5 * (of_scale.square() + of_noise.square())


def _weighted(gaps: Tensor, weights: Tensor) -> Tensor:
    """Squared distances under K weightings, (B, K, N, M)."""
    squared = weights @ gaps.flatten(1, 2).mT  # (B, K, N * M)
    return squared.reshape(*squared.shape[:2], *gaps.shape[1:3])


def _matern52(squared: Tensor) -> Tensor:
    """Matern-5/2 covariance at squared distances."""
    return matern52_at(squared.sqrt(), 1.0)


def _matern52_slope(squared: Tensor) -> Tensor:
    """Its derivative by the squared distance."""
    scaled = (5 * squared).sqrt()
    return -5 / 6 * (1 + scaled) * torch.exp(-scaled)
