"""The 24 noiseless functions of BBOB (Hansen et al. 2009, 2021), through coco-experiment.

A name such as `f03-d05-i01` says function, dimension and instance; the instance seeds the shift of
the optimum, the rotations and the offset of the values. Values are the functions' own, offset
included: on a logarithm of the distance to the optimum the best value would be minus infinity, and
a method would be handed a scale that no user has. The optimum is the library's exact one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, partial
from typing import Any

import numpy as np

from optformer.data.objectives.base import Objective
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.extras import importing
from optformer.data.studies.parameters import Float, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig

FUNCTIONS = (
    "sphere",
    "separable ellipsoid",
    "separable Rastrigin",
    "Büche-Rastrigin",
    "linear slope",
    "attractive sector",
    "step ellipsoid",
    "Rosenbrock",
    "rotated Rosenbrock",
    "rotated ellipsoid",
    "discus",
    "bent cigar",
    "sharp ridge",
    "different powers",
    "rotated Rastrigin",
    "Weierstrass",
    "Schaffers F7",
    "ill-conditioned Schaffers F7",
    "composite Griewank-Rosenbrock",
    "Schwefel",
    "Gallagher's 101 peaks",
    "Gallagher's 21 peaks",
    "Katsuura",
    "Lunacek bi-Rastrigin",
)
"""The functions' names; function number n is the n-th, from 1."""


def _name(function: int, dimension: int, instance: int) -> str:
    return f"f{function:02}-d{dimension:02}-i{instance:02}"


NAMES = tuple(_name(f, d, 1) for d in (2, 5, 10) for f in range(1, len(FUNCTIONS) + 1))
"""The suite: every function in 2, 5 and 10 dimensions, instance 1."""

DEV_NAMES = tuple(_name(f, d, 2) for d in (2, 5) for f in (3, 8, 10, 15, 17, 21))
"""For development: six functions from all five groups in 2 and 5 dimensions, instance 2."""

_PATTERN = re.compile(r"f(\d\d)-d(\d\d)-i(\d\d)")


def bbob_objective(name: str) -> Objective:
    """One function of BBOB on [-5, 5] in every dimension, to be minimized.

    Args:
        name: Such as `f03-d05-i01`: function 1 to 24, dimension from 2, instance from 1.

    Raises:
        ConfigError: The name does not say such a function.
        MissingExtraError: coco-experiment is not installed.
    """
    match = _PATTERN.fullmatch(name)
    function, dimension, instance = map(int, match.groups()) if match else (0, 0, 0)
    if not 1 <= function <= len(FUNCTIONS) or dimension < 2 or instance < 1:
        raise ConfigError(
            "a BBOB function is called f<1 to 24>-d<dimension>-i<instance> in two digits each, "
            f"such as f03-d05-i01, got {name!r}"
        )
    space = SearchSpace({f"x{i + 1}": Float(-5.0, 5.0) for i in range(dimension)})
    metadata = {
        "task": "minimization of a test function",
        "dataset": f"BBOB, instance {instance}",
        "model": f"function {function}, {FUNCTIONS[function - 1]}",
        "dimensions": str(dimension),
    }
    optimum = _problem(function, dimension, instance).best_value()
    return Objective(
        name=name,
        config=StudyConfig(space, "function value", "minimize", metadata),
        function=partial(_evaluate, function, dimension, instance),
        reserved=True,
        optimum=float(optimum),
    )


def _evaluate(function: int, dimension: int, instance: int, params: Mapping[str, Value]) -> float:
    point = np.array([params[f"x{i + 1}"] for i in range(dimension)])
    return float(_problem(function, dimension, instance)(point))


@cache
def _problem(function: int, dimension: int, instance: int) -> Any:
    with importing("BBOB", "coco-experiment"):
        import cocoex
    return cocoex.BareProblem("bbob", function, dimension, instance)
