"""A search space as arrays in the model's numbers: legal points, sampling, mutation, distances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from optformer.data.studies.encoding import encode_value
from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.parameters import Categorical, Int, Parameter, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.tokenization.history import Points, ValueKind, decode_point, encode_points

Array = NDArray[np.float64]

_MAX_GRID = 4096  # numeric parameters with more levels are searched as continuous, then rounded
_LOCAL_LEVELS = 0.75  # smallest step of a mutation, in levels: half of all steps reach another one
_END = 0.01  # from an end, inside which centrality is that of this far: its logarithm stays finite
_MEAN_CENTRALITY = float(np.log(4) - 2)  # of uniform numbers
_SAME = 1e-7  # values of conditions are equal within single precision


class SpaceTransform:
    """Points of one space as arrays, (N, P), and back.

    A number is on the unit interval, as it is scaled for the model. A choice is its index. What is
    inactive is 0.

    Args:
        space: The space.
        fixed: Parameters held at one value.

    Raises:
        SearchSpaceError: A fixed parameter is unknown or its value is not legal.
    """

    def __init__(self, space: SearchSpace, fixed: Mapping[str, Value]):
        self.space = space
        self.names = space.names
        parameters = [space[name] for name in self.names]
        self.is_choice = np.array([isinstance(p, Categorical) for p in parameters])
        self.grids = [_grid(parameter) for parameter in parameters]
        self._shares = [_shares(p, g) for p, g in zip(parameters, self.grids, strict=True)]
        self.fixed_values = {n: space.validate_value(n, value) for n, value in fixed.items()}
        self.fixed = {
            self.names.index(name): encode_value(space[name], value)
            for name, value in self.fixed_values.items()
        }
        self._conditions = [self._condition(parameter) for parameter in parameters]

    @property
    def finite(self) -> bool:
        """Whether the number of points is finite and every parameter is searched on its levels."""
        return all(grid is not None or slot in self.fixed for slot, grid in enumerate(self.grids))

    @property
    def size(self) -> int | None:
        """Upper bound of the number of points, None when not finite."""
        if not self.finite:
            return None
        total = 1
        for slot, grid in enumerate(self.grids):
            total *= 1 if slot in self.fixed or grid is None else len(grid)
        return total

    def all_points(self) -> Array:
        """Every distinct point of a finite space, (N, P)."""
        axes = [
            np.array([self.fixed[slot]]) if slot in self.fixed else _required(grid)
            for slot, grid in enumerate(self.grids)
        ]
        mesh = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))
        points = self.project(mesh)
        return points[self.unseen(points, points[:0])]

    def from_uniform(self, unit: Array) -> Array:
        """Legal points from uniform numbers.

        Levels are equally likely, but for those of a logarithmic `Int`, which are as likely as
        their shares of the logarithmic range.

        Args:
            unit: Numbers in [0, 1), (N, P).
        """
        values = unit.copy()
        for slot, (grid, shares) in enumerate(zip(self.grids, self._shares, strict=True)):
            if grid is not None and shares is not None:
                values[:, slot] = grid[np.searchsorted(shares[:-1], unit[:, slot], side="right")]
        return self.project(values)

    def project(self, values: Array) -> Array:
        """The nearest legal points: levels, bounds, fixed values, conditions.

        Args:
            values: Points, (N, P), which may lie outside the bounds.
        """
        values = np.clip(values, 0.0, None)
        for slot, value in self.fixed.items():
            values[:, slot] = value
        return self._snap(values)

    def _snap(self, values: Array) -> Array:
        """The nearest levels and bounds, and nothing where a condition is not met."""
        snapped = values.copy()
        for slot, grid in enumerate(self.grids):
            column = values[:, slot]
            snapped[:, slot] = np.minimum(column, 1.0) if grid is None else _nearest(grid, column)
        return np.where(self.active(snapped), snapped, 0.0)

    def active(self, values: Array) -> NDArray[np.bool_]:
        """Which parameters are active, whose conditions are met, bool, (N, P)."""
        on = np.ones(values.shape, dtype=bool)
        for slot, condition in enumerate(self._conditions):
            for parent, allowed in condition:
                met = np.isclose(values[:, parent, None], allowed, rtol=0, atol=_SAME).any(-1)
                on[:, slot] &= on[:, parent] & met
        return on

    def mutate(self, values: Array, scale: Array, rate: float, rng: np.random.Generator) -> Array:
        """Perturb points: numbers by a normal step, choices redrawn at a rate, children repaired.

        Args:
            values: Points, (N, P).
            scale: Standard deviation of each point's step, (N, 1).
            rate: Probability that a parameter is touched; at least one is.
            rng: Source of randomness.
        """
        count, parameters = values.shape
        fresh = self.from_uniform(rng.random((count, parameters)))
        touched = rng.random((count, parameters)) < rate
        touched[np.arange(count), rng.integers(parameters, size=count)] = True
        step = rng.standard_normal((count, parameters))
        moved = values.copy()
        was_active = self.active(values)
        for slot, grid in enumerate(self.grids):
            if self.is_choice[slot]:
                moved[:, slot] = np.where(touched[:, slot], fresh[:, slot], values[:, slot])
                continue
            least = 0.0 if grid is None or len(grid) < 2 else _LOCAL_LEVELS / (len(grid) - 1)
            size = np.maximum(scale[:, 0], least) * step[:, slot]
            moved[:, slot] += np.where(touched[:, slot], size, 0.0)
            # Reflected at the bounds, so that the ends are not favoured.
            moved[:, slot] = 1.0 - np.abs(1.0 - np.abs(moved[:, slot]))
        # A child that a changed parent switches on starts anywhere.
        switched_on = self.active(self.project(moved)) & ~was_active
        return self.project(np.where(switched_on, fresh, moved))

    def kinds(self, values: Array) -> NDArray[np.int64]:
        """`ValueKind` of every value, (N, P)."""
        kinds = np.where(self.is_choice, int(ValueKind.CHOICE), int(ValueKind.NUMBER))
        return np.where(self.active(values), kinds, int(ValueKind.INACTIVE)).astype(np.int64)

    def points(self, values: Array) -> Points:
        """Points as the tokenizer encodes them, N of them."""
        return Points(values.astype(np.float32), self.kinds(values))

    def encode(self, points: Sequence[Mapping[str, Value]]) -> Array:
        """Points that a user wrote, (N, P), exactly on the levels.

        What is fixed does not change them: trials may have other values.
        """
        return self._snap(encode_points(self.space, points).values.astype(np.float64))

    def decode(self, values: Array) -> dict[str, Value]:
        """One point, (P,), as the user writes it; fixed values exactly as given."""
        point = decode_point(self.space, values, self.kinds(values[None])[0])
        return {name: self.fixed_values.get(name, value) for name, value in point.items()}

    def distances(self, values: Array, others: Array) -> Array:
        """Euclidean distances between points, (N, M); choices that differ are 1 apart."""
        gap = np.abs(values[:, None, :] - others[None, :, :])
        gap = np.where(self.is_choice, gap > 0, gap)
        distances: Array = np.sqrt(np.square(gap).sum(-1))
        return distances

    def centrality(self, values: Array) -> Array:
        """How central the numbers of points are in their ranges, at most 0, (N,).

        The sum over numeric parameters of the logarithm of 4 u (1 - u), where u is the position on
        the range or the middle of a level's share of it, divided by the square root of their
        number. So it is a log-density, that of Beta(2, 2) but for a constant, flatter the more
        parameters there are. For an inactive number, the mean over the range stands in.
        """
        shrunk = np.array([1.0 if grid is None else 1 - 1 / len(grid) for grid in self.grids])
        u = np.clip(0.5 + (values - 0.5) * shrunk, _END, 1 - _END)
        central = np.where(self.active(values), np.log(4 * u * (1 - u)), _MEAN_CENTRALITY)
        numbers = ~self.is_choice
        total: Array = central[:, numbers].sum(-1) / max(np.sqrt(numbers.sum()), 1.0)
        return total

    def unseen(self, values: Array, past: Array) -> NDArray[np.bool_]:
        """Which points equal neither a past one, (M, P), nor one before them, bool, (N,)."""
        seen = set(self.keys(past))
        fresh = np.zeros(len(values), dtype=bool)
        for i, key in enumerate(self.keys(values)):
            fresh[i] = key not in seen
            seen.add(key)
        return fresh

    def keys(self, values: Array) -> list[bytes]:
        """A key for each of N points, equal for equal points."""
        return [row.tobytes() for row in np.round(values, 6) + 0.0]

    def _condition(self, parameter: Parameter) -> list[tuple[int, Array]]:
        return [
            (
                self.names.index(parent),
                np.array([encode_value(self.space[parent], value) for value in values]),
            )
            for parent, values in (parameter.when or {}).items()
        ]


@lru_cache
def _grid(parameter: Parameter) -> Array | None:
    """Scaled levels of a parameter in order, None when it is searched as continuous.

    Cached, because a study's space is transformed at every call, and a long grid takes
    milliseconds.
    """
    if isinstance(parameter, Categorical):
        return np.arange(len(parameter.choices), dtype=float)
    if parameter.num_levels is None or parameter.num_levels > _MAX_GRID:
        return None
    return np.array([parameter.to_unit(value) for value in parameter.grid()])


def _shares(parameter: Parameter, grid: Array | None) -> Array | None:
    """Upper ends of the levels' shares of the unit interval, None without levels."""
    if grid is None:
        return None
    if isinstance(parameter, Int) and parameter.log:
        # As `Int.sample` draws: a whole number gets the share that is rounded to it.
        ends = np.log(np.arange(parameter.low, parameter.high + 1) + 0.5)
        start = np.log(parameter.low - 0.5)
        shares: Array = (ends - start) / (ends[-1] - start)
        return shares
    return np.arange(1, len(grid) + 1) / len(grid)


def _nearest(grid: Array, values: Array) -> Array:
    if len(grid) == 1:
        return np.full_like(values, grid[0])
    right = np.clip(np.searchsorted(grid, values), 1, len(grid) - 1)
    left = right - 1
    closer_left = values - grid[left] <= grid[right] - values
    nearest: Array = np.where(closer_left, grid[left], grid[right])
    return nearest


def _required(grid: Array | None) -> Array:
    if grid is None:
        raise SearchSpaceError("only a finite space can be listed; this one has a continuum")
    return grid
