"""The learned evolution strategy as a search method."""

from __future__ import annotations

import numpy as np

from optformer.data.methods.generations import GenerationalMethod, Strategy
from optformer.data.studies.study_config import StudyConfig


class LearnedEvolution(GenerationalMethod):
    """A meta-trained evolution strategy: attention over the values weighs the candidates.

    A normal distribution with a deviation for every dimension moves by recombination weights and
    learning rates that a small network gives; `data.evolution_strategies` has the network, which
    ships trained, and how it was trained. It starts in the middle of the cube with a deviation of
    0.25; see `GenerationalMethod` for how spaces become cubes and trials generations.

    Source: US20240127071A1; Lange et al. 2023, "Discovering evolution strategies via
    meta-black-box optimization".

    Args:
        config: The study.
        population: Trials a generation, at least 2; None is 4 + 3 ln D, rounded down, and at least
            6, the smallest that the network was trained with.

    Raises:
        ConfigError: `population` is below 2.
    """

    def __init__(self, config: StudyConfig, population: int | None = None) -> None:
        super().__init__(config, population, smallest=6)

    def _start(self, dimension: int, rng: np.random.Generator) -> Strategy:
        from optformer.data.methods.evolution_strategies.ask_tell import LearnedStrategy

        return LearnedStrategy(dimension, rng)
