"""Explore: new hyperparameters from old ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args

import numpy as np

from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Parameter, Value
from optformer.data.studies.study_config import StudyConfig

Explore: TypeAlias = Literal["perturb", "resample"]

FACTORS = (0.8, 1.2)
"""What `perturb` multiplies by, one of the two with equal probability."""

REDRAW = 0.25
"""Probability that `perturb` draws a categorical anew, which has no neighbours."""


def explore(
    how: Explore, config: StudyConfig, params: Mapping[str, Value], rng: np.random.Generator
) -> dict[str, Value]:
    """Hyperparameters to go on with after weights and hyperparameters were copied.

    Args:
        how: "perturb" multiplies every number by 0.8 or 1.2, cut to its range; whole numbers and
            stepped ones move by one level at least, ordinals by one rank, and a categorical is
            drawn anew with probability 1/4. "resample" draws everything anew from the space.
        config: The study; its fixed values are kept.
        params: The copied hyperparameters, a legal point.
        rng: Source of randomness.
    """
    if how == "resample":
        return config.space.sample(rng, config.fixed)
    moved = {
        name: value if name in config.fixed else _perturb(config.space[name], value, rng)
        for name, value in params.items()
    }
    return config.space.repair(moved, rng)


def check_explore(how: str) -> None:
    """Raise `ConfigError` unless it is a known way to explore."""
    if how not in get_args(Explore):
        raise ConfigError(f"explore must be one of {list(get_args(Explore))}, got {how!r}")


def _perturb(parameter: Parameter, value: Value, rng: np.random.Generator) -> Value:
    if isinstance(parameter, Categorical):
        return parameter.sample(rng) if rng.random() < REDRAW else value
    factor = FACTORS[int(rng.integers(2))]
    if isinstance(parameter, Ordinal):
        rank = parameter.index(value) + (1 if factor > 1 else -1)
        return parameter.choices[min(max(rank, 0), len(parameter.choices) - 1)]
    nearest = _nearest(parameter, value * factor)
    level = parameter.step
    if nearest != value or level is None:
        return nearest
    return _nearest(parameter, value + level if factor > 1 else value - level)


def _nearest(parameter: Float | Int, target: float) -> Value:
    """The legal value nearest to a number."""
    inside = min(max(target, parameter.low), parameter.high)
    if isinstance(parameter, Float) and parameter.step is None:
        return inside
    return parameter.from_unit(parameter.to_unit(inside))
