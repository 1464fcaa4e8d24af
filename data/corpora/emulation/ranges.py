"""Other ranges and grids of a parameter, so that functions of one table live on many spaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from optformer.data.studies.parameters import Float, Int, Numeric, Ordinal, Value

LEAST_WIDTH = 0.25  # of a narrowed range, on the unit interval
LEVELS = (3, 10)  # fewest and most values of a list
_DIGITS = 3  # significant digits of bounds and listed values
_OFF_GRID = 0.03  # a listed value may lie so far from its even place


def narrow(parameter: Numeric, rng: np.random.Generator) -> Numeric:
    """The parameter on a random part of its range, with bounds an engineer might write.

    Args:
        parameter: A number or an ordered list. One with a step, or a part without two values,
            stays as it is.
        rng: Source of randomness.
    """
    width = rng.uniform(LEAST_WIDTH, 1.0)
    start = rng.uniform(0.0, 1.0 - width)
    ends = [parameter.from_unit(start), parameter.from_unit(start + width)]
    if isinstance(parameter, Ordinal):
        first, last = (parameter.index(end) for end in ends)
        kept = parameter.choices[first : last + 1]
        return replace(parameter, choices=kept) if len(kept) > 1 else parameter
    if parameter.step not in (None, 1):
        return parameter
    low, high = (min(max(_short(end), parameter.low), parameter.high) for end in ends)
    return replace(parameter, low=low, high=high) if low < high else parameter


def as_list(parameter: Numeric, rng: np.random.Generator) -> Numeric:
    """The parameter as an ordered list of values, evenly spread over its range.

    Args:
        parameter: A number; ordered lists, and ranges with too few values, stay as they are.
        rng: Source of randomness.
    """
    if isinstance(parameter, Ordinal):
        return parameter
    places = np.linspace(0.0, 1.0, int(rng.integers(LEVELS[0], LEVELS[1] + 1)))
    values = [_short(parameter.from_unit(place)) for place in places]
    values = [min(max(value, parameter.low), parameter.high) for value in values]
    if len(set(values)) < len(values) or _off(parameter, values, places) > _OFF_GRID:
        return parameter
    return Ordinal(values, when=parameter.when, description=parameter.description)


def span_of(part: Numeric, whole: Numeric) -> tuple[float, float]:
    """Where a parameter's unit interval begins and ends on the unit interval of a wider one."""
    low, high = (part.from_unit(end) for end in (0.0, 1.0))
    return whole.to_unit(low), whole.to_unit(high)


def _short(value: Value) -> Value:
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def _off(parameter: Float | Int, values: Sequence[Value], places: np.ndarray) -> float:
    units = np.array([parameter.to_unit(value) for value in values])
    return float(np.abs(units - places).max())
