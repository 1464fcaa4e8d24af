"""Random objective functions over synthetic spaces, vectorised over a batch.

Gaussian process samples (random Fourier features; RBF and Matern; anisotropic, with irrelevant
axes, full, additive or of pairs), random networks, random forests and saturating valleys, alone or
summed; monotone warps, noise and regions that fail. Values are to be maximized.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from optformer.data.corpora.synthetic.spaces import MAX_CHOICES, SyntheticSpaces

FEATURES = 256  # random Fourier features of a Gaussian process sample
HIDDEN = 24  # units of a random network's layer
TREES, DEPTH = 12, 5  # size of a random forest
REFERENCE = 128  # points on which a function's mean and deviation are measured
GP_SHARE = 0.6  # share of functions that are a Gaussian process sample and nothing else


@dataclass(frozen=True)
class SyntheticFunctions:
    """B functions, F of them on each of S spaces (B = S * F, those of a space together).

    All points are (S, F, N, P) with values as in `SyntheticSpaces`; all results (S, F, N).
    """

    spaces: SyntheticSpaces
    locations: Tensor  # (S, F, P, MAX_CHOICES, 2) place of each choice
    frequencies: Tensor  # (S, F, 2P, R)
    phases: Tensor  # (S, F, R)
    amplitudes: Tensor  # (S, F, R)
    network: tuple[Tensor, Tensor, Tensor]  # (S, F, 2P + 1, H), (S, F, H, H), (S, F, H)
    tree_axes: Tensor  # (S, F, TREES * DEPTH) coordinate each node looks at
    tree_cuts: Tensor  # (S, F, TREES * DEPTH)
    leaves: Tensor  # (S, F, TREES, 2 ** DEPTH)
    valley: tuple[Tensor, Tensor, Tensor]  # centre, weight (S, F, 2P), power (S, F, 1)
    mixture: Tensor  # (S, F, 4) weight of each family
    location: Tensor  # (S, F, 1) mean before the warp
    deviation: Tensor  # (S, F, 1) standard deviation before the warp
    warp: Tensor  # (S, F, 1) 0 none, else strength and direction of the bend
    noise: Tensor  # (S, F, 1) standard deviation of the noise
    failing: tuple[Tensor, Tensor]  # direction (S, F, 2P), threshold (S, F, 1)

    @property
    def per_space(self) -> int:
        """Number of functions F on each space."""
        return self.mixture.shape[1]

    def select(self, rows: slice) -> SyntheticFunctions:
        """The functions of some of the spaces."""

        def part(value: Any) -> Any:
            if isinstance(value, SyntheticSpaces):
                return value.select(rows)
            if isinstance(value, tuple):
                return tuple(part(item) for item in value)
            return value[rows] if isinstance(value, Tensor) else value

        return replace(self, **{f.name: part(getattr(self, f.name)) for f in fields(self)})

    def coordinates(self, values: Tensor) -> Tensor:
        """Place of points in the space the functions live in, (S, F, N, 2P)."""
        active = self.spaces.active(values)
        index = values.long().clamp(0, MAX_CHOICES - 1)
        studies, functions, count, parameters = values.shape
        table = self.locations[:, :, None].expand(-1, -1, count, -1, -1, -1)
        picked = torch.gather(table, 4, index[..., None, None].expand(-1, -1, -1, -1, 1, 2))[
            ..., 0, :
        ]  # (S, F, N, P, 2)
        number = torch.stack([values, torch.zeros_like(values)], -1)
        is_choice = self.spaces.is_choice[:, None, None, :, None]
        x = torch.where(is_choice, picked, number)
        x = torch.where(active[..., None], x, torch.full_like(x, 0.5))
        return x.reshape(studies, functions, count, 2 * parameters)

    def mean(self, values: Tensor) -> Tensor:
        """Values without noise, of mean 0 and deviation about 1 before the warp, (S, F, N)."""
        raw = (self._raw(self.coordinates(values)) - self.location) / self.deviation
        bend = self.warp
        bent = torch.sign(bend) * torch.expm1(bend.abs() * torch.sign(bend) * raw.clamp(-6, 6))
        return torch.where(bend == 0, raw, bent / bend.abs().clamp(min=1e-3))

    def observe(self, values: Tensor, generator: torch.Generator) -> Tensor:
        """Values with noise, (S, F, N); NaN where the trial fails."""
        mean = self.mean(values)
        draw = torch.randn(mean.shape, generator=generator, device=mean.device)
        return (mean + self.noise * draw).masked_fill(self.fails(values), torch.nan)

    def expected(self, values: Tensor) -> Tensor:
        """Values without noise, (S, F, N); NaN where the trial fails."""
        return self.mean(values).masked_fill(self.fails(values), torch.nan)

    def fails(self, values: Tensor) -> Tensor:
        """Which trials fail, bool, (S, F, N)."""
        direction, threshold = self.failing
        return (self.coordinates(values) * direction[:, :, None]).sum(-1) > threshold

    def _raw(self, x: Tensor) -> Tensor:
        weights = self.mixture[..., None, :]  # (S, F, 1, 4)
        families = torch.stack(
            [self._gaussian(x), self._net(x), self._forest(x), self._valley(x)], -1
        )
        return (families * weights).sum(-1)

    def _gaussian(self, x: Tensor) -> Tensor:
        angle = x @ self.frequencies + self.phases[:, :, None]
        return (angle.cos() @ self.amplitudes[..., None])[..., 0]

    def _net(self, x: Tensor) -> Tensor:
        first, second, last = self.network
        hidden = torch.tanh(x @ first[:, :, :-1] + first[:, :, -1:])
        hidden = torch.sin(hidden @ second)
        return (hidden @ last[..., None])[..., 0]

    def _forest(self, x: Tensor) -> Tensor:
        studies, functions, count, _ = x.shape
        axes = self.tree_axes[:, :, None].expand(-1, -1, count, -1)
        above = torch.gather(x, -1, axes) > self.tree_cuts[:, :, None]
        bits = above.reshape(studies, functions, count, TREES, DEPTH)
        powers = 2 ** torch.arange(DEPTH, device=x.device)
        leaf = (bits * powers).sum(-1)  # (S, F, N, TREES)
        table = self.leaves[:, :, None].expand(-1, -1, count, -1, -1)
        return torch.gather(table, -1, leaf[..., None])[..., 0].mean(-1)

    def _valley(self, x: Tensor) -> Tensor:
        centre, weight, power = self.valley
        gap = (x - centre[:, :, None]).abs() ** power[:, :, None]
        depth = (gap * weight[:, :, None]).sum(-1)
        return -depth / (1 + depth)


def draw_functions(
    spaces: SyntheticSpaces, functions: int, generator: torch.Generator
) -> SyntheticFunctions:
    """Draw random functions on each space.

    Args:
        spaces: S spaces, on the generator's device.
        functions: Functions F on each.
        generator: Source of randomness; its device is where everything is drawn.
    """
    device = generator.device
    count, parameters = spaces.choices.shape
    shape = (count, functions)

    def uniform(*size: int) -> Tensor:
        return torch.rand(*shape, *size, generator=generator, device=device)

    def normal(*size: int) -> Tensor:
        return torch.randn(*shape, *size, generator=generator, device=device)

    def log_uniform(low: float, high: float, *size: int) -> Tensor:
        return torch.exp(math.log(low) + math.log(high / low) * uniform(*size))

    coordinates = 2 * parameters

    # Length scales: one for all axes, stretched with the dimension in half of the functions,
    # then varied and sometimes made infinite a parameter.
    stretch = torch.where(uniform(1) < 0.5, math.sqrt(parameters), 1.0)
    varied = torch.where(uniform(1) < 0.5, torch.exp(0.6 * normal(parameters)), 1.0)
    irrelevant = uniform(parameters) < 0.2 * (uniform(1) < 0.5)
    inverse = 1 / (log_uniform(0.1, 2.0, 1) * stretch * varied)
    inverse = inverse.masked_fill(irrelevant, 0.0).repeat_interleave(2, -1)  # (S, F, 2P)

    # Matern with smoothness nu has Student-t frequencies with 2 nu degrees of freedom.
    freedom = torch.tensor([3.0, 5.0, math.inf], device=device)[
        torch.randint(0, 3, (*shape, 1), generator=generator, device=device)
    ]
    chi = torch.where(
        freedom == 3.0, normal(FEATURES, 3).square().sum(-1), normal(FEATURES, 5).square().sum(-1)
    )
    tail = torch.where(freedom.isinf(), torch.ones_like(chi), torch.sqrt(freedom / chi))
    frequencies = normal(coordinates, FEATURES) * inverse[..., None] * tail[:, :, None]
    # Additive functions: a feature sees one parameter, or two.
    order = uniform(1, 1)
    first = torch.randint(0, parameters, (*shape, 1, FEATURES), generator=generator, device=device)
    other = torch.randint(0, parameters, (*shape, 1, FEATURES), generator=generator, device=device)
    axis = torch.arange(parameters, device=device).repeat_interleave(2)[:, None]
    single, pair = axis == first, (axis == first) | (axis == other)
    seen = torch.where(order < 0.75, torch.ones_like(pair), torch.where(order < 0.88, single, pair))

    family = torch.nn.functional.one_hot(
        torch.randint(1, 4, shape, generator=generator, device=device), 4
    ).float()
    gaussian = torch.tensor([1.0, 0.0, 0.0, 0.0], device=device)
    blend = uniform(1) * (uniform(1) < 0.5)
    mixture = torch.where(
        uniform(1) < GP_SHARE, gaussian, (1 - 0.7 * blend) * family + 0.7 * blend * gaussian
    )
    # Bring the families to similar spreads before they are mixed.
    mixture = mixture * torch.tensor([1.0, 1.0, 2.0, 5.0], device=device)

    direction = normal(coordinates) / math.sqrt(coordinates)
    warp = torch.where(uniform(1) < 0.35, (1.2 * normal(1)).clamp(-2.0, 0.8), 0.0)
    drawn = SyntheticFunctions(
        spaces=spaces,
        # Choices of one parameter lie near each other or far apart: some matter, some hardly.
        locations=0.5
        + log_uniform(0.1, 1.0, parameters, 1, 1) * normal(parameters, MAX_CHOICES, 2),
        frequencies=frequencies * seen,
        phases=2 * math.pi * uniform(FEATURES),
        amplitudes=torch.full((*shape, FEATURES), math.sqrt(2 / FEATURES), device=device),
        network=(
            normal(coordinates + 1, HIDDEN) * inverse.mean(-1)[..., None, None].clamp(max=4.0),
            normal(HIDDEN, HIDDEN) * log_uniform(0.5, 3.0, 1, 1) / math.sqrt(HIDDEN),
            normal(HIDDEN) / math.sqrt(HIDDEN),
        ),
        tree_axes=torch.randint(
            0, coordinates, (*shape, TREES * DEPTH), generator=generator, device=device
        )
        // 2
        * 2,
        tree_cuts=uniform(TREES * DEPTH),
        leaves=normal(TREES, 2**DEPTH),
        valley=(
            uniform(coordinates),
            log_uniform(0.1, 20.0, coordinates) * (uniform(coordinates) < 0.8),
            0.5 + 2.5 * uniform(1),
        ),
        mixture=mixture,
        location=torch.zeros(*shape, 1, device=device),
        deviation=torch.ones(*shape, 1, device=device),
        warp=warp,
        noise=log_uniform(1e-3, 0.3, 1) * (uniform(1) < 0.8),
        failing=(direction, torch.full((*shape, 1), math.inf, device=device)),
    )
    sample = spaces.legal(
        torch.rand(count, functions, REFERENCE, parameters, generator=generator, device=device)
    )
    x = drawn.coordinates(sample)
    raw = drawn._raw(x)
    height = (x * direction[:, :, None]).sum(-1)
    share = torch.where(uniform(1) < 0.15, 0.4 * uniform(1), 0.0)
    rank = ((1 - share) * (REFERENCE - 1)).long()
    threshold = torch.gather(height.sort(-1).values, -1, rank)
    threshold = torch.where(share > 0, threshold, torch.full_like(threshold, math.inf))
    return replace(
        drawn,
        location=raw.mean(-1, keepdim=True),
        deviation=raw.std(-1, keepdim=True).clamp(min=1e-6),
        failing=(direction, threshold),
    )
