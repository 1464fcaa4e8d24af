"""Asynchronous population based training over sessions that any worker may train."""

from __future__ import annotations

import numpy as np

from optformer.data.studies.study_config import StudyConfig
from optformer.data.systems.populations.base import (
    PopulationResult,
    Report,
    TrainableFactory,
    check_at_least,
    rng_of,
    seed_of,
)
from optformer.data.systems.populations.explore import Explore, check_explore, explore
from optformer.data.systems.populations.members import Member, Record, new_member
from optformer.data.systems.populations.workers import start_workers


class AsynchronousSessions:
    """Asynchronous population based training: a controller, stateless workers, tournaments of two.

    The controller keeps the sessions: checkpoint, hyperparameters, fitness. A worker trains one
    for an interval and returns it; nobody waits for anybody else. The controller picks a second
    returned session at random and compares the two by fitness, their newest metric; the better is
    the parent, and its child (the parent's checkpoint, mutated hyperparameters) goes to a free
    worker in place of the returned one. A worker may die: its session is handed out again. With one
    worker, or none but this process, a seed determines everything; with more, the order in which
    they end matters too.

    Source: US11907821B2; Li et al. 2019, "A Generalized Framework for Population Based Training".

    Args:
        population: Sessions kept, at least 2.
        intervals: Intervals trained, divided by the population, at least 1.
        interval_steps: Steps of an interval, at least 1.
        explore: How a child's hyperparameters are mutated; see `explore.explore`.

    Raises:
        ConfigError: A setting is unknown or out of range.
    """

    def __init__(
        self,
        population: int = 10,
        intervals: int = 20,
        interval_steps: int = 20,
        explore: Explore = "perturb",
    ):
        check_at_least(2, population=population)
        check_at_least(1, intervals=intervals, interval_steps=interval_steps)
        check_explore(explore)
        self._population = population
        self._budget = population * intervals
        self._interval_steps = interval_steps
        self._explore = explore

    def run(
        self,
        make: TrainableFactory,
        seed: int,
        *,
        workers: int = 0,
        report: Report | None = None,
    ) -> PopulationResult:
        """See `PopulationRun.run`."""
        config = make().config
        rng = rng_of(seed)
        record = Record(config, report)
        steps = self._interval_steps
        training = {key: new_member(config, seed, key) for key in range(self._population)}
        returned: dict[int, Member] = {}
        generation = dict.fromkeys(training, 0)
        with start_workers(make, workers) as pool:
            for key, member in training.items():
                pool.submit(key, member.session(steps, seed_of(seed, key, 0)))
            for ended in range(1, self._budget + 1):
                key, outcome = pool.next()
                record.add(training[key], outcome, steps, {"member": float(key)})
                returned[key] = training[key].snapshot()
                if ended + self._population <= self._budget:
                    training[key] = self._child(key, returned, config, rng)
                    generation[key] += 1
                    seed_now = seed_of(seed, key, generation[key])
                    pool.submit(key, training[key].session(steps, seed_now))
        return record.result()

    def _child(
        self,
        key: int,
        returned: dict[int, Member],
        config: StudyConfig,
        rng: np.random.Generator,
    ) -> Member:
        """What goes out in place of a returned session."""
        others = [other for other in returned if other != key]
        parent = returned[key]
        if others:
            parent = fitter(parent, returned[others[int(rng.integers(len(others)))]])
        child = parent.snapshot()
        how = "resample" if parent.failed else self._explore
        child.params = explore(how, config, parent.params, rng)
        return child


def fitter(first: Member, second: Member) -> Member:
    """The fitness evaluation function: the better newest metric wins, the first when equal."""
    return second if second.score > first.score else first
