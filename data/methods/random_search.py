"""Random search: every point drawn on its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from optformer.data.methods.base import check_count
from optformer.data.methods.points import sample_untried, tried_keys
from optformer.data.studies.parameters import Value
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial


class RandomSearch:
    """Draws points from the space's own distribution; a finite space never repeats one.

    Args:
        config: The study.
    """

    def __init__(self, config: StudyConfig):
        self._config = config

    def suggest(
        self, history: Sequence[Trial], count: int, rng: np.random.Generator
    ) -> list[dict[str, Value]]:
        """See `SearchMethod.suggest`."""
        check_count(count)
        space, fixed = self._config.space, self._config.fixed
        tried = tried_keys(history)
        return [sample_untried(space, fixed, tried, rng) for _ in range(count)]
