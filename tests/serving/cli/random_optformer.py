"""The `optformer` command with a planner that draws at random instead of the model."""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optformer.data.studies.errors import SpaceExhaustedError
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial


@dataclass(frozen=True)
class Suggestion:
    params: dict[str, Any]
    explanation: None = None


class RandomPlanner:
    def suggest(
        self,
        config: StudyConfig,
        history: Sequence[Trial],
        count: int,
        *,
        seed: int,
        fixed: Mapping[str, Any] | None = None,
    ) -> list[Suggestion]:
        if config.space.size is not None and len(history) >= config.space.size:
            raise SpaceExhaustedError(f"all {config.space.size} points have been tried")
        rng = np.random.default_rng([seed, len(history)])
        held = {**config.fixed, **(fixed or {})}
        return [Suggestion(config.space.sample(rng, held)) for _ in range(count)]


def install() -> None:
    """Put the planner where `Study` looks for the real one."""
    module: Any = types.ModuleType("optformer.planning.planner")
    module.load_planner = lambda model=None, **options: RandomPlanner()
    sys.modules["optformer.planning.planner"] = module


if __name__ == "__main__":
    install()
    from optformer.serving.cli import main

    sys.exit(main())
