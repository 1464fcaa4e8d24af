"""Simulated annealing: a walk that takes worse steps less and less often."""

from __future__ import annotations

import math
import zlib
from bisect import insort
from collections.abc import Sequence

import numpy as np

from optformer.data.methods.base import check_count
from optformer.data.methods.points import sample_untried, tried_keys, untried_neighbour
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Value
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial


class SimulatedAnnealing:
    """Walks from neighbour to neighbour; a worse one is accepted the more rarely the later it is.

    Each new point changes one parameter of the walk's present point. A trial that is better becomes
    the present point; one that is worse by d does so with probability exp(-d / (s T)), where s is
    the interquartile range of the values so far, which makes the rule free of the metric's unit,
    and the temperature T falls by `cooling` with every trial. Failed and pending trials do not move
    the walk. The walk is read off the history: whether a trial was accepted is decided by a number
    drawn from a generator seeded with the trial itself, so every reading decides alike.

    Source: Kirkpatrick, Gelatt, Vecchi, "Optimization by simulated annealing", 1983.

    Args:
        config: The study.
        temperature: T at the first trial, above 0.
        cooling: Factor of T a trial, in (0, 1].
        step_size: Standard deviation of a number's step on the unit interval, above 0.

    Raises:
        ConfigError: A setting is out of range.
    """

    def __init__(
        self,
        config: StudyConfig,
        temperature: float = 0.5,
        cooling: float = 0.95,
        step_size: float = 0.15,
    ):
        if not temperature > 0:
            raise ConfigError(f"temperature must be above 0, got {temperature}")
        if not 0 < cooling <= 1:
            raise ConfigError(f"cooling must be above 0 and at most 1, got {cooling}")
        if not step_size > 0:
            raise ConfigError(f"step_size must be above 0, got {step_size}")
        self._config = config
        self._temperature = temperature
        self._cooling = cooling
        self._step_size = step_size

    def suggest(
        self, history: Sequence[Trial], count: int, rng: np.random.Generator
    ) -> list[dict[str, Value]]:
        """See `SearchMethod.suggest`."""
        check_count(count)
        space, fixed = self._config.space, self._config.fixed
        tried = tried_keys(history)
        present = self.present(history)
        if present is None:
            return [sample_untried(space, fixed, tried, rng) for _ in range(count)]
        return [
            untried_neighbour(
                space, present.params, tried, rng, step_size=self._step_size, fixed=fixed
            )
            for _ in range(count)
        ]

    def present(self, history: Sequence[Trial]) -> Trial | None:
        """Where the walk stands; None before the first value."""
        present: Trial | None = None
        score = -math.inf
        ranked: list[float] = []  # ascending
        for trial in history:
            if trial.value is None:
                continue
            new = self._config.sign * trial.value
            temperature = self._temperature * self._cooling ** len(ranked)
            insort(ranked, new)
            if new >= score or _luck(trial) < _acceptance(score - new, ranked, temperature):
                present, score = trial, new
        return present


def _acceptance(worse_by: float, ranked: Sequence[float], temperature: float) -> float:
    """Probability that the walk takes a worse step."""
    spread = ranked[3 * len(ranked) // 4] - ranked[len(ranked) // 4]
    if not spread * temperature > 0:
        return 0.0
    return math.exp(-worse_by / (spread * temperature))


def _luck(trial: Trial) -> float:
    """A uniform number in [0, 1) that belongs to the trial."""
    text = repr(sorted(trial.params.items()))
    return float(np.random.default_rng([trial.number, zlib.crc32(text.encode())]).random())
