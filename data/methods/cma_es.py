"""CMA-ES of the cmaes library as a search method."""

from __future__ import annotations

from typing import Any

import numpy as np

from optformer.data.methods.generations import Array, GenerationalMethod, Strategy
from optformer.data.studies.extras import importing
from optformer.data.studies.study_config import StudyConfig


class RelaxedCmaEs(GenerationalMethod):
    """CMA-ES of the cmaes library, with one coordinate for every choice of a categorical.

    A normal distribution with a full covariance matrix follows the better half of each generation.
    It starts in the middle of the cube with a deviation of 0.25; see `GenerationalMethod` for how
    spaces become cubes and trials generations.

    Source: Hansen 2016, "The CMA evolution strategy: a tutorial"; the library is cmaes.

    Args:
        config: The study.
        population: Trials a generation, at least 2; None is 4 + 3 ln D, rounded down.

    Raises:
        ConfigError: `population` is below 2.
        MissingExtraError: cmaes is not installed.
    """

    def __init__(self, config: StudyConfig, population: int | None = None) -> None:
        super().__init__(config, population, smallest=4)
        _import_cma()  # complains at once, not at the first suggestion

    def _start(self, dimension: int, rng: np.random.Generator) -> Strategy:
        return _CmaStrategy(dimension, self._population, int(rng.integers(2**31)))


class _CmaStrategy:
    def __init__(self, dimension: int, population: int, seed: int) -> None:
        self._cma = _import_cma()(
            mean=np.full(dimension, 0.5),
            sigma=0.25,
            bounds=np.tile([0.0, 1.0], (dimension, 1)),
            population_size=population,
            seed=seed,
        )

    @property
    def mean(self) -> Array:
        return np.asarray(self._cma.mean)

    def ask(self) -> Array:
        return np.asarray(self._cma.ask())

    def tell(self, points: Array, losses: Array) -> None:
        self._cma.tell(list(zip(points, losses.tolist(), strict=True)))


def _import_cma() -> Any:
    with importing("search method 'relaxed-cma-es'", "cmaes"):
        from cmaes import CMA
    return CMA
