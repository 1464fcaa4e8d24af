"""A Gaussian process over the trials of a study, which the model consults.

One process a study, all studies of a batch together: a Matern-5/2 kernel with a length scale for
each parameter, all of them and the noise where their posterior is highest (Snoek et al. 2012): the
best of a small grid of common length scales, then some steps along the gradient. It is fitted to
the scaled metrics that the model reads; failed and pending trials say nothing to it. Nothing here
is learned, and no gradient passes through.

Shapes use the letters of `optformer.batch`; everything is float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from optformer.batch import History, Points
from optformer.data.synthetic.gaussian_process import matern52_at
from optformer.tokenization.history import MetricKind, ValueKind

LENGTH_SCALES = (0.15, 0.4, 1.0, 2.5)  # of the grid, times the square root of P / 2
NOISES = (1e-4, 1e-2)  # variances of the grid, relative to the signal's
STEPS = 6  # along the gradient
RATE = 0.7  # size of the first step, of a hyperparameter's logarithm

# Prior distributions of logarithms, as mean and deviation; the kernel's weights are inverse squared
# length scales, which are near each other.
_COMMON_SCALE, _COMMON_DEVIATION = 0.6, 1.2  # length scale times the square root of P / 2
_WEIGHT_DEVIATION = 0.7
_NOISE, _NOISE_DEVIATION = 2e-3, 2.0
_WEIGHT_RANGE, _NOISE_RANGE = (1e-4, 4e2), (2e-5, 1.0)
# Of the scaled metric: values, and how many trials they count for.
_MEAN, _MEAN_COUNT = 0.45, 0.1
_DEVIATION, _DEVIATION_COUNT = 0.15, 2.0


@dataclass(frozen=True)
class GaussianProcess:
    """A process fitted to the trials of each study.

    Attributes:
        points: The trials' points, T a study.
        known: Which trials have a value, bool, (B, T).
        values: Their values, 0 for others, (B, T).
        weights: Weight of each parameter in the squared distance, (B, P).
        noise: Noise variance relative to the signal's, (B, 1).
        posterior: What follows from them.
    """

    points: Points
    known: Tensor
    values: Tensor
    weights: Tensor
    noise: Tensor
    posterior: _Posterior

    @property
    def length(self) -> int:
        """Number of trials T."""
        return self.values.shape[1]

    @torch.no_grad()
    def predict(self, points: Points) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of measurements at N points, noise included, each (B, N)."""
        fitted = self.posterior
        gaps = squared_gaps(points, self.points).double()  # (B, N, T, P)
        cross = _matern52(_weighted(gaps, self.weights)) * self.known[:, None]
        white = torch.linalg.solve_triangular(fitted.factor, cross.mT, upper=False)  # (B, T, N)
        mean = fitted.mean + (cross @ fitted.solved[..., None])[..., 0]
        relative = (1 - white.square().sum(-2)).clamp(min=1e-8) + self.noise
        return mean, (fitted.variance * relative).sqrt()

    @torch.no_grad()
    def left_out(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each trial, predicted from all others, each (B, T)."""
        fitted = self.posterior
        precision = torch.cholesky_inverse(fitted.factor).diagonal(dim1=-2, dim2=-1)
        return self.values - fitted.solved / precision, (fitted.variance / precision).sqrt()


@torch.no_grad()
def fit_process(history: History) -> GaussianProcess:
    """Fit a process to the measured trials of each study; without any it is the prior."""
    known = history.metric_kinds == MetricKind.VALUE
    values = history.metric.double() * known
    gaps = squared_gaps(history.points, history.points).double()  # (B, T, T, P)
    weight, noise = _best_of_grid(gaps.sum(-1), gaps.shape[-1], values, known)
    weights, noise = _climb(gaps, weight, noise, values, known)
    covariance = _noisy(_matern52(_weighted(gaps, weights)), noise, known)
    posterior = _Posterior.of(covariance, values, known)
    return GaussianProcess(history.points, known, values, weights, noise, posterior)


def squared_gaps(first: Points, second: Points) -> Tensor:
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


def _middle(points: Points) -> Tensor:
    """Numbers, and the middle for what is none."""
    return points.values.where(points.kinds == ValueKind.NUMBER, 0.5)


def _choice(points: Points) -> Tensor:
    """Index of each choice, -1 for what is none."""
    return points.values.where(points.kinds == ValueKind.CHOICE, -1.0)


@dataclass(frozen=True)
class _Posterior:
    """What trials say under given hyperparameters.

    Attributes:
        factor: Lower Cholesky factor of the trials' covariance, the signal's variance being 1.
        solved: Inverse of that covariance times the residuals, (B, T).
        mean: Constant mean, (B, 1).
        variance: Variance of the signal, (B, 1).
        evidence: Logarithm of the marginal likelihood, but for a constant, (B, 1).
    """

    factor: Tensor
    solved: Tensor
    mean: Tensor
    variance: Tensor
    evidence: Tensor

    @staticmethod
    def of(covariance: Tensor, values: Tensor, known: Tensor) -> _Posterior:
        """The posterior under a covariance, (B, T, T); mean and variance are at their modes."""
        factor = torch.linalg.cholesky(covariance)
        ones = known.double()
        both = torch.cholesky_solve(torch.stack([values, ones], -1), factor)
        of_values, of_ones = both.unbind(-1)
        total = (of_values * ones).sum(-1, keepdim=True) + _MEAN_COUNT * _MEAN
        mean = total / ((of_ones * ones).sum(-1, keepdim=True) + _MEAN_COUNT)
        solved = (of_values - mean * of_ones) * ones
        count = ones.sum(-1, keepdim=True) + _DEVIATION_COUNT
        squares = ((values - mean) * solved).sum(-1, keepdim=True)
        variance = (squares + _DEVIATION_COUNT * _DEVIATION**2) / count
        halves = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1, keepdim=True)
        return _Posterior(factor, solved, mean, variance, -0.5 * count * variance.log() - halves)

    def sensitivity(self) -> Tensor:
        """Derivative of the evidence by each entry of the covariance, (B, T, T)."""
        outer = self.solved[:, :, None] * self.solved[:, None, :] / self.variance[..., None]
        return 0.5 * (outer - torch.cholesky_inverse(self.factor))


def _best_of_grid(
    total: Tensor, parameters: int, values: Tensor, known: Tensor
) -> tuple[Tensor, Tensor]:
    """Common weight and noise of the highest posterior on the grid, each (B, 1)."""
    stretch = math.sqrt(parameters / 2)
    reached = values.new_full((len(values), 1), -torch.inf)
    best = values.new_ones(len(values), 2)
    for scale in LENGTH_SCALES:
        for noise in NOISES:
            weight = (scale * stretch) ** -2
            here = values.new_tensor([weight, noise]).expand_as(best)
            covariance = _noisy(_matern52(weight * total), here[:, 1:], known)
            evidence = _Posterior.of(covariance, values, known).evidence
            evidence = evidence - 0.5 * (
                (2 * math.log(scale / _COMMON_SCALE) / _COMMON_DEVIATION) ** 2
                + (math.log(noise / _NOISE) / _NOISE_DEVIATION) ** 2
            )
            better = evidence > reached
            reached, best = evidence.where(better, reached), here.where(better, best)
    return best[:, :1], best[:, 1:]


def _climb(
    gaps: Tensor, weight: Tensor, noise: Tensor, values: Tensor, known: Tensor
) -> tuple[Tensor, Tensor]:
    """Weights, (B, P), and noise, (B, 1), after some steps up the posterior from a common weight.

    The steps are Adam's (Kingma and Ba 2015), with short memories, on the logarithms.
    """
    parameters = gaps.shape[-1]
    place = torch.cat([weight.expand(-1, parameters), noise], 1).log()
    usual = torch.cat([place[:, :-1], torch.full_like(noise, math.log(_NOISE))], 1)
    deviation = torch.full_like(place, _WEIGHT_DEVIATION)
    deviation[:, -1] = _NOISE_DEVIATION
    low, high = (
        torch.tensor([weights] * parameters + [noises]).log().to(place)
        for weights, noises in zip(_WEIGHT_RANGE, _NOISE_RANGE, strict=True)
    )
    first, second = torch.zeros_like(place), torch.zeros_like(place)
    for step in range(STEPS):
        weights, noise = place[:, :-1].exp(), place[:, -1:].exp()
        squared = _weighted(gaps, weights)
        covariance = _noisy(_matern52(squared), noise, known)
        sensitivity = _Posterior.of(covariance, values, known).sensitivity()
        by_distance = (sensitivity * _matern52_slope(squared)).flatten(1)[:, None]
        of_weights = (by_distance @ gaps.flatten(1, 2))[:, 0] * weights
        diagonal = sensitivity.diagonal(dim1=-2, dim2=-1) * known
        of_noise = diagonal.sum(-1, keepdim=True) * noise
        gradient = torch.cat([of_weights, of_noise], 1) - (place - usual) / deviation.square()
        first = torch.lerp(first, gradient, 0.3)
        second = torch.lerp(second, gradient.square(), 0.2)
        size = (second / (1 - 0.8 ** (step + 1))).sqrt() + 0.3
        move = first / (1 - 0.7 ** (step + 1)) / size
        place = (place + RATE * (1 - step / STEPS) * move).clamp(low, high)
    return place[:, :-1].exp(), place[:, -1:].exp()


def _weighted(gaps: Tensor, weights: Tensor) -> Tensor:
    """Squared distances in the process's metric, (B, N, M)."""
    squared: Tensor = (gaps @ weights[:, None, :, None])[..., 0]
    return squared


def _noisy(covariance: Tensor, noise: Tensor, known: Tensor) -> Tensor:
    """A covariance of measurements; trials without one are independent of all others."""
    covariance = covariance * (known[:, :, None] & known[:, None, :])
    covariance.diagonal(dim1=-2, dim2=-1).add_(noise.where(known, 1.0))
    return covariance


def _matern52(squared: Tensor) -> Tensor:
    """Matern-5/2 covariance at squared distances."""
    return matern52_at(squared.sqrt(), 1.0)


def _matern52_slope(squared: Tensor) -> Tensor:
    """Its derivative by the squared distance."""
    scaled = (5 * squared).sqrt()
    return -5 / 6 * (1 + scaled) * torch.exp(-scaled)
