"""Functions of two peaks far apart: a broad one, and a narrow one that is higher.

A search that refines the first good region it finds ends on the broad peak.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from optformer.data.objectives.base import Objective
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Float, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig

Array = NDArray[np.float64]

BROAD, NARROW = 0.3, 0.1  # widths of the peaks, as root mean square distances
LOWER = 0.8  # height of the broad peak; the narrow one's is 1
APART = 0.4  # least distance of the peaks on each axis

NAMES = tuple(f"modes-d{d}-i{i}" for d in (2, 3, 4, 6, 8, 12) for i in (1, 2, 3))
"""The suite: three functions in each dimension."""


def modes_objective(name: str) -> Objective:
    """A function of the suite, to be maximized over [0, 1] in every dimension.

    Args:
        name: One of `NAMES`, such as `modes-d4-i2`.

    Raises:
        ConfigError: The name is not one of them.
    """
    if name not in NAMES:
        raise ConfigError(f"unknown function {name!r}; known are {list(NAMES)}")
    dimension = int(name.split("-")[1][1:])
    space = SearchSpace({f"x{i + 1}": Float(0.0, 1.0) for i in range(dimension)})
    metadata = {"task": "maximization of a test function", "dimensions": str(dimension)}
    broad, narrow = _peaks(zlib.crc32(name.encode()), dimension)
    return Objective(
        name=name,
        config=StudyConfig(space, "function value", "maximize", metadata),
        function=partial(_evaluate, broad, narrow),
        reserved=True,
        optimum=max(1.0, LOWER * _bump(narrow, broad, BROAD)),
    )


def _peaks(seed: int, dimension: int) -> tuple[Array, Array]:
    """Where the broad and the narrow peak stand, (D,) each."""
    rng = np.random.default_rng(seed)
    low, apart = 0.1, rng.uniform(APART, 0.6, dimension)
    below = rng.uniform(low, 1 - low - apart)
    swapped = rng.random(dimension) < 0.5
    first, second = below, below + apart
    return np.where(swapped, first, second), np.where(swapped, second, first)


def _evaluate(broad: Array, narrow: Array, params: Mapping[str, Value]) -> float:
    point = np.array(list(params.values()), dtype=float)
    return max(LOWER * _bump(point, broad, BROAD), _bump(point, narrow, NARROW))


def _bump(point: Array, center: Array, width: float) -> float:
    return float(np.exp(-np.mean((point - center) ** 2) / (2 * width**2)))
