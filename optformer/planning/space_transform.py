"""A search space as arrays in the model's numbers: legal points, sampling, mutation, distances."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from optformer.data.studies.encoding import encode_value
from optformer.data.studies.parameters import Categorical, Parameter, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.planning.levels import Array as Array
from optformer.planning.levels import ComputedLevels, levels_of, near
from optformer.tokenization.history import Points, ValueKind, decode_point, encode_points

_LOCAL_LEVELS = 0.75  # smallest step of a mutation, in levels: half of all steps reach another one
_END = 0.01  # from an end, inside which centrality is that of this far: its logarithm stays finite
_MEAN_CENTRALITY = float(np.log(4) - 2)  # of uniform numbers


class SpaceTransform:
    """Points of one space as arrays, (N, P), and back.

    A number is on the unit interval, as it is scaled for the model. A choice is its index. What is
    inactive is 0. What a trial lacks, because its script did not know the parameter yet, is NaN:
    it equals nothing, and moves of the trial put it anywhere.

    Args:
        space: The space.
        fixed: Parameters held at one value.

    Attributes:
        levels: Levels of each parameter, None for a continuum.

    Raises:
        SearchSpaceError: A fixed parameter is unknown or its value is not legal.
    """

    def __init__(self, space: SearchSpace, fixed: Mapping[str, Value]):
        self.space = space
        self.names = space.names
        parameters = [space[name] for name in self.names]
        self.is_choice = np.array([isinstance(p, Categorical) for p in parameters])
        self.levels = [levels_of(parameter) for parameter in parameters]
        self.fixed_values = {n: space.validate_value(n, value) for n, value in fixed.items()}
        self.fixed = {
            self.names.index(name): encode_value(space[name], value)
            for name, value in self.fixed_values.items()
        }
        self._conditions = [self._condition(parameter) for parameter in parameters]
        self._named = self._named_values()
        self._listed: dict[int, Array | None] = {}

    @property
    def finite(self) -> bool:
        """Whether every parameter that is not fixed has levels."""
        return all(own is not None or slot in self.fixed for slot, own in enumerate(self.levels))

    @property
    def dense(self) -> bool:
        """Whether some parameter that is not fixed has a continuum, or levels close together."""
        return any(
            slot not in self.fixed and (own is None or isinstance(own, ComputedLevels))
            for slot, own in enumerate(self.levels)
        )

    def listed(self, limit: int) -> Array | None:
        """Every point of the space once, (N, P), in the order of the levels.

        Points are counted along the conditions: what is inactive has one value.

        Args:
            limit: Most points to list.

        Returns:
            The points; None when there are more, or a continuum of them.
        """
        if limit not in self._listed:
            self._listed[limit] = self._list(limit)
        return self._listed[limit]

    def _list(self, limit: int) -> Array | None:
        points = np.zeros((1, len(self.names)))
        for slot, own in enumerate(self.levels):
            active = self.active(points)[:, slot]
            if not active.any():
                continue
            if slot in self.fixed:
                values = np.array([self.fixed[slot]])
            elif own is None or own.count * active.sum() > limit:
                return None
            else:
                values = own.listed()
            points = np.repeat(points, np.where(active, len(values), 1), axis=0)
            if len(points) > limit:
                return None
            points[np.repeat(active, np.where(active, len(values), 1)), slot] = np.tile(
                values, int(active.sum())
            )
        return self._snap(points)

    def walk(self, rng: np.random.Generator) -> Iterator[Array]:
        """Points, (P,), one after the other, none twice; all of them when the space is finite.

        Args:
            rng: Source of the level that each parameter starts at, and of continuous values.
        """
        yield from self._walk(np.zeros(len(self.names)), 0, rng)

    def _walk(self, point: Array, slot: int, rng: np.random.Generator) -> Iterator[Array]:
        if slot == len(self.names):
            yield self._snap(point[None])[0]
            return
        own = self.levels[slot]
        if not self.active(point[None])[0, slot]:
            values: Iterator[float] = iter([0.0])
        elif slot in self.fixed:
            values = iter([self.fixed[slot]])
        elif own is None:
            values = iter(rng.random, None)
        else:
            start = int(rng.integers(own.count))
            values = (own.at((start + i) % own.count) for i in range(own.count))
        for value in values:
            changed = point.copy()
            changed[slot] = value
            yield from self._walk(changed, slot + 1, rng)

    def from_uniform(self, unit: Array) -> Array:
        """Legal points from uniform numbers.

        Levels are equally likely, but for those of a logarithmic `Int`, which are as likely as
        their shares of the logarithmic range.

        Args:
            unit: Numbers in [0, 1), (N, P).
        """
        values = unit.copy()
        for slot, own in enumerate(self.levels):
            if own is not None:
                values[:, slot] = own.draw(unit[:, slot])
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

    def with_fixed(self, values: Array) -> Array:
        """Trials, (N, P), at the fixed values; what these switch on is missing."""
        held = self.project(values)
        return np.where(self.active(held) & ~self.active(values), np.nan, held)

    def _snap(self, values: Array) -> Array:
        """The nearest levels and bounds, and nothing where a condition is not met."""
        snapped = values.copy()
        for slot, own in enumerate(self.levels):
            column = values[:, slot]
            snapped[:, slot] = np.minimum(column, 1.0) if own is None else own.nearest(column)
        return np.where(self.active(snapped), snapped, 0.0)

    def active(self, values: Array) -> NDArray[np.bool_]:
        """Which parameters are active, whose conditions are met, bool, (N, P)."""
        on = np.ones(values.shape, dtype=bool)
        for slot, condition in enumerate(self._conditions):
            for parent, allowed in condition:
                own, column = self.levels[parent], values[:, parent]
                met = near(column, allowed) if own is None else own.among(column, allowed)
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
        was_active = self.active(values)
        values = np.where(np.isnan(values), fresh, values)
        touched = rng.random((count, parameters)) < rate
        touched[np.arange(count), rng.integers(parameters, size=count)] = True
        step = rng.standard_normal((count, parameters))
        moved = values.copy()
        for slot, own in enumerate(self.levels):
            if self.is_choice[slot]:
                moved[:, slot] = np.where(touched[:, slot], fresh[:, slot], values[:, slot])
                continue
            least = 0.0 if own is None or own.count < 2 else _LOCAL_LEVELS / (own.count - 1)
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
        kinds = np.where(np.isnan(values), int(ValueKind.MISSING), kinds)
        return np.where(self.active(values), kinds, int(ValueKind.INACTIVE)).astype(np.int64)

    def points(self, values: Array) -> Points:
        """Points as the tokenizer encodes them, N of them."""
        return Points(np.nan_to_num(values).astype(np.float32), self.kinds(values))

    def encode(self, points: Sequence[Mapping[str, Value]]) -> Array:
        """Points that a user wrote, (N, P), exactly on the levels.

        What is fixed does not change them: trials may have other values.
        """
        encoded = encode_points(self.space, points)
        values = encoded.values.astype(np.float64)
        for slot, (name, own) in enumerate(zip(self.names, self.levels, strict=True)):
            if isinstance(own, ComputedLevels):  # closer together than single precision tells
                rows = np.flatnonzero(encoded.kinds[:, slot] == ValueKind.NUMBER).tolist()
                values[rows, slot] = own.encode([points[row][name] for row in rows])
        values[encoded.kinds == ValueKind.MISSING] = np.nan
        return self._snap(values)

    def decode(self, values: Array) -> dict[str, Value]:
        """One point, (P,), as the user writes it; fixed values exactly as given."""
        point = decode_point(self.space, values, self.kinds(values[None])[0])
        for slot, place, value in self._named:
            if self.names[slot] in point and near(values[None, slot], np.array([place]))[0]:
                point[self.names[slot]] = value
        return {name: self.fixed_values.get(name, value) for name, value in point.items()}

    def distances(self, values: Array, others: Array) -> Array:
        """Euclidean distances between points, (N, M); choices that differ are 1 apart.

        What a point lacks is no distance.
        """
        gap = np.abs(values[:, None, :] - others[None, :, :])
        gap = np.nan_to_num(np.where(self.is_choice, gap > 0, gap))
        distances: Array = np.sqrt(np.square(gap).sum(-1))
        return distances

    def gaps(self, values: Array, others: Array) -> Array:
        """Distances of points in the parameter that differs most, (N, M); infinite to a lack."""
        gaps = np.zeros((len(values), len(others)))
        apart = np.empty_like(gaps)
        for column, other in zip(values.T, others.T, strict=True):
            np.subtract(column[:, None], other, out=apart)
            np.maximum(gaps, np.abs(apart, out=apart), out=gaps)  # a lack stays NaN
        gaps[np.isnan(gaps)] = np.inf
        return gaps

    def centrality(self, values: Array) -> Array:
        """How central the numbers of points are in their ranges, at most 0, (N,).

        The sum over numeric parameters of the logarithm of 4 u (1 - u), where u is the position on
        the range or the middle of a level's share of it, divided by the square root of their
        number. So it is a log-density, that of Beta(2, 2) but for a constant, flatter the more
        parameters there are. For an inactive number, the mean over the range stands in.
        """
        shrunk = np.array([1.0 if own is None else 1 - 1 / own.count for own in self.levels])
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
        """A key for each of N points, equal for points that are written alike."""
        computed = [isinstance(own, ComputedLevels) for own in self.levels]
        return [row.tobytes() for row in np.where(computed, values, np.round(values, 6)) + 0.0]

    def _condition(self, parameter: Parameter) -> list[tuple[int, Array]]:
        """Slots of the parents, with the values of each under which the parameter is active."""
        return [
            (
                self.names.index(parent),
                np.array([encode_value(self.space[parent], value) for value in values]),
            )
            for parent, values in (parameter.when or {}).items()
        ]

    def _named_values(self) -> list[tuple[int, float, Value]]:
        """Values of a continuum that conditions name: slot, place, and how they are written."""
        return [
            (self.names.index(parent), encode_value(self.space[parent], value), value)
            for parameter in self.space.values()
            for parent, values in (parameter.when or {}).items()
            if levels_of(self.space[parent]) is None
            for value in values
        ]
