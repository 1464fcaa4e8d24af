"""What every search method is: a pure function from a study's history to its next points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import numpy as np

from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Value
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial


class SearchMethod(Protocol):
    """Proposes points for one study.

    A method holds nothing that the history does not: what it remembers between calls is a memo,
    and forgetting it changes no suggestion. Methods of other libraries are the exception: theirs
    have a state, which follows one history from its first trial on.
    """

    def suggest(
        self, history: Sequence[Trial], count: int, rng: np.random.Generator
    ) -> list[dict[str, Value]]:
        """Propose the next points.

        Args:
            history: All trials of the study in the order of their numbers, pending and failed
                ones too. It is only read.
            count: Number of points, at least 1.
            rng: The only source of randomness.

        Returns:
            `count` legal points of the study's space that keep the study's fixed values.

        Raises:
            ConfigError: `count` is below 1.
            SpaceExhaustedError: A finite space has no untried point left.
        """
        ...


MethodFactory: TypeAlias = Callable[[StudyConfig], SearchMethod]
"""Makes a search method for one study."""


def check_count(count: int) -> None:
    """Raise `ConfigError` unless `count` is at least 1."""
    if count < 1:
        raise ConfigError(f"count must be at least 1, got {count}")
