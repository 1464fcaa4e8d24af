"""Samples of Gaussian processes on the unit cube, smooth and rough, in 1 to 8 dimensions.

A sample is a sum of random Fourier features (Rahimi and Recht 2007): with R features of the
kernel's own frequencies and normal weights, its covariance is the kernel's up to an error of order
1 / sqrt(R). Every axis has a length scale of its own, longer in more dimensions.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from optformer.data.objectives.base import Objective
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Float, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig

Array = NDArray[np.float64]

_FREEDOM = {"rbf": math.inf, "matern52": 5.0, "matern32": 3.0}
"""Degrees of freedom of the Student-t distribution that a kernel's frequencies follow."""

_FEATURES = 256
_LENGTH_SCALES = 0.2, 0.8  # times the square root of the dimension, log-uniform
_SCAN, _CLIMBS = 2**13, 128  # quasi-random points looked at for the optimum, climbs from the best

NAMES = tuple(f"{kernel}-d{d}" for d in range(1, 9) for kernel in _FREEDOM)
"""The suite: one sample of each kernel in each dimension."""


@dataclass(frozen=True)
class Sample:
    """A function on the unit cube: `weights @ cos(frequencies @ x + phases)`.

    Attributes:
        frequencies: Shape (R, D).
        phases: Shape (R,).
        weights: Shape (R,), of squared sum about 2.
    """

    frequencies: Array
    phases: Array
    weights: Array

    def __call__(self, points: Array) -> Array:
        """Values at points of shape (N, D); shape (N,)."""
        values: Array = np.cos(points @ self.frequencies.T + self.phases) @ self.weights
        return values

    def gradient(self, point: Array) -> Array:
        """Gradient at one point of shape (D,); shape (D,)."""
        slope = -np.sin(self.frequencies @ point + self.phases) * self.weights
        gradient: Array = slope @ self.frequencies
        return gradient


def gp_objective(name: str) -> Objective:
    """One sample of the suite, to be maximized over [0, 1] in every dimension.

    The optimum is the best of 8,192 quasi-random points and of 128 gradient climbs from the best of
    them: exact for all we know in low dimensions, a close lower bound in high ones.

    Args:
        name: One of `NAMES`, such as `matern52-d3`.

    Raises:
        ConfigError: The name is not one of them.
    """
    if name not in NAMES:
        raise ConfigError(f"unknown Gaussian process sample {name!r}; known are {list(NAMES)}")
    dimension = int(name.rpartition("d")[2])
    space = SearchSpace({f"x{i + 1}": Float(0.0, 1.0) for i in range(dimension)})
    metadata = {
        "task": "maximization of a test function",
        "dataset": "sample of a Gaussian process",
        "model": f"{name.partition('-')[0]} kernel",
        "dimensions": str(dimension),
    }
    return Objective(
        name=name,
        config=StudyConfig(space, "function value", "maximize", metadata),
        function=partial(_evaluate, name),
        reserved=True,
        optimum=_optimum(name),
    )


def _evaluate(name: str, params: Mapping[str, Value]) -> float:
    return float(_sample(name)(np.array([list(params.values())]))[0])


@cache
def _sample(name: str) -> Sample:
    kernel, _, dimension = name.partition("-d")
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    low, high = np.log(_LENGTH_SCALES)
    scales = np.exp(rng.uniform(low, high, int(dimension))) * math.sqrt(int(dimension))
    return draw_sample(kernel, scales, rng)


def draw_sample(kernel: str, length_scales: Array, rng: np.random.Generator) -> Sample:
    """Draw a function from a Gaussian process of mean 0 and variance 1.

    Args:
        kernel: "rbf", "matern52" or "matern32".
        length_scales: One an axis, shape (D,).
        rng: Source of randomness.
    """
    frequencies = rng.standard_normal((_FEATURES, len(length_scales))) / length_scales
    freedom = _FREEDOM[kernel]
    if math.isfinite(freedom):
        frequencies *= np.sqrt(freedom / rng.chisquare(freedom, (_FEATURES, 1)))
    return Sample(
        frequencies=frequencies,
        phases=rng.uniform(0.0, 2 * math.pi, _FEATURES),
        weights=rng.standard_normal(_FEATURES) * math.sqrt(2 / _FEATURES),
    )


@cache
def _optimum(name: str) -> float:
    from scipy import optimize
    from scipy.stats import qmc

    sample = _sample(name)
    dimension = sample.frequencies.shape[1]
    points = qmc.Sobol(dimension, rng=0).random(_SCAN)
    values = np.concatenate([sample(part) for part in np.array_split(points, 16)])
    best = float(values.max())
    for start in np.argsort(values)[-_CLIMBS:]:
        climb = optimize.minimize(
            partial(_downhill, sample),
            points[start],
            jac=True,
            method="L-BFGS-B",
            bounds=[(0.0, 1.0)] * dimension,
        )
        best = max(best, -float(climb.fun))
    return best


def _downhill(sample: Sample, point: Array) -> tuple[float, Array]:
    """What a minimizer needs: minus the value, and its gradient."""
    return -float(sample(point[None])[0]), -sample.gradient(point)
