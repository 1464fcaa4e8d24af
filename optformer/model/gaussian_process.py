"""A Gaussian process over the trials of a study: kernel, posterior, hyperparameters.

The kernel is Matern 5/2. Its length scales are one for all parameters, from a small grid, or one
for each parameter, after some steps along the gradient of their posterior (Snoek et al. 2012,
"Practical Bayesian optimization of machine learning algorithms"). Nothing here is learned, and no
gradient passes through.

Shapes use the letters of `optformer.model.tensors`, K kernels, and G points of the grid; all is
float64. `y` is a scaled metric, or an unwarped one (`optformer.model.gp_mixture`).
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

# The grid. It is coarse, since several of its points answer together and `fit_lengthscales` refines
# the best of them.
LENGTHSCALES = (0.15, 0.3, 0.6, 1.2, 2.4)  # times sqrt(P / 2): distances grow with sqrt(P)
NOISES = (1e-4, 3e-3, 1e-1)  # variances, relative to the signal's
GRID = tuple(product(LENGTHSCALES, NOISES))

# Adam (Kingma and Ba 2015) on the logarithms of the hyperparameters. With so few steps its averages
# must be short, and its first step large.
ADAM_STEPS = 6
ADAM_STEP_SIZE = 0.7  # of the first step; falls to 0 in a line
ADAM_GRADIENT_SHARE = 0.3  # of the new gradient in the average, 1 - beta1
ADAM_SQUARE_SHARE = 0.2  # of the new squared gradient, 1 - beta2
ADAM_EPSILON = 0.3  # nats: a hyperparameter that changes the posterior by less hardly moves

# Log-normal priors: medians, and deviations of the logarithms. Those of length scales are of the
# inverse squares: one deviation is a factor of 1.8 for the common length scale, and of 1.4 for each
# parameter's beside it.
_LENGTHSCALE, _COMMON_DEVIATION = 0.6, 1.2  # times sqrt(P / 2)
_OWN_DEVIATION = 0.7
_NOISE, _NOISE_DEVIATION = 2e-3, 2.0
# Length scales of .05 to 100: below, trials are alone; above, the parameter has no effect. The
# least noise keeps covariances positive definite in float64.
_INVERSE_SQUARED_RANGE, _NOISE_RANGE = (1e-4, 4e2), (2e-5, 1.0)
# Prior of the constant mean and of the signal's deviation, and how many trials each counts for.
# Many trials fill .1 to .8 of the scale (`ObjectiveScale`), whose middle is .45.
_MEAN, _MEAN_COUNT = 0.45, 0.1
_DEVIATION, _DEVIATION_COUNT = 0.15, 2.0
_FREEDOM = 0.4  # nats that each length scale of its own costs: it was fitted, not averaged over
_LEAST_VARIANCE = 1e-8  # of a prediction, relative to the signal's: round-off may go below 0


@dataclass(frozen=True)
class Posterior:
    """A process conditioned on trials, under given hyperparameters; leading dimensions are any.

    Attributes:
        factor: Lower Cholesky factor of the trials' covariance at signal variance 1, (..., T, T).
        solved: Inverse of that covariance times the residuals, (..., T).
        mean: Constant mean, (..., 1).
        variance: Variance of the signal, (..., 1).
        log_marginal_likelihood: But for a constant, (..., 1).
    """

    factor: Tensor
    solved: Tensor
    mean: Tensor
    variance: Tensor
    log_marginal_likelihood: Tensor

    @staticmethod
    def fit(covariance: Tensor, y: Tensor, measured: Tensor) -> Posterior:
        """Condition on trials, with mean and variance at their posterior modes.

        Args:
            covariance: Covariance of measurements, see `noisy`, (..., T, T).
            y: Measurements, 0 where there is none, (..., T).
            measured: Which trials were measured, bool, (..., T).
        """
        factor = torch.linalg.cholesky(covariance)
        ones = measured.double().expand_as(y)
        both = torch.cholesky_solve(torch.stack([y, ones], -1), factor)
        solved_y, solved_ones = both.unbind(-1)
        total = (solved_y * ones).sum(-1, keepdim=True) + _MEAN_COUNT * _MEAN
        mean = total / ((solved_ones * ones).sum(-1, keepdim=True) + _MEAN_COUNT)
        solved = (solved_y - mean * solved_ones) * ones
        count = ones.sum(-1, keepdim=True) + _DEVIATION_COUNT
        squares = ((y - mean) * solved).sum(-1, keepdim=True)
        variance = (squares + _DEVIATION_COUNT * _DEVIATION**2) / count
        half_log_det = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1, keepdim=True)
        return Posterior(
            factor, solved, mean, variance, -0.5 * count * variance.log() - half_log_det
        )

    def condition_on(self, covariance: Tensor, y: Tensor, measured: Tensor) -> Posterior:
        """Condition on other trials without refitting mean and variance; arguments as in `fit`.

        The marginal likelihood stays that of the trials that mean and variance were fitted to.
        """
        factor = torch.linalg.cholesky(covariance)
        ones = measured.double().expand_as(y)
        residual = ((y - self.mean) * ones)[..., None]
        solved = torch.cholesky_solve(residual, factor)[..., 0] * ones
        return replace(self, factor=factor, solved=solved)

    def predict(self, cross: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of measurements, each (..., N).

        Args:
            cross: Covariance of N points with the trials, 0 for trials that were not measured,
                (..., N, T).
            noise: Noise variance relative to the signal's, (..., 1).
        """
        whitened = torch.linalg.solve_triangular(self.factor, cross.mT, upper=False)  # (..., T, N)
        mean = self.mean + (cross @ self.solved[..., None])[..., 0]
        relative = (1 - whitened.square().sum(-2)).clamp(min=_LEAST_VARIANCE) + noise
        return mean, (self.variance * relative).sqrt()

    def leave_one_out(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of trials, each predicted from all others, each (..., N).

        Args:
            y: Measurements of the last N trials, (..., N).
        """
        last = slice(self.factor.shape[-1] - y.shape[-1], None)
        # Of an inverse, the last block follows from the last block of the factor.
        precision = torch.cholesky_inverse(self.factor[..., last, last]).diagonal(dim1=-2, dim2=-1)
        return y - self.solved[..., last] / precision, (self.variance / precision).sqrt()

    def likelihood_gradient(self) -> Tensor:
        """Derivative of the log marginal likelihood by the covariance's entries, (..., T, T)."""
        outer = self.solved[..., :, None] * self.solved[..., None, :] / self.variance[..., None]
        return 0.5 * (outer - torch.cholesky_inverse(self.factor))


def squared_gaps(first: PointTensors, second: PointTensors) -> Tensor:
    """Squared distances by parameter, each in [0, 1], float32, (B, N, M, P).

    Numbers differ by their distance and choices by 1. A number that takes no part is half a unit
    away from the middle of those that do. All are distances of a Euclidean space, as a covariance
    needs.
    """
    gaps = (_middle(first)[:, :, None] - _middle(second)[:, None]).square_()
    one_inactive = (first.kinds == ValueKind.NUMBER)[:, :, None] ^ (
        second.kinds == ValueKind.NUMBER
    )[:, None]
    differ = _choice(first)[:, :, None] != _choice(second)[:, None]
    return gaps.add_(one_inactive, alpha=0.25).masked_fill_(differ, 1.0)  # in place: it is large


def _middle(points: PointTensors) -> Tensor:
    """Numbers, and the middle for what is none."""
    return points.values.where(points.kinds == ValueKind.NUMBER, 0.5)


def _choice(points: PointTensors) -> Tensor:
    """Index of each choice, -1 for what is none."""
    return points.values.where(points.kinds == ValueKind.CHOICE, -1.0)


def covariances(gaps: Tensor, inverse_squared_lengthscales: Tensor) -> Tensor:
    """Covariance of functions of unit variance under K kernels.

    Args:
        gaps: Squared distances by parameter, (B, N, M, P).
        inverse_squared_lengthscales: (B, K, P).

    Returns:
        (B, K, N, M).
    """
    return _matern52(_squared_distances(gaps, inverse_squared_lengthscales))


def noisy(covariance: Tensor, noise: Tensor, measured: Tensor) -> Tensor:
    """Covariance of measurements; trials that were not measured are independent of all others.

    Args:
        covariance: Covariance of the function at the trials, (..., T, T).
        noise: Noise variance, (..., 1).
        measured: Which trials were measured, bool, (..., T).

    Returns:
        (..., T, T).
    """
    covariance = covariance * (measured[..., :, None] & measured[..., None, :])
    return covariance + torch.diag_embed(noise.where(measured, 1.0))


def grid_log_posterior(gaps: Tensor, y: Tensor, measured: Tensor) -> Tensor:
    """Logarithm of the posterior of each point of the grid, but for a constant, (B, V, G).

    Args:
        gaps: Squared distances of the trials by parameter, (B, T, T, P).
        y: V versions of the measurements, (B, V, T).
        measured: Which trials were measured, bool, (B, T).
    """
    total, parameters = gaps.sum(-1), gaps.shape[-1]
    noise = y.new_tensor(NOISES)[:, None]  # (N, 1)
    measured = measured[:, None]
    columns = []
    for lengthscale in LENGTHSCALES:
        inverse_squared = _inverse_squared(lengthscale, parameters)
        covariance = noisy(_matern52(inverse_squared * total)[:, None], noise, measured)
        fitted = Posterior.fit(covariance[:, :, None], y[:, None], measured[:, None])
        likelihood = fitted.log_marginal_likelihood[..., 0]  # (B, N, V)
        columns.append((likelihood + _log_prior(lengthscale, noise)).mT)
    return torch.cat(columns, -1)


def grid_points(index: Tensor, parameters: int) -> tuple[Tensor, Tensor]:
    """Hyperparameters of points of the grid, each shaped as `index`.

    Args:
        index: Places in `GRID`, int64.
        parameters: Number of parameters P.

    Returns:
        Inverse squared length scale of all parameters, and noise.
    """
    inverse_squared = [_inverse_squared(lengthscale, parameters) for lengthscale, _ in GRID]
    noises = [noise for _, noise in GRID]
    table = torch.tensor([inverse_squared, noises], dtype=torch.float64, device=index.device)
    at_index, noise = table[:, index]
    return at_index, noise


def fit_lengthscales(
    gaps: Tensor, start: Tensor, y: Tensor, measured: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Fit a length scale for each parameter, and the noise, from a point of the grid.

    Some steps of Adam up the logarithm of the posterior.

    Args:
        gaps: Squared distances of the trials by parameter, (B, T, T, P).
        start: Index of the point of the grid, (B, 1).
        y: Measurements, (B, T).
        measured: Which trials were measured, bool, (B, T).

    Returns:
        Inverse squared length scales, (B, P), noise, (B, 1), and the logarithm of their posterior,
        (B, 1), comparable with `grid_log_posterior`.
    """
    parameters = gaps.shape[-1]
    common, noise = grid_points(start, parameters)
    point = torch.cat([common.expand(-1, parameters), noise], 1).log()  # (B, P + 1)
    prior_mean = torch.cat([point[:, :-1], torch.full_like(noise, math.log(_NOISE))], 1)
    prior_deviation = torch.full_like(point, _OWN_DEVIATION)
    prior_deviation[:, -1] = _NOISE_DEVIATION
    low, high = (
        torch.tensor([end] * parameters + [noise_end]).log().to(point)
        for end, noise_end in zip(_INVERSE_SQUARED_RANGE, _NOISE_RANGE, strict=True)
    )

    def fit_at(point: Tensor) -> tuple[Posterior, Tensor]:
        squared = _squared_distances(gaps, point[:, None, :-1].exp())[:, 0]  # (B, T, T)
        covariance = noisy(_matern52(squared), point[:, -1:].exp(), measured)
        return Posterior.fit(covariance, y, measured), squared

    first, second = torch.zeros_like(point), torch.zeros_like(point)
    for step in range(ADAM_STEPS):
        posterior, squared = fit_at(point)
        by_covariance = posterior.likelihood_gradient()
        by_squared = (by_covariance * _matern52_slope(squared)).flatten(1)[:, None]
        by_inverse_squared = (by_squared @ gaps.flatten(1, 2))[:, 0]
        by_noise = (by_covariance.diagonal(dim1=-2, dim2=-1) * measured).sum(-1, keepdim=True)
        gradient = torch.cat([by_inverse_squared, by_noise], 1) * point.exp()
        gradient = gradient - (point - prior_mean) / prior_deviation.square()
        first = torch.lerp(first, gradient, ADAM_GRADIENT_SHARE)
        second = torch.lerp(second, gradient.square(), ADAM_SQUARE_SHARE)
        scale = (second / (1 - (1 - ADAM_SQUARE_SHARE) ** (step + 1))).sqrt() + ADAM_EPSILON
        move = first / (1 - (1 - ADAM_GRADIENT_SHARE) ** (step + 1)) / scale
        rate = ADAM_STEP_SIZE * (1 - step / ADAM_STEPS)
        point = (point + rate * move).clamp(low, high)
    likelihood = fit_at(point)[0].log_marginal_likelihood
    common_lengthscale = (common * parameters / 2).rsqrt()
    apart = ((point - prior_mean) / prior_deviation)[:, :-1].square().sum(-1, keepdim=True)
    noise = point[:, -1:].exp()
    log_prior = _log_prior(common_lengthscale, noise)
    log_posterior = likelihood + log_prior - 0.5 * apart - _FREEDOM * parameters
    return point[:, :-1].exp(), noise, log_posterior


def _inverse_squared(lengthscale: float, parameters: int) -> float:
    """Inverse square of a length scale of the grid."""
    return 2 / (parameters * lengthscale**2)


def _log_prior(lengthscale: Tensor | float, noise: Tensor) -> Tensor:
    """Log-density, but for a constant, of a length scale of the grid's kind and a noise."""
    lengthscale = torch.as_tensor(lengthscale).to(noise)
    by_lengthscale = 2 * (lengthscale / _LENGTHSCALE).log() / _COMMON_DEVIATION
    by_noise = (noise / _NOISE).log() / _NOISE_DEVIATION
    return -0.5 * (by_lengthscale.square() + by_noise.square())


def _squared_distances(gaps: Tensor, inverse_squared_lengthscales: Tensor) -> Tensor:
    """Squared distances under K kernels, (B, K, N, M)."""
    squared = inverse_squared_lengthscales @ gaps.flatten(1, 2).mT  # (B, K, N * M)
    return squared.reshape(*squared.shape[:2], *gaps.shape[1:3])


def _matern52(squared: Tensor) -> Tensor:
    """Matern-5/2 covariance at squared distances."""
    return matern52_at(squared.sqrt(), 1.0)


def _matern52_slope(squared: Tensor) -> Tensor:
    """Derivative of `_matern52` by the squared distance."""
    scaled = (5 * squared).sqrt()
    return -5 / 6 * (1 + scaled) * torch.exp(-scaled)
