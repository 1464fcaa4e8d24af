"""Population based training."""

from __future__ import annotations

from collections.abc import Sequence

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
from optformer.data.systems.populations.exploit import Exploit, check_exploit, choose_source
from optformer.data.systems.populations.explore import Explore, check_explore, explore
from optformer.data.systems.populations.members import Member, Record, new_member
from optformer.data.systems.populations.workers import start_workers


class PopulationBasedTraining:
    """Population based training: members train in intervals, and the worse copy the better.

    After each interval a member's metric is its score. Every `ready_interval` steps a member is
    ready: it *exploits*, which may copy weights, hyperparameters and past of a better member, and
    if it copied it *explores*, which changes the hyperparameters. Then training goes on. The result
    is the best member seen and its schedule of hyperparameters.

    Source: US11941527B2; Jaderberg et al. 2017, "Population Based Training of Neural Networks".

    Args:
        population: Number of members, at least 1.
        intervals: Intervals each member trains, at least 1.
        interval_steps: Steps between two measurements, at least 1.
        ready_interval: Steps between two times a member is ready.
        exploit: "truncation", "tournament" or "t-test"; see `exploit.choose_source`.
        explore: "perturb" or "resample"; see `explore.explore`.

    Raises:
        ConfigError: A setting is unknown or out of range.
    """

    def __init__(
        self,
        population: int = 10,
        intervals: int = 20,
        interval_steps: int = 20,
        ready_interval: int = 40,
        exploit: Exploit = "truncation",
        explore: Explore = "perturb",
    ):
        check_at_least(
            1,
            population=population,
            intervals=intervals,
            interval_steps=interval_steps,
            ready_interval=ready_interval,
        )
        check_exploit(exploit)
        check_explore(explore)
        self._population = population
        self._intervals = intervals
        self._interval_steps = interval_steps
        self._ready_interval = ready_interval
        self._exploit = exploit
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
        members = [new_member(config, seed, index) for index in range(self._population)]
        record = Record(config, report)
        steps = self._interval_steps
        with start_workers(make, workers) as pool:
            for interval in range(self._intervals):
                if interval:
                    self._update(members, config, rng)
                outcomes = pool.train_all(
                    member.session(steps, seed_of(seed, index, interval))
                    for index, member in enumerate(members)
                )
                for index, (member, outcome) in enumerate(zip(members, outcomes, strict=True)):
                    record.add(member, outcome, steps, {"member": float(index)})
        return record.result()

    def _update(
        self, members: Sequence[Member], config: StudyConfig, rng: np.random.Generator
    ) -> None:
        """Let all ready members exploit and explore, judged by the population as it is now."""
        before = [member.snapshot() for member in members]
        scores = [member.scores for member in before]
        for index, member in enumerate(members):
            if member.since_ready < self._ready_interval and not member.failed:
                continue
            member.since_ready = 0
            source = choose_source(self._exploit, index, scores, rng)
            if source != index:
                member.inherit(before[source])
                member.params = explore(self._explore, config, member.params, rng)
            elif member.failed:  # nobody is any better
                member.params = explore("resample", config, member.params, rng)
