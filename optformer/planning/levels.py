"""Levels: the legal values of a parameter that has finitely many, on the unit interval."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from optformer.data.studies.encoding import encode_value
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Parameter, Value

Array = NDArray[np.float64]

MAX_LISTED_LEVELS = 4096  # a parameter with more levels computes them
_SAME = 1e-7  # values of conditions are equal within single precision


class Levels(Protocol):
    """The levels of one parameter, in ascending order. Missing values are NaN, and stay so."""

    @property
    def count(self) -> int:
        """Number of levels, at least 1."""

    def listed(self) -> Array:
        """All levels, (count,)."""

    def at(self, number: int) -> float:
        """A level by its number, from 0."""

    def nearest(self, values: Array) -> Array:
        """The nearest level of each number, (N,), which may lie outside the bounds."""

    def draw(self, unit: Array) -> Array:
        """Levels from uniform numbers in [0, 1), (N,), as the parameter is sampled."""

    def encode(self, values: Sequence[Value]) -> Array:
        """The levels of legal values, (N,)."""

    def among(self, values: Array, some: Array) -> NDArray[np.bool_]:
        """Which of N levels are one of some levels, bool, (N,)."""


class ListedLevels:
    """Levels that are few enough to be listed.

    Args:
        parameter: A parameter with at most `MAX_LISTED_LEVELS` levels.
    """

    def __init__(self, parameter: Parameter):
        self._parameter = parameter
        if isinstance(parameter, Categorical):
            self._levels = np.arange(len(parameter.choices), dtype=float)
        else:
            self._levels = np.array([parameter.to_unit(value) for value in parameter.grid()])
        self._ends = _share_ends(parameter, len(self._levels))

    @property
    def count(self) -> int:
        """See `Levels`."""
        return len(self._levels)

    def listed(self) -> Array:
        """See `Levels`."""
        return self._levels

    def at(self, number: int) -> float:
        """See `Levels`."""
        return float(self._levels[number])

    def nearest(self, values: Array) -> Array:
        """See `Levels`."""
        levels = self._levels
        if len(levels) == 1:
            return np.where(np.isnan(values), values, levels[0])
        right = np.clip(np.searchsorted(levels, values), 1, len(levels) - 1)
        left = right - 1
        closer_left = values - levels[left] <= levels[right] - values
        nearest = np.where(closer_left, levels[left], levels[right])
        found: Array = np.where(np.isnan(values), values, nearest)
        return found

    def draw(self, unit: Array) -> Array:
        """See `Levels`."""
        drawn: Array = self._levels[np.searchsorted(self._ends[:-1], unit, side="right")]
        return drawn

    def encode(self, values: Sequence[Value]) -> Array:
        """See `Levels`."""
        return np.array([encode_value(self._parameter, value) for value in values], dtype=float)

    def among(self, values: Array, some: Array) -> NDArray[np.bool_]:
        """See `Levels`."""
        return near(values, some)


class ComputedLevels:
    """Levels that are too many to be listed: each is computed.

    Up to about 2**50 of them are told apart.

    Args:
        parameter: A number with a step, or an ordered choice.
    """

    def __init__(self, parameter: Float | Int | Ordinal):
        self._parameter = parameter
        self._log = isinstance(parameter, Int) and parameter.log
        if isinstance(parameter, Ordinal):
            self._low, self._step, self._top = 0.0, 1.0, len(parameter.choices) - 1
            self._high = float(self._top)
        else:
            self._low, self._high = float(parameter.low), float(parameter.high)
            self._step, self._top = float(parameter.step or 0.0), parameter.top_level

    @property
    def count(self) -> int:
        """See `Levels`."""
        return self._top + 1

    def listed(self) -> Array:
        """See `Levels`."""
        return self._unit(np.arange(self.count, dtype=float))

    def at(self, number: int) -> float:
        """See `Levels`."""
        return float(self._unit(np.array([float(number)]))[0])

    def nearest(self, values: Array) -> Array:
        """See `Levels`."""
        return self._unit(self._level(values))

    def draw(self, unit: Array) -> Array:
        """See `Levels`."""
        if not self._log:
            return self._unit(np.minimum(np.floor(unit * self.count), self._top))
        # As `Int.sample` draws: a whole number gets the share that is rounded to it.
        low, high = np.log(self._low - 0.5), np.log(self._high + 0.5)
        numbers = np.rint(np.exp(low + (high - low) * unit))
        return self._unit(np.clip(numbers - self._low, 0, self._top))

    def encode(self, values: Sequence[Value]) -> Array:
        """See `Levels`."""
        return self.nearest(np.array([self._parameter.to_unit(value) for value in values]))

    def among(self, values: Array, some: Array) -> NDArray[np.bool_]:
        """See `Levels`."""
        return np.isin(self._level(values), self._level(some))

    def _level(self, values: Array) -> Array:
        """Numbers of the nearest levels, from 0."""
        unit = np.clip(values, 0.0, 1.0)
        if self._log:
            low, high = np.log(self._low), np.log(self._high)
            numbers = np.exp(low + unit * (high - low))
        else:
            numbers = self._low + unit * (self._high - self._low)
        level: Array = np.clip(np.rint((numbers - self._low) / self._step), 0, self._top)
        return level

    def _unit(self, level: Array) -> Array:
        numbers = np.minimum(self._low + level * self._step, self._high)
        if self._log:
            low, high = np.log(self._low), np.log(self._high)
            unit: Array = (np.log(numbers) - low) / (high - low)
        else:
            unit = (numbers - self._low) / (self._high - self._low)
        return unit


@lru_cache
def levels_of(parameter: Parameter) -> Levels | None:
    """The levels of a parameter, None for a continuum.

    Cached, because a study's space is transformed at every call, and a long list takes
    milliseconds.
    """
    if isinstance(parameter, Float) and parameter.step is None:
        return None
    if isinstance(parameter, Categorical):
        return ListedLevels(parameter)
    count = len(parameter.choices) if isinstance(parameter, Ordinal) else parameter.top_level + 1
    return ListedLevels(parameter) if count <= MAX_LISTED_LEVELS else ComputedLevels(parameter)


def near(values: Array, some: Array) -> NDArray[np.bool_]:
    """Which values equal one of some numbers in single precision, bool, (N,)."""
    return np.asarray((np.abs(values[:, None] - some) <= _SAME).any(-1))


def _share_ends(parameter: Parameter, count: int) -> Array:
    """Upper ends of the levels' shares of the unit interval."""
    if isinstance(parameter, Int) and parameter.log:
        # As `Int.sample` draws: a whole number gets the share that is rounded to it.
        ends = np.log(np.arange(parameter.low, parameter.high + 1) + 0.5)
        start = np.log(parameter.low - 0.5)
        shares: Array = (ends - start) / (ends[-1] - start)
        return shares
    return np.arange(1, count + 1) / count
