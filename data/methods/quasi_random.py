"""Quasi-random search: a scrambled Sobol sequence, shifted at random."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from optformer.data.methods.base import check_count
from optformer.data.methods.points import (
    from_uniform,
    point_key,
    sample_untried,
    to_uniform,
    tried_keys,
)
from optformer.data.studies.parameters import Value
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial

_LOOK_AHEAD = 256  # points of the sequence examined for one that a finite space has not seen


class QuasiRandom:
    """Spreads points evenly: trial i is point i of a Sobol sequence with a random shift modulo 1.

    The first trial is random and anchors the sequence: the shift is the one that moves the
    sequence's first point there. So the history alone says where the sequence stands, and studies
    with different first trials see different sequences (a Cranley-Patterson rotation). Every
    parameter that is not fixed has a coordinate, active or not; its unit interval is divided among
    the legal values as in random sampling. Points that were tried already are skipped.

    Args:
        config: The study.
    """

    def __init__(self, config: StudyConfig):
        self._config = config
        self._searched = [name for name in config.space if name not in config.fixed]

    def suggest(
        self, history: Sequence[Trial], count: int, rng: np.random.Generator
    ) -> list[dict[str, Value]]:
        """See `SearchMethod.suggest`."""
        check_count(count)
        space, fixed = self._config.space, self._config.fixed
        tried = tried_keys(history)
        points: list[dict[str, Value]] = []
        if not history:
            points.append(sample_untried(space, fixed, tried, rng))
        anchor = history[0].params if history else points[0]
        for point in self._sequence(anchor, len(history) + len(points), count + _LOOK_AHEAD):
            if len(points) == count:
                break
            if point_key(point) not in tried:
                tried.add(point_key(point))
                points.append(point)
        while len(points) < count:
            points.append(sample_untried(space, fixed, tried, rng))
        return points

    def _sequence(
        self, anchor: Mapping[str, Value], start: int, length: int
    ) -> Iterator[dict[str, Value]]:
        """Points `start` (at least 1) and following of the sequence whose point 0 is `anchor`."""
        from scipy.stats import qmc

        space = self._config.space
        if not self._searched:
            return
        engine = qmc.Sobol(len(self._searched), scramble=True, seed=0)
        shift = -engine.random(1)[0]
        for i, name in enumerate(self._searched):
            if name in anchor:
                shift[i] += to_uniform(space[name], anchor[name])
        if start > 1:
            engine.fast_forward(start - 1)
        for position in (engine.random(length) + shift) % 1.0:
            params = {
                name: from_uniform(space[name], float(coordinate))
                for name, coordinate in zip(self._searched, position, strict=True)
            }
            yield space.active({**params, **self._config.fixed})
