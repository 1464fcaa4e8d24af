"""The planner as a search method, beside those of `optformer.data.methods`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from optformer.data.studies.parameters import Value
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.planning.planner import Planner, load_planner


class ModelSearch:
    """The pretrained language model as a search method: candidates ranked by expected improvement.

    Source: US20230401451A1; Chen et al. 2022, "Towards learning universal hyperparameter optimizers
    with transformers".

    Args:
        config: The study.
        model: Folder of a checkpoint; None is the shipped one.

    Raises:
        CheckpointError: There is no checkpoint in the folder, or it cannot be read.
    """

    def __init__(self, config: StudyConfig, model: Path | None = None) -> None:
        self._config = config
        self._planner = _planner(model)

    def suggest(
        self, history: Sequence[Trial], count: int, rng: np.random.Generator
    ) -> list[dict[str, Value]]:
        """See `SearchMethod.suggest`."""
        seed = int(rng.integers(2**31))
        suggestions = self._planner.suggest(self._config, history, count, seed=seed)
        return [suggestion.params for suggestion in suggestions]


@lru_cache(maxsize=2)
def _planner(model: Path | None) -> Planner:
    return load_planner(model)
