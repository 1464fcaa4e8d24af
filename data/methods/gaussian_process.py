"""A vectorised Gaussian process with its acquisition functions, for bulk histories.

One process a study, hyperparameters chosen from a small grid by marginal likelihood (Snoek et al.
2012 in purpose; the grid replaces the optimizer so that hundreds of studies advance together).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LENGTH_SCALES = (0.1, 0.2, 0.4, 0.8, 1.6)  # times the square root of the number of parameters / 2
NOISES = (1e-4, 1e-2, 1e-1)  # variances, relative to the values' variance
BOUND = 2.0  # deviations above the mean that an upper confidence bound lies


def matern52(first: Tensor, second: Tensor, length_scale: Tensor) -> Tensor:
    """Matern-5/2 covariance of unit variance.

    Args:
        first: Points, (..., N, E).
        second: Points, (..., M, E).
        length_scale: Broadcast against (..., N, M).

    Returns:
        (..., N, M).
    """
    return matern52_at(_distances(first, second), length_scale)


def fit(place: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Length scale and noise of the highest marginal likelihood on the grid.

    Args:
        place: Points, float64, (B, T, E).
        values: Standardized values, float64, (B, T).

    Returns:
        Length scale and noise variance, each (B, 1, 1).
    """
    stretch = math.sqrt(place.shape[-1] / 2)
    scales = torch.tensor(LENGTH_SCALES).to(place) * stretch
    noises = torch.tensor(NOISES).to(place)
    grid_scale = scales.repeat_interleave(len(NOISES))  # (G,)
    grid_noise = noises.repeat(len(LENGTH_SCALES))
    distances = _distances(place, place)[:, None]  # (B, 1, T, T)
    covariance = matern52_at(distances, scales[:, None, None])
    covariance = covariance.repeat_interleave(len(NOISES), 1)  # (B, G, T, T)
    covariance.diagonal(dim1=-2, dim2=-1).add_(grid_noise[:, None])
    factor = torch.linalg.cholesky(covariance)
    white = torch.linalg.solve_triangular(
        factor, values[:, None, :, None].expand(-1, len(grid_scale), -1, -1), upper=False
    )
    fitness = -0.5 * white.square().sum((-1, -2)) - factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    best = fitness.argmax(-1)
    return grid_scale[best][:, None, None], grid_noise[best][:, None, None]


def expected_improvement(
    place: Tensor, values: Tensor, candidates: Tensor, length_scale: Tensor, noise: Tensor
) -> Tensor:
    """Expected improvement over the best value, (B, N); arguments as for `posterior`."""
    mean, deviation = posterior(place, values, candidates, length_scale, noise)
    return gaussian_improvement(mean, deviation, values.amax(-1, keepdim=True))


def upper_bound(
    place: Tensor, values: Tensor, candidates: Tensor, length_scale: Tensor, noise: Tensor
) -> Tensor:
    """Upper confidence bound, (B, N); arguments as for `posterior` (Srinivas et al. 2010)."""
    mean, deviation = posterior(place, values, candidates, length_scale, noise)
    return mean + BOUND * deviation


ACQUISITIONS = {"ei": expected_improvement, "ucb": upper_bound}
"""Scores of candidates, larger is better."""


def posterior(
    place: Tensor, values: Tensor, candidates: Tensor, length_scale: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """What the process expects at candidates, without noise.

    Args:
        place: Points tried, (B, T, E).
        values: Their standardized values, larger is better, (B, T).
        candidates: Points to rank, (B, N, E).
        length_scale: (B, 1, 1).
        noise: Noise variance, (B, 1, 1).

    Returns:
        Mean and standard deviation, each (B, N).
    """
    covariance = matern52(place, place, length_scale)
    covariance.diagonal(dim1=-2, dim2=-1).add_(noise[..., 0])
    factor = torch.linalg.cholesky(covariance)
    cross = matern52(place, candidates, length_scale)
    white = torch.linalg.solve_triangular(
        factor, torch.cat([cross, values[..., None]], -1), upper=False
    )
    mean = (white[..., :-1] * white[..., -1:]).sum(-2)
    return mean, (1 - white[..., :-1].square().sum(-2)).clamp(min=1e-10).sqrt()


def gaussian_improvement(mean: Tensor, deviation: Tensor, best: Tensor) -> Tensor:
    """Expected improvement of normal variables over a value (Jones 1998).

    Args:
        mean: Means, (B, N).
        deviation: Standard deviations above 0, (B, N).
        best: Value to improve on, (B, 1).

    Returns:
        (B, N).
    """
    gap = (mean - best) / deviation
    density = torch.exp(-0.5 * gap.square()) / math.sqrt(2 * math.pi)
    improvement: Tensor = deviation * (gap * torch.special.ndtr(gap) + density)
    return improvement


def _distances(first: Tensor, second: Tensor) -> Tensor:
    """Euclidean distances, (..., N, M)."""
    exact = "donot_use_mm_for_euclid_dist"  # the fast way loses near points' distances
    return torch.cdist(first, second, compute_mode=exact)


def matern52_at(distance: Tensor, length_scale: Tensor | float) -> Tensor:
    """Matern-5/2 covariance of unit variance at distances; in place where it can be, for speed."""
    scaled = distance * (math.sqrt(5) / length_scale)
    polynomial = torch.addcmul(scaled + 1, scaled, scaled, value=1 / 3)
    return polynomial.mul_(scaled.neg_().exp_())
