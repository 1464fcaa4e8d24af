"""Random changes of a study that keep its meaning, for training.

A model that sees the same study under other orders or without names learns what a study means, not
how it was written down. Every function takes an explicit generator and returns new objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from optformer.data.studies.parameters import Categorical, Parameter
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.tokenization.history import Points, ValueKind

_T = TypeVar("_T")


def permute_parameters(
    config: StudyConfig, trials: Sequence[Trial], rng: np.random.Generator
) -> tuple[StudyConfig, list[Trial]]:
    """Put the parameters in a random order, parents before children."""
    waiting = [config.space.names[i] for i in rng.permutation(len(config.space))]
    order: list[str] = []
    while waiting:
        ready = next(
            name
            for name in waiting
            if all(parent in order for parent in config.space[name].when or {})
        )
        waiting.remove(ready)
        order.append(ready)
    space = SearchSpace({name: config.space[name] for name in order})
    fixed = {name: config.fixed[name] for name in order if name in config.fixed}
    changed = [
        replace(trial, params={name: trial.params[name] for name in order if name in trial.params})
        for trial in trials
    ]
    return replace(config, space=space, fixed=fixed), changed


def permute_choices(config: StudyConfig, rng: np.random.Generator) -> StudyConfig:
    """Put the choices of every `Categorical` in a random order; trials stay as they are."""
    parameters: dict[str, Parameter] = {}
    for name, parameter in config.space.items():
        if isinstance(parameter, Categorical):
            order = rng.permutation(len(parameter.choices))
            parameter = replace(parameter, choices=[parameter.choices[i] for i in order])
        parameters[name] = parameter
    return replace(config, space=SearchSpace(parameters))


def drop_names(
    config: StudyConfig,
    trials: Sequence[Trial],
    rng: np.random.Generator,
    probability: float,
) -> tuple[StudyConfig, list[Trial]]:
    """Replace names, each with a probability, by neutral ones: `x3` for the fourth parameter.

    Conditions, fixed values and trials follow. A neutral name that the space uses already gets the
    next free number.
    """
    taken = set(config.space)
    renamed: dict[str, str] = {}
    for slot, name in enumerate(config.space):
        renamed[name] = name
        if rng.random() < probability:
            number = slot
            while f"x{number}" in taken:
                number += len(config.space)
            renamed[name] = f"x{number}"
            taken.add(renamed[name])
    parameters: dict[str, Parameter] = {}
    for name, parameter in config.space.items():
        when = parameter.when and _renamed(parameter.when, renamed)
        parameters[renamed[name]] = replace(parameter, when=when)
    changed = [replace(trial, params=_renamed(trial.params, renamed)) for trial in trials]
    fixed = _renamed(config.fixed, renamed)
    return replace(config, space=SearchSpace(parameters), fixed=fixed), changed


def drop_descriptions(
    config: StudyConfig, rng: np.random.Generator, probability: float
) -> StudyConfig:
    """Remove the parameters' descriptions, each with a probability."""
    parameters: dict[str, Parameter] = {
        name: replace(parameter, description="") if rng.random() < probability else parameter
        for name, parameter in config.space.items()
    }
    return replace(config, space=SearchSpace(parameters))


def drop_metadata(config: StudyConfig, rng: np.random.Generator, probability: float) -> StudyConfig:
    """Remove entries of the study's metadata, each with a probability."""
    kept = {key: text for key, text in config.metadata.items() if rng.random() >= probability}
    return replace(config, metadata=kept)


def draw_flips(
    space: SearchSpace, rng: np.random.Generator, probability: float
) -> tuple[bool, ...]:
    """Which slots to mirror: numeric ones, each with a probability."""
    return tuple(
        bool(rng.random() < probability) and not isinstance(parameter, Categorical)
        for parameter in space.values()
    )


def flip_points(points: Points, flips: Sequence[bool]) -> Points:
    """Mirror the numbers of some slots on the unit interval: v becomes 1 - v.

    Applied twice it changes nothing but float32 rounding. Metadata still tells the bounds in their
    order, so flip axes whose names are dropped; `legality.legal_values(space, flips)` gives the
    bins.

    Args:
        points: Scaled points, [N, P].
        flips: Whether to mirror each of the P slots.
    """
    mirrored: NDArray[np.bool_] = np.asarray(flips, dtype=bool) & (points.kinds == ValueKind.NUMBER)
    values = np.where(mirrored, np.float32(1.0) - points.values, points.values)
    return Points(values, points.kinds)


def _renamed(mapping: Mapping[str, _T], names: Mapping[str, str]) -> dict[str, _T]:
    return {names[name]: value for name, value in mapping.items()}
