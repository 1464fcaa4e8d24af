"""What methods of other libraries share: a state that follows one history."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from optformer.data.methods.base import check_count
from optformer.data.methods.points import point_key
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Value
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus


class LibraryMethod(ABC):
    """A search method whose library has a state of its own.

    The library hears of a trial when it first appears and when it ends. A history that does not
    continue the last one starts the library anew, with the seed that the generator was made with.

    Args:
        config: The study.
    """

    def __init__(self, config: StudyConfig) -> None:
        self._config = config
        self._known: list[Trial] | None = None

    def suggest(
        self, history: Sequence[Trial], count: int, rng: np.random.Generator
    ) -> list[dict[str, Value]]:
        """See `SearchMethod.suggest`; the library may repeat points."""
        check_count(count)
        if self._known is None or not _continues(self._known, history):
            self._known = []
            self._start(seed_behind(rng), history)
        for number, trial in enumerate(history):
            is_new = number >= len(self._known)
            if is_new or self._known[number].status is not trial.status:
                self._tell(number, trial, is_new)
        self._known = list(history)
        points = []
        for _ in range(count):
            points.append(self._ask(len(self._known)))
            self._known.append(Trial(len(self._known), points[-1]))
        return points

    @abstractmethod
    def _start(self, seed: int, history: Sequence[Trial]) -> None:
        """Forget everything; the trials of the history are told next."""

    @abstractmethod
    def _tell(self, number: int, trial: Trial, is_new: bool) -> None:
        """Report a trial that is new, or was pending and has ended."""

    @abstractmethod
    def _ask(self, number: int) -> dict[str, Value]:
        """Suggest a legal point, which is pending as the trial of that number from now on."""


def seed_behind(rng: np.random.Generator) -> int:
    """The seed a generator was made with, for a library that takes no generator.

    Returns:
        The number itself where it was made with one, otherwise one below 2**32.
    """
    source = rng.bit_generator.seed_seq
    entropy = getattr(source, "entropy", None)
    return entropy if isinstance(entropy, int) else int(source.generate_state(1)[0])


def refuse_fixed(name: str, config: StudyConfig) -> None:
    """Raise `ConfigError` when the study holds parameters fixed."""
    if config.fixed:
        raise ConfigError(
            f"search method {name!r} cannot hold {sorted(config.fixed)} fixed; "
            "leave these parameters out of the space"
        )


def _continues(known: Sequence[Trial], history: Sequence[Trial]) -> bool:
    """Whether a history begins with the known trials, the pending ones of which may have ended."""
    return len(history) >= len(known) and all(map(_follows, known, history))


def _follows(before: Trial, now: Trial) -> bool:
    if before is now:
        return True
    if point_key(before.params) != point_key(now.params):
        return False
    return before.status is TrialStatus.PENDING or (
        (before.status, before.value) == (now.status, now.value)
    )
