"""Parameter types: what values are legal, and where each lies on the unit interval."""

from __future__ import annotations

import math
import numbers
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from optformer.data.studies.errors import ConfigError, SearchSpaceError

Value: TypeAlias = Any
"""A parameter's value: float, int, str, bool or None, as the user wrote it."""

Condition: TypeAlias = Mapping[str, Sequence[Value]]
"""Parent name to the parent values under which a child is active (all parents must agree)."""

_GRID_LIMIT = 1_000_000  # a numeric parameter with more levels than this counts as continuous
_REL_TOLERANCE = 1e-9  # round-off allowed on bounds and on the step grid
_FEWEST_FLOATS = 2**20  # in a range: fewer would repeat as if they were a continuum
_EXACT = 2**53  # whole numbers up to here are exact as floats, which the unit interval needs


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
    when: Condition | None = field(default=None, hash=False)
    description: str = ""

    def __post_init__(self) -> None:
        low, high = _number("low", self.low), _number("high", self.high)
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)
        _check_bounds(low, high, self.log)
        if (high - low) / math.ulp(max(abs(low), abs(high))) < _FEWEST_FLOATS:
            raise SearchSpaceError(
                f"low={low} and high={high} are so close that few floats lie between; search the "
                "distance from one of them"
            )
        _check_text(self.description)
        if self.step is not None:
            if self.log:
                raise SearchSpaceError("step and log cannot be combined; leave one out")
            step = _number("step", self.step)
            # A step that binary fractions miss may be the width: 0.1 to 0.3 by 0.2.
            if _levels_above(low, high, step) < 1:
                raise SearchSpaceError(
                    f"step must be above 0 and at most high - low = {high - low}, got {step}"
                )
            if (high - low) / step > _EXACT:
                raise SearchSpaceError(
                    f"step {step} is too small for {low} to {high}; leave it out"
                )
            object.__setattr__(self, "step", step)
        object.__setattr__(self, "when", _frozen_condition(self.when))

    @property
    def num_levels(self) -> int | None:
        """Number of legal values, None when there is a continuum of them."""
        if self.step is None:
            return None
        levels = self.top_level + 1
        return levels if levels <= _GRID_LIMIT else None

    @property
    def top_level(self) -> int:
        """Number of the highest level, counted from 0 at `low`; only with a step.

        Raises:
            SearchSpaceError: There is no step.
        """
        if self.step is None:
            raise SearchSpaceError("a continuous parameter has no levels; give it a step")
        return _levels_above(self.low, self.high, self.step)

    def validate(self, value: Value) -> float:
        """Return the value as a float, on the step grid when there is one.

        Raises:
            SearchSpaceError: The value is not a number, out of bounds or off the step grid.
        """
        number = _number("value", value)
        # Relative to each bound, which is absolute on the logarithm. None at zero.
        low = self.low - _REL_TOLERANCE * abs(self.low)
        high = self.high + _REL_TOLERANCE * abs(self.high)
        if not low <= number <= high:
            raise SearchSpaceError(f"expected a float in [{self.low}, {self.high}], got {value!r}")
        if self.step is not None:
            offset = (number - self.low) / self.step
            if abs(offset - round(offset)) > 1e-6 or round(offset) > self.top_level:
                raise SearchSpaceError(
                    f"expected {self.low} plus a multiple of {self.step}, got {value!r}"
                )
            return self._level(round(offset), self.step)
        return min(max(number, self.low), self.high)

    def to_unit(self, value: Value) -> float:
        """Map a legal value to [0, 1], on the logarithm when `log`."""
        return _to_unit(value, self.low, self.high, self.log)

    def from_unit(self, unit: float) -> float:
        """Map [0, 1] to the nearest legal value."""
        value = _from_unit(unit, self.low, self.high, self.log)
        if self.step is not None:
            level = min(round((value - self.low) / self.step), self.top_level)
            return self._level(level, self.step)
        return min(max(value, self.low), self.high)

    def sample(self, rng: np.random.Generator) -> float:
        """Draw uniformly (on the logarithm when `log`) among the legal values."""
        if self.step is not None:
            return self._level(int(rng.integers(self.top_level + 1)), self.step)
        return self.from_unit(rng.random())

    def grid(self) -> tuple[float, ...]:
        """All legal values in order; only for parameters with `num_levels`.

        Raises:
            SearchSpaceError: There is no step, or the steps are too many to list.
        """
        levels = self.num_levels
        if self.step is None or levels is None:
            raise SearchSpaceError("a continuous parameter has no grid; give it a coarser step")
        return tuple(self._level(level, self.step) for level in range(levels))

    def _level(self, level: int, step: float) -> float:
        """The one spelling of a legal value: 0.3, never 0.30000000000000004."""
        value = self.low + level * step
        short = float(f"{value:.15g}")
        if level and abs(short - value) <= 4 * math.ulp(max(abs(self.low), abs(self.high))):
            value = short
        return min(max(value, self.low), self.high)


@dataclass(frozen=True)
class Int:
    """A whole number in [low, high].

    Attributes:
        low: Smallest legal value.
        high: Largest legal value, above `low`.
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
    when: Condition | None = field(default=None, hash=False)
    description: str = ""

    def __post_init__(self) -> None:
        for name in ("low", "high", "step"):
            object.__setattr__(self, name, _whole(name, getattr(self, name)))
        _check_bounds(self.low, self.high, self.log)
        _check_text(self.description)
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
        levels = self.top_level + 1
        return levels if levels <= _GRID_LIMIT else None

    @property
    def top_level(self) -> int:
        """Number of the highest level, counted from 0 at `low`."""
        return (self.high - self.low) // self.step

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
        return _to_unit(value, self.low, self.high, self.log)

    def from_unit(self, unit: float) -> int:
        """Map [0, 1] to the nearest legal value."""
        value = _from_unit(unit, self.low, self.high, self.log)
        level = min(max(round((value - self.low) / self.step), 0), self.top_level)
        return self.low + level * self.step

    def sample(self, rng: np.random.Generator) -> int:
        """Draw among the legal values, uniformly, or uniformly on the logarithm when `log`."""
        if self.log:
            low, high = math.log(self.low - 0.5), math.log(self.high + 0.5)
            value = round(math.exp(low + (high - low) * rng.random()))
            return min(max(value, self.low), self.high)
        return self.low + int(rng.integers(self.top_level + 1)) * self.step

    def grid(self) -> tuple[int, ...]:
        """All legal values in order; only for parameters with `num_levels`.

        Raises:
            SearchSpaceError: The values are too many to list.
        """
        if self.num_levels is None:
            raise SearchSpaceError("the whole numbers are too many for a grid; give a coarser step")
        return tuple(range(self.low, self.high + 1, self.step))


@dataclass(frozen=True, eq=False)
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
        seen = set()
        for value in choices:
            if _key(value) in seen:
                raise SearchSpaceError(f"choices must differ, got {value!r} more than once")
            seen.add(_key(value))
        _check_text(self.description)
        object.__setattr__(self, "choices", choices)
        object.__setattr__(self, "when", _frozen_condition(self.when))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Choices):
            return NotImplemented
        return self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity[:2])

    @property
    def num_levels(self) -> int:
        """Number of choices."""
        return len(self.choices)

    def index(self, value: Value) -> int:
        """Position of a value in `choices`; raises `SearchSpaceError` when it is not there."""
        try:
            return self._positions[_key(_plain(value))]
        except (KeyError, SearchSpaceError):
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

    @cached_property
    def _positions(self) -> dict[tuple[bool, Value], int]:
        return {_key(choice): i for i, choice in enumerate(self.choices)}

    @property
    def _identity(self) -> tuple[Any, ...]:
        """What equality compares: 1, 1.0 and True read differently, so they are different."""
        typed = tuple((type(choice), choice) for choice in self.choices)
        return type(self), typed, self.when, self.description


@dataclass(frozen=True, eq=False)
class Categorical(_Choices):
    """One of several values without an order.

    Attributes:
        choices: Distinct values (str, int, float, bool or None).
        when: Condition under which the parameter is active.
        description: Free text the model reads.

    Raises:
        SearchSpaceError: `choices` is empty, not a list, or repeats a value.
    """


@dataclass(frozen=True, eq=False)
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


def is_whole(value: object) -> bool:
    """Whether something is a whole number, of NumPy's kinds too, and no truth value."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def check_count(name: str, value: int) -> None:
    """Raise `ConfigError` when a number is no whole one of at least 0."""
    if not is_whole(value) or value < 0:
        raise ConfigError(f"{name} must be a whole number of at least 0, got {value!r}")


def _to_unit(value: float, low: float, high: float, log: bool) -> float:
    if log:
        # Differences of logarithms: the ratio of two floats may overflow.
        return (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))
    return float((value - low) / (high - low))


def _from_unit(unit: float, low: float, high: float, log: bool) -> float:
    unit = min(max(float(unit), 0.0), 1.0)
    if unit in (0.0, 1.0):
        return high if unit else low  # exp(log(x)) would miss the bound by a little
    if log:
        return math.exp(math.log(low) + unit * (math.log(high) - math.log(low)))
    return low + unit * (high - low)


def _levels_above(low: float, high: float, step: float) -> int:
    """How many steps fit above `low`, up to round-off of less than a thousandth of a step."""
    steps = (high - low) / step if step > 0 else 0.0
    if not math.isfinite(steps):  # a step that vanishes beside the width is none
        return 0
    return math.floor(steps + min(_REL_TOLERANCE * steps, 1e-3))


def _check_bounds(low: float, high: float, log: bool) -> None:
    if low >= high:
        raise SearchSpaceError(
            f"low must be below high, got low={low} and high={high}; "
            "a single value is a Categorical with one choice"
        )
    if not math.isfinite(high - low):
        raise SearchSpaceError(f"low and high are too far apart, got low={low} and high={high}")
    if not isinstance(log, bool):
        raise SearchSpaceError(f"log must be true or false, got {log!r}")
    if log and low <= 0:
        raise SearchSpaceError(f"log needs low above 0, got low={low}; raise low or drop log")


def _check_text(description: Value) -> None:
    if not isinstance(description, str):
        raise SearchSpaceError(f"description must be text, got {description!r}")


def _number(what: str, value: Value) -> float:
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise SearchSpaceError(f"{what} must be a number, got {value!r}")
    try:
        number = float(value)
    except OverflowError:
        raise SearchSpaceError(f"{what} must be finite, got one above 1e308") from None
    if not math.isfinite(number):
        raise SearchSpaceError(f"{what} must be finite, got {value!r}")
    return number


def _whole(what: str, value: Value) -> int:
    number = _number(what, value)
    if number != int(number):
        raise SearchSpaceError(f"{what} must be a whole number, got {value!r}")
    if abs(number) > _EXACT:
        raise SearchSpaceError(f"{what} must be within 2**53 of zero, got {value!r}")
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
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        raise SearchSpaceError("a choice must be below 1e308, got a larger whole number")
    return value


def _key(value: Value) -> tuple[bool, Value]:
    """Equality that tells True from 1, but not 1 from 1.0."""
    return isinstance(value, bool), value


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
