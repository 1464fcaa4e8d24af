"""Partitioned populations: later partitions train for fast improvement, and feed the first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from optformer.data.studies.errors import ConfigError
from optformer.data.studies.study_config import StudyConfig
from optformer.data.systems.populations.base import (
    PopulationResult,
    Report,
    TrainableFactory,
    check_at_least,
    rng_of,
    seed_of,
)
from optformer.data.systems.populations.exploit import top_and_bottom
from optformer.data.systems.populations.explore import Explore, check_explore, explore
from optformer.data.systems.populations.members import Member, Record, new_member
from optformer.data.systems.populations.workers import start_workers

SPAN = 3
"""Intervals over which the growth of a curve is measured."""


class PartitionedPopulations:
    """Partitioned populations (FIRE PBT): a fitness function each, and evaluators between them.

    All members train in intervals. Every `ready_interval` steps each partition exploits (its bottom
    fifth copies a random one of its top fifth) and explores. The partitions differ in what is fit:

    - The first optimizes the objective: fitness is the newest metric.
    - A later one optimizes fast improvement: fitness is the share of others whose smoothed curve
      grew more slowly when it reached the value that both have reached (`fast_improvement`). It can
      keep, say, a high learning rate that pays only later and that greed would give up.

    Each later partition has evaluators. An evaluator continues a copy of one of the partition's
    fittest members with the hyperparameters of the fittest member of the partition before it, and
    so measures what that member is worth in the end; every `evaluation_intervals` it starts again.
    The partition before copies from its own members and from those evaluators alike: the weights of
    an evaluator that is ahead migrate. The result is the best member of the first partition.

    Trials carry `partition` (0 is the first) and `evaluator` (1 for a partition's evaluators).

    Source: US20240242091A1; Dalibard and Jaderberg 2021, "Faster Improvement Rate Population Based
    Training".

    Args:
        partitions: Number of partitions, at least 2.
        members: Members of each partition, at least 2.
        evaluators: Evaluators of each later partition, at least 1.
        intervals: Intervals each member and evaluator trains, at least 1.
        interval_steps: Steps between two measurements, at least 1.
        ready_interval: Steps between two times the members are ready.
        evaluation_intervals: Intervals an evaluator trains one copy, at least 1.
        smoothing: Weight of the past in a smoothed curve, in [0, 1).
        explore: "perturb" or "resample"; see `explore.explore`.

    Raises:
        ConfigError: A setting is unknown or out of range.
    """

    def __init__(
        self,
        partitions: int = 2,
        members: int = 4,
        evaluators: int = 2,
        intervals: int = 20,
        interval_steps: int = 20,
        ready_interval: int = 40,
        evaluation_intervals: int = 3,
        smoothing: float = 0.5,
        explore: Explore = "perturb",
    ):
        check_at_least(2, partitions=partitions, members=members)
        check_at_least(
            1,
            evaluators=evaluators,
            intervals=intervals,
            interval_steps=interval_steps,
            ready_interval=ready_interval,
            evaluation_intervals=evaluation_intervals,
        )
        if not 0 <= smoothing < 1:
            raise ConfigError(f"smoothing must be in [0, 1), got {smoothing}")
        check_explore(explore)
        self._partitions = partitions
        self._members = members
        self._evaluators = evaluators
        self._intervals = intervals
        self._interval_steps = interval_steps
        self._ready_interval = ready_interval
        self._evaluation_intervals = evaluation_intervals
        self._smoothing = smoothing
        self._explore = explore

    @property
    def population(self) -> int:
        """Members and evaluators together: how many train in every interval."""
        return self._partitions * self._members + (self._partitions - 1) * self._evaluators

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
        partitions = self._start(config, seed)
        everyone = [
            (member, float(number), float(index >= len(partition.members)))
            for number, partition in enumerate(partitions)
            for index, member in enumerate([*partition.members, *partition.evaluators])
        ]
        with start_workers(make, workers) as pool:
            for interval in range(self._intervals):
                if interval:
                    self.update(partitions, interval, config, rng)
                outcomes = pool.train_all(
                    member.session(steps, seed_of(seed, index, interval))
                    for index, (member, _, _) in enumerate(everyone)
                )
                for index, (member, partition, evaluator) in enumerate(everyone):
                    record.add(
                        member,
                        outcomes[index],
                        steps,
                        {"member": float(index), "partition": partition, "evaluator": evaluator},
                        counts=partition == evaluator == 0,
                    )
        return record.result()

    def fitness(self, number: int, pool: Sequence[Member]) -> list[float]:
        """Fitness by the function of a partition, larger is better.

        Args:
            number: The partition, 0 is the first.
            pool: Who is compared; minus infinity for one that has just failed.
        """
        if number == 0:
            return [member.score for member in pool]
        return fast_improvement([member.scores for member in pool], self._smoothing)

    def update(
        self,
        partitions: Sequence[Partition],
        interval: int,
        config: StudyConfig,
        rng: np.random.Generator,
    ) -> None:
        """Between two intervals: members exploit and explore, evaluators may start again.

        Args:
            partitions: First to last; changed in place.
            interval: Intervals trained so far.
            config: The study.
            rng: Source of randomness.
        """
        before = [partition.snapshot() for partition in partitions]
        ranked = [self._ranked(number, old.members) for number, old in enumerate(before)]
        for number, partition in enumerate(partitions):
            guests = before[number + 1].evaluators if number + 1 < len(before) else []
            self._exploit(number, partition.members, before[number].members, guests, config, rng)
            if number and interval % self._evaluation_intervals == 0:
                best = ranked[number - 1][0]
                for index, evaluator in enumerate(partition.evaluators):
                    fit = ranked[number][index % len(ranked[number])]
                    evaluator.inherit(fit)
                    evaluator.params = dict(best.params)

    def _start(self, config: StudyConfig, seed: int) -> list[Partition]:
        partitions: list[Partition] = []
        for number in range(self._partitions):
            first = number * self._members
            members = [new_member(config, seed, first + index) for index in range(self._members)]
            evaluators = []
            if number:  # nobody is the fittest yet
                evaluators = [members[i % len(members)].snapshot() for i in range(self._evaluators)]
                for evaluator in evaluators:
                    evaluator.params = dict(partitions[-1].members[0].params)
            partitions.append(Partition(members, evaluators))
        return partitions

    def _ranked(self, number: int, members: Sequence[Member]) -> list[Member]:
        """Members of a partition, the fittest first."""
        fitness = self.fitness(number, members)
        return [members[i] for i in np.argsort(np.negative(fitness), kind="stable")]

    def _exploit(
        self,
        number: int,
        members: Sequence[Member],
        before: Sequence[Member],
        guests: Sequence[Member],
        config: StudyConfig,
        rng: np.random.Generator,
    ) -> None:
        """Let the worst copy the best of their partition and its guests, as both were before."""
        pool = [*before, *guests]
        fitness = self.fitness(number, pool)
        top, _ = top_and_bottom(fitness)
        _, bottom = top_and_bottom(fitness[: len(members)])
        for index, member in enumerate(members):
            if member.since_ready < self._ready_interval and not member.failed:
                continue
            member.since_ready = 0
            if index not in bottom and not member.failed:
                continue
            source = top[int(rng.integers(len(top)))]
            if fitness[source] > fitness[index]:
                member.inherit(pool[source])
                member.params = explore(self._explore, config, member.params, rng)
            elif member.failed:  # nobody is any better
                member.params = explore("resample", config, member.params, rng)


@dataclass
class Partition:
    """Members that share a fitness function, and the evaluators that measure their worth."""

    members: list[Member]
    evaluators: list[Member] = field(default_factory=list)

    def snapshot(self) -> Partition:
        """The partition as it is now."""
        return Partition(
            [member.snapshot() for member in self.members],
            [evaluator.snapshot() for evaluator in self.evaluators],
        )


def fast_improvement(scores: Sequence[Sequence[float]], smoothing: float) -> list[float]:
    """How fast each line of training improves, beside the others at equal value.

    Two curves are compared at the lower of their newest values, which both have reached: by their
    growth when they reached it last.

    Args:
        scores: Lines of training, larger is better, minus infinity where an interval failed.
        smoothing: Weight of the past in the exponential smoothing, in [0, 1).

    Returns:
        Share of others in [0, 1] that grew more slowly, equals counting half; minus infinity for a
        line that has just failed.
    """
    curves = [smooth(line, smoothing) for line in scores]
    failed = [line[-1] == -math.inf for line in scores]
    fitness = []
    for index, curve in enumerate(curves):
        wins = [
            1.0 if failed[other] else _beats(curve, curves[other])
            for other in range(len(curves))
            if other != index and not failed[index]
        ]
        share = sum(wins) / len(wins) if wins else 0.5
        fitness.append(-math.inf if failed[index] else share)
    return fitness


def smooth(line: Sequence[float], smoothing: float) -> list[float]:
    """Exponential smoothing of the finite values of a line."""
    curve: list[float] = []
    for value in line:
        if math.isfinite(value):
            past = curve[-1] if curve else value
            curve.append(smoothing * past + (1 - smoothing) * value)
    return curve


def growth_at(curve: Sequence[float], value: float) -> float:
    """Growth of a curve an interval, over the intervals before it last rose to a value.

    Returns:
        Infinity when the curve never was below the value: it got there in its first interval.
    """
    arrival = max((i for i, y in enumerate(curve) if y < value), default=-1) + 1
    if arrival == 0:
        return math.inf
    start = max(arrival - SPAN, 0)
    return (curve[arrival] - curve[start]) / (arrival - start)


def _beats(first: Sequence[float], second: Sequence[float]) -> float:
    """1 when the first curve grew faster at equal value, 0.5 when as fast, otherwise 0."""
    value = min(first[-1], second[-1])
    mine, theirs = growth_at(first, value), growth_at(second, value)
    return 0.5 if mine == theirs else float(mine > theirs)
