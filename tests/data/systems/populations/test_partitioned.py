"""Partitioned populations: fitness functions, evaluators, migration."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from optformer.data.objectives.quadratic import Quadratic
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.trials import Trial
from optformer.data.systems.populations.members import Member
from optformer.data.systems.populations.partitioned import (
    Partition,
    PartitionedPopulations,
    fast_improvement,
    growth_at,
    smooth,
)

from .conftest import Counter

Make = Callable[[], Counter]
METHOD = PartitionedPopulations(
    members=3, evaluators=1, ready_interval=10, evaluation_intervals=2, smoothing=0.0
)


def member(name: str, *scores: float, rate: float = 0.1) -> Member:
    """A member whose checkpoint is its name."""
    params = {"rate": rate, "units": 8, "kind": "a"}
    return Member(params, 0, name.encode(), scores=list(scores), since_ready=10)


def weights(members: list[Member]) -> list[str]:
    return [(one.checkpoint or b"").decode() for one in members]


def update(partitions: list[Partition], interval: int = 1) -> None:
    METHOD.update(partitions, interval, Counter().config, np.random.default_rng(0))


def test_smooth__curve__follows_the_finite_values() -> None:
    assert smooth([1.0, 3.0, -math.inf, 3.0], 0.5) == [1.0, 2.0, 2.5]
    assert smooth([1.0, 3.0], 0.0) == [1.0, 3.0]


def test_growth_at__curve__is_measured_where_it_last_rose_to_the_value() -> None:
    curve = [0.0, 1.0, 2.0, 3.0, 7.0, 5.0, 9.0]
    assert growth_at(curve, 3.0) == 1.0
    assert growth_at(curve, 7.0) == (9.0 - 3.0) / 3  # it fell below 7 again
    assert growth_at(curve, 0.5) == 1.0
    assert growth_at(curve, 0.0) == math.inf


def test_fast_improvement__equal_value__favours_the_steeper_curve_not_the_higher() -> None:
    high_but_flat = [0.0, 4.0, 4.4, 4.45, 4.5, 4.55, 5.0]
    low_but_steep = [0.0, 0.0, 0.0, 0.0, 2.0, 4.6]
    slow = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    lines = [high_but_flat, low_but_steep, slow]
    assert fast_improvement(lines[:2], 0.0) == [0.0, 1.0]
    fitness = fast_improvement(lines, 0.0)
    assert fitness[1] > fitness[2]
    assert max(line[-1] for line in lines) == high_but_flat[-1]
    assert METHOD.fitness(0, [member("a", *line) for line in lines]) == [5.0, 4.6, 1.0]


def test_fast_improvement__failed_and_lone_lines__have_a_fitness() -> None:
    assert fast_improvement([[1.0, -math.inf], [0.0, 1.0]], 0.5) == [-math.inf, 1.0]
    assert fast_improvement([[1.0]], 0.5) == [0.5]
    assert fast_improvement([[1.0, 2.0], [1.0, 2.0]], 0.5) == [0.5, 0.5]


def test_update__partitions__exploit_by_their_own_fitness_within_themselves() -> None:
    first = Partition([member("a", 1.0), member("b", 3.0), member("c", 2.0)])
    second = Partition(
        [
            member("flat", 0.0, 8.0, 8.3, 8.4, 8.5, 9.0),
            member("steep", 0.0, 0.0, 0.0, 0.0, 4.0, 8.6),
            member("middle", 0.0, 2.0, 4.0, 6.0, 7.0, 8.0),
        ],
        [member("evaluator", 0.0)],
    )
    update([first, second])
    assert weights(first.members) == ["b", "b", "c"]
    assert weights(second.members).count("steep") == 2
    assert "b" not in weights(second.members)
    # Copied weights come with perturbed hyperparameters.
    assert round(first.members[0].params["rate"], 9) in (0.08, 0.12)
    assert first.members[2].params["rate"] == 0.1


def test_update__evaluator_ahead__its_weights_migrate_to_the_earlier_partition() -> None:
    first = Partition([member("a", 1.0), member("b", 3.0), member("c", 2.0)])
    second = Partition(
        [member(name, 0.0, 1.0) for name in "xyz"], [member("ahead", 0.0, 3.5, rate=0.7)]
    )
    update([first, second])
    assert weights(first.members) == ["ahead", "b", "c"]
    assert round(first.members[0].params["rate"], 9) in (0.56, 0.84)

    first.members = [member("a", 1.0), member("b", 3.0), member("c", 2.0)]
    second.evaluators = [member("behind", 0.0, 2.9)]
    update([first, second])
    assert "behind" not in weights(first.members)


def test_update__new_evaluation__takes_later_weights_and_earlier_hyperparameters() -> None:
    first = Partition(
        [member("a", 1.0, rate=0.01), member("b", 3.0, rate=0.02), member("c", 2.0, rate=0.03)]
    )
    second = Partition(
        [
            member("flat", 0.0, 8.0, 8.3, 8.4, 8.5, 9.0, rate=0.5),
            member("steep", 0.0, 0.0, 0.0, 0.0, 4.0, 8.6, rate=0.6),
            member("middle", 0.0, 2.0, 4.0, 6.0, 7.0, 8.0, rate=0.7),
        ],
        [member("old", 0.0, rate=0.9)],
    )
    still = [first.snapshot(), second.snapshot()]
    update(still, interval=1)
    assert weights(still[1].evaluators) == ["old"]
    update([first, second], interval=2)
    [evaluator] = second.evaluators
    assert weights([evaluator]) == ["steep"]
    assert evaluator.params["rate"] == 0.02  # of the fittest of the first, not perturbed
    assert evaluator.scores[-1] == 8.6


def test_update__members_that_are_not_ready__go_on() -> None:
    first = Partition([member("a", 1.0), member("b", 3.0)])
    for one in first.members:
        one.since_ready = 5
    update([first, Partition([member("x", 1.0), member("y", 2.0)], [member("e", 9.0)])])
    assert weights(first.members) == ["a", "b"]


def of_role(trials: tuple[Trial, ...], partition: int, evaluator: int) -> list[Trial]:
    return [
        trial
        for trial in trials
        if (trial.metrics["partition"], trial.metrics["evaluator"]) == (partition, evaluator)
    ]


def test_run__roles__train_alike_and_the_result_is_of_the_first_partition(make: Make) -> None:
    method = PartitionedPopulations(3, 3, 2, 8, 10, 20, 2)
    result = method.run(make, 0)
    assert method.population == 13
    assert len(result.trials) == 13 * 8
    for partition in range(3):
        assert len(of_role(result.trials, partition, 0)) == 24
        assert len(of_role(result.trials, partition, 1)) == (16 if partition else 0)
    first = of_role(result.trials, 0, 0)
    sign = make().config.sign
    assert result.best in first
    assert sign * (result.best.value or 0.0) == max(sign * (t.value or 0.0) for t in first)
    assert method.run(make, 0) == result


def test_run__evaluators__use_hyperparameters_of_the_partition_before(make: Make) -> None:
    result = PartitionedPopulations(2, 3, 2, 9, 10, 20, 3).run(make, 1)
    for trial in of_role(result.trials, 1, 1):
        tried = {
            tuple(other.params.items())
            for other in of_role(result.trials, 0, 0)
            if other.number <= trial.number
        }
        assert tuple(trial.params.items()) in tried


def test_run__weights__go_from_a_later_partition_to_the_first_by_way_of_evaluators() -> None:
    trials = PartitionedPopulations(2, 4, 2, 12, 10, 10, 2).run(Quadratic, 0).trials
    migrated = 0
    for trial in trials:
        if "parent" not in trial.metrics:
            continue
        parent = trials[int(trial.metrics["parent"])]
        if parent.metrics["partition"] != trial.metrics["partition"]:
            assert parent.metrics["evaluator"] == 1
            assert (parent.metrics["partition"], trial.metrics["partition"]) == (1, 0)
            migrated += 1
    assert migrated


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"partitions": 1}, "partitions must be at least 2, got 1"),
        ({"evaluators": 0}, "evaluators must be at least 1, got 0"),
        ({"smoothing": 1.0}, r"smoothing must be in \[0, 1\), got 1.0"),
    ],
)
def test_settings__out_of_range__are_named(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PartitionedPopulations(**settings)  # type: ignore[arg-type]
