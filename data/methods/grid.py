"""Grid search, in order and shuffled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from optformer.data.methods.base import check_count
from optformer.data.methods.points import draw_untried, exhausted, point_key, tried_keys
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Parameter, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial


class Grid:
    """Walks a grid in lexicographic order: the last parameter of the space moves fastest.

    A parameter with at most `resolution` values keeps them all, as categorical and ordinal ones do
    always; any other number takes `resolution` values evenly spaced on its scale, bounds included.

    Args:
        config: The study.
        resolution: Most values of a number on the grid, at least 2.

    Raises:
        ConfigError: `resolution` is below 2.
    """

    def __init__(self, config: StudyConfig, resolution: int = 10):
        self._points = _Points(config, resolution)

    def suggest(
        self, history: Sequence[Trial], count: int, rng: np.random.Generator
    ) -> list[dict[str, Value]]:
        """See `SearchMethod.suggest`; `rng` is not used."""
        check_count(count)
        tried = tried_keys(history)
        untried = (point for point in self._points.walk() if point_key(point) not in tried)
        points = list(islice(untried, count))
        if len(points) < count:
            raise exhausted(tried | {point_key(point) for point in points})
        return points


class ShuffledGrid:
    """Takes the points of the grid of `Grid` in random order, without repeating one.

    Args:
        config: The study.
        resolution: Most values of a number on the grid, at least 2.

    Raises:
        ConfigError: `resolution` is below 2.
    """

    def __init__(self, config: StudyConfig, resolution: int = 10):
        self._points = _Points(config, resolution)

    def suggest(
        self, history: Sequence[Trial], count: int, rng: np.random.Generator
    ) -> list[dict[str, Value]]:
        """See `SearchMethod.suggest`."""
        check_count(count)
        tried = tried_keys(history)
        return [
            draw_untried(lambda: self._points.draw(rng), self._points.walk, tried, rng)
            for _ in range(count)
        ]


class _Points:
    """The points of a study's grid: the space with every continuum thinned to some levels."""

    def __init__(self, config: StudyConfig, resolution: int):
        if resolution < 2:
            raise ConfigError(f"resolution must be at least 2, got {resolution}")
        self._space = config.space
        self._levels = {
            name: (config.fixed[name],)
            if name in config.fixed
            else _levels(config.space, name, resolution)
            for name in config.space
        }

    def walk(self) -> Iterator[dict[str, Value]]:
        """All points in lexicographic order."""
        return self._walk(self._space.names, {})

    def draw(self, rng: np.random.Generator) -> dict[str, Value]:
        """A point with every active parameter drawn uniformly among its levels."""
        point: dict[str, Value] = {}
        for name, levels in self._levels.items():
            if self._space.is_active(name, point):
                point[name] = levels[int(rng.integers(len(levels)))]
        return point

    def _walk(self, names: Sequence[str], point: dict[str, Value]) -> Iterator[dict[str, Value]]:
        if not names:
            yield dict(point)
        elif self._space.is_active(names[0], point):
            for value in self._levels[names[0]]:
                yield from self._walk(names[1:], {**point, names[0]: value})
        else:
            yield from self._walk(names[1:], point)


def _levels(space: SearchSpace, name: str, resolution: int) -> tuple[Value, ...]:
    parameter: Parameter = space[name]
    if isinstance(parameter, Categorical | Ordinal):
        return parameter.grid()
    if parameter.num_levels is not None and parameter.num_levels <= resolution:
        return parameter.grid()
    spaced = [parameter.from_unit(i / (resolution - 1)) for i in range(resolution)]
    # A condition names values that an even spacing may step over; without them a branch is lost.
    needed = [
        value
        for child in space.values()
        for value in (child.when or {}).get(name, ())
        if isinstance(parameter, Float | Int)
    ]
    return tuple(sorted({*spaced, *map(parameter.validate, needed)}))
