"""Evolution strategies as search methods: trials by generation, spaces as unit cubes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from optformer.data.methods.base import check_count
from optformer.data.methods.points import (
    draw_or_move,
    from_uniform,
    sample_untried,
    to_uniform,
    tried_keys,
)
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Categorical, Value
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial

Array: TypeAlias = NDArray[np.float64]

_CHOSEN, _NOT_CHOSEN = 0.75, 0.25  # a choice, as far from the middle as the first deviation
_STEP_SIZE = 0.1  # of the steps away from a point that was tried


class Strategy(Protocol):
    """A search distribution over the unit cube of D dimensions."""

    @property
    def mean(self) -> Array:
        """Its centre, shape (D,)."""

    def ask(self) -> Array:
        """Draw a candidate, shape (D,), in [0, 1]."""

    def tell(self, points: Array, losses: Array) -> None:
        """Move by one generation: points (N, D) and losses (N,), smaller is better."""


class GenerationalMethod(ABC):
    """What evolution strategies share as search methods: they replay the history.

    Every `population` trials in the order of their numbers are a generation, whoever suggested
    them; generations that are complete move the distribution, and new points are drawn from where
    it stands. A trial without a value counts as the worst of its generation, and a generation
    without any value is skipped. Nothing is kept between calls.

    The search runs in a unit cube: a number or an ordinal is one coordinate, on its scale; a
    categorical has one a choice, and the largest wins. An inactive parameter counts as being at the
    mean, so that it does not move. In finite spaces a point that was tried gives way to a
    neighbour.

    Args:
        config: The study.
        population: Trials a generation, at least 2; None is 4 + 3 ln D, rounded down, and at least
            `smallest`.
        smallest: Least default population.

    Raises:
        ConfigError: `population` is below 2.
    """

    def __init__(self, config: StudyConfig, population: int | None, smallest: int) -> None:
        self._config = config
        self._cube = _Cube(config)
        if population is None:
            population = max(4 + int(3 * math.log(max(self._cube.dimension, 1))), smallest)
        if population < 2:
            raise ConfigError(f"population must be at least 2, got {population}")
        self._population = population

    @abstractmethod
    def _start(self, dimension: int, rng: np.random.Generator) -> Strategy:
        """A strategy before its first generation."""

    def suggest(
        self, history: Sequence[Trial], count: int, rng: np.random.Generator
    ) -> list[dict[str, Value]]:
        """See `SearchMethod.suggest`."""
        check_count(count)
        space, fixed = self._config.space, self._config.fixed
        tried = tried_keys(history)
        if not self._cube.dimension:
            return [sample_untried(space, fixed, tried, rng) for _ in range(count)]
        strategy = self._start(self._cube.dimension, rng)
        for end in range(self._population, len(history) + 1, self._population):
            generation = history[end - self._population : end]
            losses = self._losses(generation)
            if losses is not None:
                points = [self._cube.to_vector(t.params, strategy.mean) for t in generation]
                strategy.tell(np.stack(points), losses)
        return [
            draw_or_move(
                lambda: self._cube.to_point(strategy.ask()),
                space,
                tried,
                rng,
                step_size=_STEP_SIZE,
                fixed=fixed,
            )
            for _ in range(count)
        ]

    def _losses(self, generation: Sequence[Trial]) -> Array | None:
        """Losses of a generation, None when no trial has a value."""
        known = [-self._config.sign * t.value for t in generation if t.value is not None]
        if not known:
            return None
        worst = max(known)
        return np.array(
            [worst if t.value is None else -self._config.sign * t.value for t in generation]
        )


class _Cube:
    """The parameters that are searched as coordinates in [0, 1]."""

    def __init__(self, config: StudyConfig) -> None:
        self._config = config
        self._slices: dict[str, slice] = {}
        self._singles: dict[str, Value] = {}  # of parameters that have only one
        self.dimension = 0
        for name, parameter in config.space.items():
            if name in config.fixed:
                continue
            if parameter.num_levels == 1:
                self._singles[name] = parameter.grid()[0]
                continue
            width = len(parameter.choices) if isinstance(parameter, Categorical) else 1
            self._slices[name] = slice(self.dimension, self.dimension + width)
            self.dimension += width

    def to_vector(self, params: Mapping[str, Value], mean: Array) -> Array:
        """Where a point lies; parameters it does not have lie at the mean."""
        vector = mean.copy()
        for name, where in self._slices.items():
            parameter = self._config.space[name]
            if name not in params:
                continue
            if isinstance(parameter, Categorical):
                vector[where] = _NOT_CHOSEN
                vector[where.start + parameter.index(params[name])] = _CHOSEN
            else:
                vector[where] = to_uniform(parameter, params[name])
        return vector

    def to_point(self, vector: Array) -> dict[str, Value]:
        """The point nearest to coordinates."""
        space = self._config.space
        params = dict(self._singles)
        for name, where in self._slices.items():
            parameter = space[name]
            if isinstance(parameter, Categorical):
                params[name] = parameter.choices[int(np.argmax(vector[where]))]
            else:
                params[name] = from_uniform(parameter, float(vector[where.start]))
        return space.active({**params, **self._config.fixed})
