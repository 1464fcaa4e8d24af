"""Search some parameters after others: each stage builds on the best of the one before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from optformer.data.methods.base import SearchMethod, check_count
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Value
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial


@dataclass(frozen=True)
class Stage:
    """A part of a search.

    Attributes:
        names: Parameters that are searched; all others are held.
        trials: Number of trials, at least 1; the last stage goes on as long as it is asked.
    """

    names: tuple[str, ...]
    trials: int


class StagedSearch:
    """Searches the parameters of one stage at a time and holds the others.

    Parameters of later stages stand at their start values, those of earlier stages at the values of
    the best trial so far. Where a stage begins is read off the number of trials.

    Args:
        config: The study; no parameter may be conditional.
        stages: In their order.
        start: A full point to start from.
        make: Makes the method that searches within a stage, given the values held.

    Raises:
        ConfigError: A parameter is conditional, or a stage has no trials or an unknown parameter.
    """

    def __init__(
        self,
        config: StudyConfig,
        stages: Sequence[Stage],
        start: Mapping[str, Value],
        make: Callable[[StudyConfig], SearchMethod],
    ) -> None:
        for name, parameter in config.space.items():
            if parameter.when:
                raise ConfigError(
                    f"a search in stages holds every parameter, and {name!r} is conditional; "
                    "search this space in one stage, with another method"
                )
        for stage in stages:
            unknown = [name for name in stage.names if name not in config.space]
            if stage.trials < 1 or unknown:
                raise ConfigError(
                    "a stage needs at least 1 trial and parameters of the space, "
                    f"got {stage.trials} and {list(stage.names)}"
                )
        self._config = config
        self._stages = tuple(stages)
        self._start = config.space.validate(start)
        self._make = make

    def suggest(
        self, history: Sequence[Trial], count: int, rng: np.random.Generator
    ) -> list[dict[str, Value]]:
        """See `SearchMethod.suggest`."""
        check_count(count)
        points: list[dict[str, Value]] = []
        told = list(history)
        while len(points) < count:
            number, left = self._position(len(told))
            wanted = min(count - len(points), left)
            held = self.held(told, number)
            method = self._make(replace(self._config, fixed=held))
            # Trials with other values held are no part of this stage.
            within = [t for t in told if all(t.params.get(name) == v for name, v in held.items())]
            new = method.suggest(within, wanted, rng)
            told += [Trial(len(told) + i, point) for i, point in enumerate(new)]
            points += new
        return points

    def held(self, history: Sequence[Trial], stage: int) -> dict[str, Value]:
        """Values that a stage (from 0) does not search, given the trials before it."""
        begins = sum(earlier.trials for earlier in self._stages[:stage])
        before = [trial for trial in history[:begins] if trial.has_value]
        best = max(before, key=lambda t: self._config.sign * (t.value or 0.0), default=None)
        values = {**self._start, **(best.params if best else {}), **self._config.fixed}
        free = self._stages[stage].names
        return {
            name: value
            for name, value in values.items()
            if name not in free or name in self._config.fixed
        }

    def _position(self, trials: int) -> tuple[int, int]:
        """Stage of the next trial, and how many more trials the stage has."""
        for number, stage in enumerate(self._stages[:-1]):
            if trials < stage.trials:
                return number, stage.trials - trials
            trials -= stage.trials
        return len(self._stages) - 1, 2**31
