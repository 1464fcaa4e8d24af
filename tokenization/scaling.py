"""Numbers of a range on the unit interval, many at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from optformer.data.studies.parameters import Float, Int


def scale_numbers(parameter: Float | Int, numbers: ArrayLike) -> NDArray[np.float64]:
    """Map numbers to the unit interval, on the logarithm where declared.

    The same map as the parameter's `to_unit`, which takes one number.

    Args:
        parameter: Gives bounds and scale.
        numbers: Any shape; what lies outside the bounds lands outside [0, 1], or is NaN.

    Returns:
        float64, of the same shape.
    """
    values = np.asarray(numbers, dtype=np.float64)
    low, high = float(parameter.low), float(parameter.high)
    if parameter.log:
        with np.errstate(divide="ignore", invalid="ignore"):
            values, low, high = np.log(values), float(np.log(low)), float(np.log(high))
    scaled: NDArray[np.float64] = (values - low) / (high - low)
    return scaled
