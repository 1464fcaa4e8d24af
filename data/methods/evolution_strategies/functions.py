"""The family of functions that the learned evolution strategy is meta-trained on.

A member is a rippled, bent, skewed bowl on the unit cube with its minimum 0 at a random place:

    f(x) = sum_i c_i |z_i|^p + a sum_i (1 - cos(2 pi k z_i)),   z = bend(R (x - x*))

`c` spreads over a random condition number, `p` bends each bowl from pointed to flat-bottomed, `R`
is the identity or a random rotation, `bend` adds a curve to a valley, and `a` is zero for half of
the members. Values are divided by the mean over the cube, so that 1 is what a random point gives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_TYPICAL_POINTS = 256  # random points a member's scale is estimated from


@dataclass(frozen=True)
class Bowls:
    """K members of the family in D dimensions, evaluated together.

    Attributes:
        optimum: Where the minimum is, shape (K, D), in [0.1, 0.9].
        rotation: Orthogonal matrices, shape (K, D, D).
        curvature: Weights of the coordinates, shape (K, D).
        exponent: Powers, shape (K, 1), in [1, 3].
        bend: Strength of the curved valley, shape (K, 1).
        ripple: Amplitude of the ripples, shape (K, 1).
        waves: Ripples a unit length, shape (K, 1).
        typical: Mean over the cube that values are divided by, shape (K,).
    """

    optimum: Tensor
    rotation: Tensor
    curvature: Tensor
    exponent: Tensor
    bend: Tensor
    ripple: Tensor
    waves: Tensor
    typical: Tensor

    def __call__(self, points: Tensor) -> Tensor:
        """Values at points.

        Args:
            points: Shape (..., K, N, D), in [0, 1].

        Returns:
            Values of at least 0, shape (..., K, N); the mean over the cube is about 1.
        """
        return self._raw(points) / self.typical[:, None]

    def _raw(self, points: Tensor) -> Tensor:
        offset = points - self.optimum[:, None, :]
        z = torch.einsum("...knd,ked->...kne", offset, self.rotation)
        first = z[..., :1]
        z = torch.cat([first, z[..., 1:] - self.bend[:, None] * first.square()], dim=-1)
        bowl = (self.curvature[:, None] * z.abs() ** self.exponent[:, None]).sum(-1)
        waves = 1.0 - torch.cos(2.0 * math.pi * self.waves[:, None] * z)
        return bowl + self.ripple * waves.sum(-1)


def draw_bowls(
    count: int, dimension: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> Bowls:
    """Draw members of the family.

    Args:
        count: Number of members K.
        dimension: Dimensions D of each.
        generator: Source of randomness.
        dtype: Type of the values.
    """

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=generator, dtype=dtype)

    def half() -> Tensor:
        return (torch.rand(count, 1, generator=generator) < 0.5).to(dtype)

    rotation = torch.linalg.qr(
        torch.randn(count, dimension, dimension, generator=generator, dtype=dtype)
    ).Q
    axes = torch.eye(dimension, dtype=dtype).expand_as(rotation)
    members = Bowls(
        optimum=uniform(0.1, 0.9, count, dimension),
        rotation=torch.where(half()[:, :, None] > 0, rotation, axes),
        curvature=10.0 ** (uniform(0.0, 2.0, count, 1) * uniform(0.0, 1.0, count, dimension)),
        exponent=uniform(1.0, 3.0, count, 1),
        bend=half() * uniform(0.0, 2.0, count, 1),
        ripple=half() * uniform(0.0, 0.2, count, 1),
        waves=uniform(1.0, 4.0, count, 1),
        typical=torch.ones(count, dtype=dtype),
    )
    points = uniform(0.0, 1.0, count, _TYPICAL_POINTS, dimension)
    typical = members._raw(points).mean(-1)
    return Bowls(**{**vars(members), "typical": typical})
