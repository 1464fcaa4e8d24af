"""Parameter types: what values are legal, and where each lies on the unit interval."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from optformer.data.errors import SearchSpaceError

Value: TypeAlias = Any
"""A parameter's value: float, int, str, bool or None, as the user wrote it."""

Condition: TypeAlias = Mapping[str, Sequence[Value]]
"""Parent name to the parent values under which a child is active (all parents must agree)."""

_GRID_LIMIT = 1_000_000  # a numeric parameter with more levels than this counts as continuous
_REL_TOLERANCE = 1e-9  # round-off allowed on bounds and on the step grid


@dataclass(frozen=True)
class Float:
    """A real number in [low, high].

    Attributes:
        low: Smallest legal value.
        high: Largest legal value, above `low`.
        log: Search on a logarithmic scale; needs `low` > 0.
        step: Distance between legal values, counted from `low`; not together with `log`.
        when: Condition under which the parameter is active.
        description: Free text the model reads.

    Raises:
        SearchSpaceError: The bounds, scale or step are impossible.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    when: Condition | None = None
    description: str = ""

    def __post_init__(self) -> None:
        low, high = _number("low", self.low), _number("high", self.high)
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)
        _check_bounds(low, high, self.log)
        if self.step is not None:
            if self.log:
                raise SearchSpaceError("step and log cannot be combined; leave one out")
            step = _number("step", self.step)
            if not 0 < step <= high - low:
                raise SearchSpaceError(
                    f"step must be above 0 and at most high - low = {high - low}, got {step}"
                )
            object.__setattr__(self, "step", step)
        object.__setattr__(self, "when", _frozen_condition(self.when))

    @property
    def num_levels(self) -> int | None:
        """Number of legal values, None when there is a continuum of them."""
        if self.step is None:
            return None
        levels = math.floor((self.high - self.low) / self.step * (1 + _REL_TOLERANCE)) + 1
        return levels if levels <= _GRID_LIMIT else None

    def validate(self, value: Value) -> float:
        """Return the value as a float; raises `SearchSpaceError` when it is not legal."""
        number = _number("value", value)
        slack = _REL_TOLERANCE * max(abs(self.low), abs(self.high))
        if not self.low - slack <= number <= self.high + slack:
            raise SearchSpaceError(f"expected a float in [{self.low}, {self.high}], got {value!r}")
        if self.step is not None:
            offset = (number - self.low) / self.step
            if abs(offset - round(offset)) > 1e-6:
                raise SearchSpaceError(
                    f"expected {self.low} plus a multiple of {self.step}, got {value!r}"
                )
        return min(max(number, self.low), self.high)

    def to_unit(self, value: Value) -> float:
        """Map a legal value to [0, 1], on the logarithm when `log`."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return float((value - self.low) / (self.high - self.low))

    def from_unit(self, unit: float) -> float:
        """Map [0, 1] to the nearest legal value."""
        unit = min(max(float(unit), 0.0), 1.0)
        if self.log:
            value = math.exp(math.log(self.low) + unit * math.log(self.high / self.low))
        else:
            value = self.low + unit * (self.high - self.low)
        if self.step is not None:
            top = math.floor((self.high - self.low) / self.step * (1 + _REL_TOLERANCE))
            value = self.low + min(round((value - self.low) / self.step), top) * self.step
        return min(max(value, self.low), self.high)

    def sample(self, rng: np.random.Generator) -> float:
        """Draw uniformly (on the logarithm when `log`) among the legal values."""
        if self.step is not None:
            top = math.floor((self.high - self.low) / self.step * (1 + _REL_TOLERANCE))
            return min(self.low + int(rng.integers(0, top + 1)) * self.step, self.high)
        return self.from_unit(rng.random())

    def grid(self) -> tuple[float, ...]:
        """All legal values in order; only for parameters with `num_levels`."""
        levels, step = _levels_or_raise(self.num_levels), self.step or 0.0
        return tuple(min(self.low + i * step, self.high) for i in range(levels))


@dataclass(frozen=True)
class Int:
    """A whole number in [low, high].

    Attributes:
        low: Smallest legal value.
        high: Largest legal value, at least `low`.
        log: Search on a logarithmic scale; needs `low` > 0.
        step: Distance between legal values, counted from `low`.
        when: Condition under which the parameter is active.
        description: Free text the model reads.

    Raises:
        SearchSpaceError: The bounds, scale or step are impossible.
    """

    low: int
    high: int
    log: bool = False
    step: int = 1
    when: Condition | None = None
    description: str = ""

    def __post_init__(self) -> None:
        for field in ("low", "high", "step"):
            object.__setattr__(self, field, _whole(field, getattr(self, field)))
        _check_bounds(self.low, self.high, self.log)
        if not 1 <= self.step <= self.high - self.low:
            raise SearchSpaceError(
                f"step must be in [1, high - low = {self.high - self.low}], got {self.step}"
            )
        if self.log and self.step != 1:
            raise SearchSpaceError("step and log cannot be combined; leave one out")
        object.__setattr__(self, "when", _frozen_condition(self.when))

    @property
    def num_levels(self) -> int | None:
        """Number of legal values, None when there are too many to list."""
        levels = (self.high - self.low) // self.step + 1
        return levels if levels <= _GRID_LIMIT else None

    def validate(self, value: Value) -> int:
        """Return the value as an int; raises `SearchSpaceError` when it is not legal."""
        number = _whole("value", value)
        if not self.low <= number <= self.high:
            raise SearchSpaceError(f"expected an int in [{self.low}, {self.high}], got {value!r}")
        if (number - self.low) % self.step:
            raise SearchSpaceError(
                f"expected {self.low} plus a multiple of {self.step}, got {value!r}"
            )
        return number

    def to_unit(self, value: Value) -> float:
        """Map a legal value to [0, 1], on the logarithm when `log`."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return float((value - self.low) / (self.high - self.low))

    def from_unit(self, unit: float) -> int:
        """Map [0, 1] to the nearest legal value."""
        unit = min(max(float(unit), 0.0), 1.0)
        if self.log:
            value = math.exp(math.log(self.low) + unit * math.log(self.high / self.low))
        else:
            value = self.low + unit * (self.high - self.low)
        top = (self.high - self.low) // self.step
        return self.low + min(max(round((value - self.low) / self.step), 0), top) * self.step

    def sample(self, rng: np.random.Generator) -> int:
        """Draw among the legal values, uniformly, or uniformly on the logarithm when `log`."""
        if self.log:
            low, high = math.log(self.low - 0.5), math.log(self.high + 0.5)
            value = round(math.exp(low + (high - low) * rng.random()))
            return min(max(value, self.low), self.high)
        top = (self.high - self.low) // self.step
        return self.low + int(rng.integers(0, top + 1)) * self.step

    def grid(self) -> tuple[int, ...]:
        """All legal values in order; only for parameters with `num_levels`."""
        _levels_or_raise(self.num_levels)
        return tuple(range(self.low, self.high + 1, self.step))


@dataclass(frozen=True)
class _Choices:
    """What `Categorical` and `Ordinal` share: a list of distinct values."""

    choices: Sequence[Value]
    when: Condition | None = None
    description: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.choices, str) or not isinstance(self.choices, Sequence):
            raise SearchSpaceError(
                f"choices must be a list of values, got {type(self.choices).__name__}"
            )
        choices = tuple(_plain(value) for value in self.choices)
        if not choices:
            raise SearchSpaceError("choices must hold at least one value, got none")
        keys = [_key(value) for value in choices]
        for i, value in enumerate(choices):
            if keys[i] in keys[:i]:
                raise SearchSpaceError(f"choices must differ, got {value!r} more than once")
        object.__setattr__(self, "choices", choices)
        object.__setattr__(self, "when", _frozen_condition(self.when))

    @property
    def num_levels(self) -> int:
        """Number of choices."""
        return len(self.choices)

    def index(self, value: Value) -> int:
        """Position of a value in `choices`; raises `SearchSpaceError` when it is not there."""
        try:
            return [_key(choice) for choice in self.choices].index(_key(_plain(value)))
        except ValueError:
            raise SearchSpaceError(
                f"expected one of {list(self.choices)!r}, got {value!r}"
            ) from None

    def validate(self, value: Value) -> Value:
        """Return the choice equal to the value; raises `SearchSpaceError` when there is none."""
        return self.choices[self.index(value)]

    def sample(self, rng: np.random.Generator) -> Value:
        """Draw uniformly among the choices."""
        return self.choices[int(rng.integers(len(self.choices)))]

    def grid(self) -> tuple[Value, ...]:
        """All choices in order."""
        return tuple(self.choices)


@dataclass(frozen=True)
class Categorical(_Choices):
    """One of several values without an order.

    Attributes:
        choices: Distinct values (str, int, float, bool or None).
        when: Condition under which the parameter is active.
        description: Free text the model reads.

    Raises:
        SearchSpaceError: `choices` is empty, not a list, or repeats a value.
    """


@dataclass(frozen=True)
class Ordinal(_Choices):
    """One of several values in a meaningful order, such as `[16, 32, 64]` or `["s", "m", "l"]`.

    Attributes:
        choices: Distinct values in their order.
        when: Condition under which the parameter is active.
        description: Free text the model reads.

    Raises:
        SearchSpaceError: `choices` is empty, not a list, or repeats a value.
    """

    def to_unit(self, value: Value) -> float:
        """Map a choice to its rank in [0, 1]; 0.5 when there is only one."""
        if len(self.choices) == 1:
            return 0.5
        return self.index(value) / (len(self.choices) - 1)

    def from_unit(self, unit: float) -> Value:
        """Map [0, 1] to the choice of the nearest rank."""
        unit = min(max(float(unit), 0.0), 1.0)
        return self.choices[round(unit * (len(self.choices) - 1))]


Parameter: TypeAlias = Float | Int | Categorical | Ordinal
Numeric: TypeAlias = Float | Int | Ordinal
"""Parameters with an order: their values lie on the unit interval."""


def _check_bounds(low: float, high: float, log: bool) -> None:
    if low >= high:
        raise SearchSpaceError(f"low must be below high, got low={low} and high={high}")
    if log and low <= 0:
        raise SearchSpaceError(f"log needs low above 0, got low={low}; raise low or drop log")


def _number(field: str, value: Value) -> float:
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise SearchSpaceError(f"{field} must be a number, got {value!r}")
    number = float(value)
    if not math.isfinite(number):
        raise SearchSpaceError(f"{field} must be finite, got {value!r}")
    return number


def _whole(field: str, value: Value) -> int:
    number = _number(field, value)
    if number != int(number):
        raise SearchSpaceError(f"{field} must be a whole number, got {value!r}")
    return int(value)


def _plain(value: Value) -> Value:
    """A choice as a built-in Python value."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is not None and not isinstance(value, str | bool | int | float):
        raise SearchSpaceError(
            f"a choice must be a str, bool, int, float or None, got {type(value).__name__}"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise SearchSpaceError(f"a choice must be finite, got {value!r}")
    return value


def _key(value: Value) -> tuple[bool, Value]:
    """Equality that tells True from 1, but not 1 from 1.0."""
    return isinstance(value, bool), value


def _levels_or_raise(levels: int | None) -> int:
    if levels is None:
        raise SearchSpaceError("a continuous parameter has no grid; give it a step")
    return levels


def _frozen_condition(when: Condition | None) -> dict[str, tuple[Value, ...]] | None:
    if when is None:
        return None
    if not isinstance(when, Mapping) or not when:
        raise SearchSpaceError(f"when must map a parameter to a list of its values, got {when!r}")
    frozen: dict[str, tuple[Value, ...]] = {}
    for parent, values in when.items():
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise SearchSpaceError(
                f"when[{parent!r}] must be a list of values of {parent!r}, got {values!r}"
            )
        frozen[str(parent)] = tuple(_plain(value) for value in values)
    return frozen
