"""Fixed Gaussian-process samples with their exact predictive distribution.

Contexts and targets are drawn from the process itself, one trial after another, so the exact
process with its true hyperparameters is the best possible predictor: what it knows is all there is
to know.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from optformer.data.methods.gaussian_process import gaussian_improvement, matern52

CONTEXTS = (24, 36, 48)
ContextKind = Literal["uniform", "gp-ei"]

_LENGTH_SCALES = (0.1, 2.0)
_NOISES = (1e-3, 0.2)  # standard deviations; the process has variance 1
_NEAR = (0.003, 0.1)  # distances of targets from the incumbent
_START = 8  # uniform trials before expected improvement chooses
_UNIFORM_CANDIDATES, _LOCAL_CANDIDATES = 256, 64


@dataclass(frozen=True)
class GPSamples:
    """B studies of T trials and N targets in D dimensions.

    Attributes:
        points: Context, float64, (B, T, D).
        values: Its noisy values, (B, T).
        target_points: (B, N, D).
        target_values: Noisy values, (B, N).
        mean: Exact predictive mean of the targets, (B, N).
        deviation: Exact predictive deviation, noise included, (B, N).
    """

    points: Tensor
    values: Tensor
    target_points: Tensor
    target_values: Tensor
    mean: Tensor
    deviation: Tensor


def draw_samples(
    kind: ContextKind, dimensions: int, context: int, studies: int, targets: int, seed: int
) -> GPSamples:
    """Draw studies from Gaussian processes (RBF and Matern 5/2, length scales 0.1 to 2).

    Args:
        kind: "uniform" contexts and targets; or contexts chosen by expected improvement under the
            true process, and targets 0.3 to 10 % around the incumbent.
        dimensions: D.
        context: Trials T of each study.
        studies: B.
        targets: N.
        seed: Seed of everything.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def log_uniform(bounds: Sequence[float], *shape: int) -> Tensor:
        return torch.exp(math.log(bounds[0]) + math.log(bounds[1] / bounds[0]) * uniform(*shape))

    process = _Process(
        length_scale=log_uniform(_LENGTH_SCALES, studies, 1, 1),
        noise=log_uniform(_NOISES, studies, 1, 1).square(),
        smooth=torch.arange(studies)[:, None, None] % 2 == 0,
    )

    def near(points: Tensor, values: Tensor, count: int) -> Tensor:
        best = points[torch.arange(studies), values.argmax(-1)][:, None]
        step = log_uniform(_NEAR, studies, count, 1) * normal(studies, count, dimensions)
        return (best + step).clamp(0.0, 1.0)

    start = context if kind == "uniform" else _START
    points = uniform(studies, start, dimensions)
    values = (process.root(points) @ normal(studies, start, 1))[..., 0]
    while points.shape[1] < context:
        candidates = torch.cat(
            [
                uniform(studies, _UNIFORM_CANDIDATES, dimensions),
                near(points, values, _LOCAL_CANDIDATES),
            ],
            1,
        )
        mean, variance = process.posterior(points, values, candidates)
        deviation = variance.clamp(min=1e-12).sqrt()
        score = gaussian_improvement(mean, deviation, values.amax(-1, keepdim=True))
        chosen = candidates[torch.arange(studies), score.argmax(-1)][:, None]
        mean, variance = process.posterior(points, values, chosen)
        spread = (variance + process.noise[..., 0]).clamp(min=1e-12).sqrt()
        points = torch.cat([points, chosen], 1)
        values = torch.cat([values, mean + spread * normal(studies, 1)], 1)

    target_points = (
        uniform(studies, targets, dimensions)
        if kind == "uniform"
        else near(points, values, targets)
    )
    mean, variance = process.posterior(points, values, target_points)
    # Independent draws from each target's own distribution: targets are scored one by one.
    deviation = (variance.clamp(min=0.0) + process.noise[..., 0]).sqrt()
    target_values = mean + deviation * normal(studies, targets)
    return GPSamples(points, values, target_points, target_values, mean, deviation)


@dataclass(frozen=True)
class _Process:
    length_scale: Tensor  # (B, 1, 1)
    noise: Tensor  # (B, 1, 1)
    smooth: Tensor  # (B, 1, 1) RBF where true, Matern 5/2 elsewhere

    def covariance(self, first: Tensor, second: Tensor) -> Tensor:
        squared = torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist").square()
        rbf = torch.exp(-0.5 * squared / self.length_scale.square())
        return torch.where(self.smooth, rbf, matern52(first, second, self.length_scale))

    def root(self, points: Tensor) -> Tensor:
        """Cholesky factor of the noisy covariance."""
        eye = torch.eye(points.shape[1], dtype=points.dtype)
        noisy = self.covariance(points, points) + (self.noise + 1e-9) * eye
        factor: Tensor = torch.linalg.cholesky(noisy)
        return factor

    def posterior(self, points: Tensor, values: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance without noise, each (B, N)."""
        factor = self.root(points)
        cross = self.covariance(points, where)
        white = torch.linalg.solve_triangular(factor, cross, upper=False)
        residual = torch.linalg.solve_triangular(factor, values[..., None], upper=False)
        mean = (white.transpose(-1, -2) @ residual)[..., 0]
        return mean, 1 - white.square().sum(-2)
