"""Search over hyperparameters that stay as they are through all of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from optformer.data.methods.base import MethodFactory
from optformer.data.methods.random_search import RandomSearch
from optformer.data.studies.parameters import Value
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.data.systems.populations.base import (
    PopulationResult,
    Report,
    TrainableFactory,
    check_at_least,
    rng_of,
    seed_of,
)
from optformer.data.systems.populations.members import Member, Record
from optformer.data.systems.populations.workers import SessionWorkers, start_workers


class FixedValues:
    """Fixed values: one member after the other trains from fresh weights with its own values.

    What populations are compared with at equal total steps. With random search the members are the
    very ones another method starts from at the same seed. A member that fails stops there, and what
    is left of its steps goes to further members, the last of which may have fewer. The search
    method sees each member as one trial with the best value it reached.

    Source: common practice.

    Args:
        population: Number of members as long as none fails, at least 1.
        intervals: Intervals each member trains, at least 1.
        interval_steps: Steps between two measurements, at least 1.
        method: Makes the search method that proposes the values.

    Raises:
        ConfigError: A setting is out of range.
    """

    def __init__(
        self,
        population: int = 10,
        intervals: int = 20,
        interval_steps: int = 20,
        method: MethodFactory = RandomSearch,
    ):
        check_at_least(1, population=population, intervals=intervals, interval_steps=interval_steps)
        self._population = population
        self._intervals = intervals
        self._interval_steps = interval_steps
        self._method = method

    def run(
        self,
        make: TrainableFactory,
        seed: int,
        *,
        workers: int = 0,
        report: Report | None = None,
    ) -> PopulationResult:
        """See `PopulationRun.run`; members train one after the other, whatever the workers."""
        config = make().config
        method = self._method(config)
        record = Record(config, report)
        history: list[Trial] = []
        with start_workers(make, workers) as pool:
            left = self._population * self._intervals
            while left:
                index = len(history)
                params = method.suggest(history, 1, rng_of(seed, index))[0]
                schedule = [params] * min(self._intervals, left)
                trials = train_through(pool, record, schedule, self._interval_steps, seed, index)
                history.append(_as_one(index, params, trials, config.sign))
                left -= len(trials)
        return record.result()


def train_through(
    pool: SessionWorkers,
    record: Record,
    schedule: Sequence[Mapping[str, Value]],
    steps: int,
    seed: int,
    index: int,
    *,
    last_counts: bool = False,
) -> list[Trial]:
    """Train a new member through a schedule, up to the first interval that fails.

    Args:
        pool: Who trains.
        record: Where the trials go.
        schedule: Hyperparameters of each interval.
        steps: Steps of each interval.
        seed: Seed of the run.
        index: The member.
        last_counts: Whether only the last interval may be the result.
    """
    member = Member(dict(schedule[0]), seed_of(seed, index))
    trials: list[Trial] = []
    for interval, params in enumerate(schedule):
        member.params = dict(params)
        [outcome] = pool.train_all([member.session(steps, seed_of(seed, index, interval))])
        facts = {"member": float(index), "interval": float(interval)}
        counts = not last_counts or interval == len(schedule) - 1
        trials.append(record.add(member, outcome, steps, facts, counts=counts))
        if member.failed:
            break
    return trials


def _as_one(index: int, params: Mapping[str, Value], trials: Sequence[Trial], sign: float) -> Trial:
    """A member's whole training as one trial of a study over fixed values."""
    values = [trial.value for trial in trials if trial.value is not None]
    whole = Trial(index, params)
    if trials[-1].status is TrialStatus.FAILED:
        return whole.fail(trials[-1].reason or "no value")
    return whole.finish(max(values, key=lambda value: sign * value))
