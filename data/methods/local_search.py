"""Hill climbing: small steps from the best point, with restarts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from optformer.data.methods.base import check_count
from optformer.data.methods.points import (
    draw_untried,
    mutate,
    sample_untried,
    tried_keys,
)
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Value
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial


class HillClimbing:
    """Mutates the best point of the present climb; a climb that stalls gives way to a new one.

    A climb starts at a random point, takes every strictly better trial as its new best, and ends
    after `patience` trials in a row that were not better. Failed trials are not better, and neither
    are pending ones as long as they are pending. The climbs are read off the history: the trial
    after a stalled climb starts the next one, and a start without a value is tried anew.

    Args:
        config: The study.
        step_size: Standard deviation of a step on the unit interval of a parameter, above 0.
        patience: Trials without improvement before a restart, at least 1.

    Raises:
        ConfigError: A setting is out of range.
    """

    def __init__(self, config: StudyConfig, step_size: float = 0.1, patience: int = 20):
        if not step_size > 0:
            raise ConfigError(f"step_size must be above 0, got {step_size}")
        if patience < 1:
            raise ConfigError(f"patience must be at least 1, got {patience}")
        self._config = config
        self._step_size = step_size
        self._patience = patience

    def suggest(
        self, history: Sequence[Trial], count: int, rng: np.random.Generator
    ) -> list[dict[str, Value]]:
        """See `SearchMethod.suggest`."""
        check_count(count)
        climb = self._replay(history)
        tried = tried_keys(history)
        points: list[dict[str, Value]] = []
        for _ in range(count):
            point = self._next(climb, tried, rng)
            climb = self._advance(climb, point, None)
            points.append(point)
        return points

    def _next(
        self, climb: _Climb | None, tried: set[object], rng: np.random.Generator
    ) -> dict[str, Value]:
        space, fixed = self._config.space, self._config.fixed
        if climb is None or climb.stale >= self._patience:
            return sample_untried(space, fixed, tried, rng)
        best = climb.params
        return draw_untried(
            lambda: mutate(space, best, rng, step_size=self._step_size, fixed=fixed),
            lambda: space.grid(fixed),
            tried,
            rng,
        )

    def _replay(self, history: Iterable[Trial]) -> _Climb | None:
        climb: _Climb | None = None
        for trial in history:
            score = None if trial.value is None else self._config.sign * trial.value
            climb = self._advance(climb, dict(trial.params), score)
        return climb

    def _advance(
        self, climb: _Climb | None, params: dict[str, Value], score: float | None
    ) -> _Climb | None:
        """The climb after one more trial; None while there is no point to climb from."""
        if climb is None or climb.stale >= self._patience:
            return None if score is None else _Climb(params, score, stale=0)
        if score is not None and score > climb.score:
            return _Climb(params, score, stale=0)
        return _Climb(climb.params, climb.score, climb.stale + 1)


@dataclass(frozen=True)
class _Climb:
    """The best point of the present climb and how long it has been the best.

    Attributes:
        params: The point.
        score: Its value, larger is better.
        stale: Trials since then.
    """

    params: dict[str, Value]
    score: float
    stale: int
