"""Regularized evolution: tournaments for parents, and death by age."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from optformer.data.methods.base import check_count
from optformer.data.methods.points import sample_untried, tried_keys, untried_neighbour
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Value
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus


class RegularizedEvolution:
    """Mutates the fittest of a random few; the oldest member dies, however good it is.

    The population starts as random points. From then on, each new point is a child: a few members
    are drawn with replacement, the fittest is the parent, and one of its parameters is changed (a
    categorical takes another choice, a number a normal step). A child that is evaluated joins the
    population, and the oldest member leaves it; an old one lasts only through its descendants. So
    the population is what the history says: the latest `population_size` trials with a value.
    Failed trials never join. Pending ones join when they are done, so any number of workers can ask
    for points without waiting for one another. The result is the best trial ever seen, which the
    population may have forgotten.

    Source: US11144831B2; Real, Aggarwal, Huang, Le, "Regularized evolution for image classifier
    architecture search", 2019. The paper keeps 100 members and draws 25 over 20,000 trials; the
    defaults here keep its ratio for studies of about a hundred.

    Args:
        config: The study.
        population_size: Members alive at a time, at least 1.
        sample_size: Members drawn for a parent, at least 1.
        step_size: Standard deviation of a number's step on the unit interval, above 0.

    Raises:
        ConfigError: A setting is out of range.
    """

    def __init__(
        self,
        config: StudyConfig,
        population_size: int = 20,
        sample_size: int = 5,
        step_size: float = 0.2,
    ):
        if population_size < 1:
            raise ConfigError(f"population_size must be at least 1, got {population_size}")
        if sample_size < 1:
            raise ConfigError(f"sample_size must be at least 1, got {sample_size}")
        if not step_size > 0:
            raise ConfigError(f"step_size must be above 0, got {step_size}")
        self._config = config
        self._population_size = population_size
        self._sample_size = sample_size
        self._step_size = step_size

    def population(self, history: Sequence[Trial]) -> list[Trial]:
        """The living members, the oldest first."""
        return [trial for trial in history if trial.has_value][-self._population_size :]

    def suggest(
        self, history: Sequence[Trial], count: int, rng: np.random.Generator
    ) -> list[dict[str, Value]]:
        """See `SearchMethod.suggest`."""
        check_count(count)
        space, fixed = self._config.space, self._config.fixed
        members = self.population(history)
        born = sum(trial.status is not TrialStatus.FAILED for trial in history)
        tried = tried_keys(history)
        points: list[dict[str, Value]] = []
        for number in range(born, born + count):
            if not members or number < self._population_size:
                points.append(sample_untried(space, fixed, tried, rng))
            else:
                parent = self._tournament(members, rng)
                points.append(
                    untried_neighbour(
                        space, parent.params, tried, rng, step_size=self._step_size, fixed=fixed
                    )
                )
        return points

    def _tournament(self, members: Sequence[Trial], rng: np.random.Generator) -> Trial:
        drawn = [members[int(i)] for i in rng.integers(len(members), size=self._sample_size)]
        return max(drawn, key=lambda trial: self._config.sign * (trial.value or 0.0))
