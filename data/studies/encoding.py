"""Values and points of a search space as numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from optformer.data.studies.parameters import Categorical, Parameter, Value
from optformer.data.studies.spaces import SearchSpace


def encode_value(parameter: Parameter, value: Value) -> float:
    """A legal value as a number: its place on the unit interval, or the index of its choice."""
    if isinstance(parameter, Categorical):
        return float(parameter.index(value))
    return parameter.to_unit(value)


def decode_value(parameter: Parameter, number: float) -> Value:
    """The legal value nearest to a number that `encode_value` could give."""
    if isinstance(parameter, Categorical):
        return parameter.choices[round(number)]
    return parameter.from_unit(number)


def encode_point(space: SearchSpace, point: Mapping[str, Value]) -> NDArray[np.float64]:
    """A legal point as numbers, shape (P,); NaN where a parameter is inactive."""
    return np.array(
        [
            encode_value(parameter, point[name]) if name in point else math.nan
            for name, parameter in space.items()
        ]
    )
