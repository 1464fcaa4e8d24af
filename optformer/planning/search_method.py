"""The planner as a search method, beside those of `optformer.data.methods`.

Importing this module makes `optformer` and its variants known to the registry of search methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from optformer.data.methods import METHODS
from optformer.data.studies.parameters import Value
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.planning.acquisition import STRATEGIES
from optformer.planning.planner import BatchMode, Planner, load_planner


class ModelSearch:
    """The pretrained language model as a search method.

    Source: US20230401451A1; Chen et al. 2022, "Towards learning universal hyperparameter optimizers
    with transformers".

    Args:
        config: The study.
        planner: Asks the model.
        seed: Seed of the study, as the planner takes it; None draws one for each suggestion.
        sees_pending: Whether the planner is told of pending trials at all.
    """

    def __init__(
        self,
        config: StudyConfig,
        planner: Planner,
        *,
        seed: int | None = None,
        sees_pending: bool = True,
    ) -> None:
        self._config = config
        self._planner = planner
        self._seed = seed
        self._sees_pending = sees_pending

    def suggest(
        self, history: Sequence[Trial], count: int, rng: np.random.Generator
    ) -> list[dict[str, Value]]:
        """See `SearchMethod.suggest`."""
        seed = int(rng.integers(2**31)) if self._seed is None else self._seed
        if self._sees_pending:
            return self._ask(history, count, seed)
        settled = [trial for trial in history if trial.status is not TrialStatus.PENDING]
        pending = len(history) - len(settled)
        return [  # with one seed, all would be the same point
            self._ask(settled, 1, seed + pending + member)[0] for member in range(count)
        ]

    def _ask(self, history: Sequence[Trial], count: int, seed: int) -> list[dict[str, Value]]:
        suggestions = self._planner.suggest(self._config, history, count, seed=seed)
        return [suggestion.params for suggestion in suggestions]


def model_search(
    config: StudyConfig,
    model: Path | None = None,
    *,
    seed: int | None = None,
    strategy: str = "ei",
    batch_mode: BatchMode = "mean",
    sees_pending: bool = True,
) -> ModelSearch:
    """The model of a checkpoint as a search method.

    Args:
        config: The study.
        model: Folder of the checkpoint; None is the shipped one.
        seed: As `ModelSearch` takes it.
        strategy: Strategy of the planner.
        batch_mode: What the planner is told of pending trials.
        sees_pending: Whether the planner is told of them at all.

    Raises:
        CheckpointError: The model is missing or unreadable.
    """
    planner = _planner(model, strategy, batch_mode)
    return ModelSearch(config, planner, seed=seed, sees_pending=sees_pending)


@lru_cache(maxsize=4)
def _planner(model: Path | None, strategy: str, batch_mode: BatchMode) -> Planner:
    return load_planner(model, strategy=strategy, batch_mode=batch_mode)


MODEL_METHODS: dict[str, partial[ModelSearch]] = {}
"""The registered names of the model, as `model_search` with the settings of each."""


def _register(name: str, what: str, **settings: Any) -> None:
    MODEL_METHODS[name] = partial(model_search, **settings)
    METHODS.register(name, MODEL_METHODS[name], f"The pretrained model {what}.")


_register("optformer", "chooses by expected improvement; pending trials have its own prediction")
_register(
    "optformer-ignore",
    "chooses by expected improvement; pending trials are ignored",
    sees_pending=False,
)
_register(
    "optformer-placeholder",
    "chooses by expected improvement, away from pending trials, which have a placeholder",
    batch_mode="placeholder",
)
_register(
    "optformer-sample",
    "chooses by expected improvement; pending trials have a sample of its prediction",
    batch_mode="sample",
)
for _strategy, _what in STRATEGIES.items():
    if _strategy != "ei":
        _register(f"optformer-{_strategy}", _what, strategy=_strategy)
