"""One study: a search method at work on an objective."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from optformer.data.corpora.generation.sources import load_objective
from optformer.data.methods import create
from optformer.data.methods.run import run_method
from optformer.data.studies.errors import SpaceExhaustedError
from optformer.data.studies.trials import Trial


@dataclass(frozen=True)
class StudyKey:
    """Which study.

    Attributes:
        objective: Name of the objective.
        method: Name of the search method.
        seed: From 0.
    """

    objective: str
    method: str
    seed: int

    @property
    def name(self) -> str:
        """The study's id, unique in a folder."""
        return f"{self.objective}/{self.method}/{self.seed}"


def run_study(key: StudyKey, trials: int) -> Iterator[tuple[Trial, float]]:
    """Run a study; its randomness comes from its key alone.

    Args:
        key: Which study.
        trials: How many trials; a finite space that is exhausted ends the study before.

    Yields:
        Each finished trial, and the seconds its evaluation took.
    """
    objective = load_objective(key.objective)
    method = create(key.method, objective.config)
    words = (zlib.crc32(text.encode()) for text in (key.objective, key.method))
    rng = np.random.default_rng(np.random.SeedSequence([key.seed, *words]))
    try:
        for done in run_method(method, objective.config.space, objective, trials, lambda _: rng):
            yield done.trial, done.evaluating
    except SpaceExhaustedError:
        return
