"""Population based training, and what it is compared with."""

from __future__ import annotations

import json
from collections import Counter as Tally
from collections.abc import Callable

import pytest

from optformer.data.methods.quasi_random import QuasiRandom
from optformer.data.studies.errors import StudyError
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.data.systems.populations.fixed import FixedValues
from optformer.data.systems.populations.pbt import PopulationBasedTraining

from .conftest import Counter

Make = Callable[[], Counter]


def copies(trials: tuple[Trial, ...]) -> list[Trial]:
    """Trials that went on with another member's weights."""
    return [
        trial
        for trial in trials
        if "parent" in trial.metrics
        and trials[int(trial.metrics["parent"])].metrics["member"] != trial.metrics["member"]
    ]


def test_run__trials__are_one_a_member_and_interval(make: Make) -> None:
    seen: list[Trial] = []
    result = PopulationBasedTraining(5, 6, 10, 20).run(make, 0, report=seen.append)
    assert tuple(seen) == result.trials
    assert [trial.number for trial in result.trials] == list(range(30))
    assert Tally(trial.metrics["member"] for trial in result.trials) == dict.fromkeys(range(5), 6)
    assert [trial.metrics["step"] for trial in result.trials] == [
        10.0 * (interval + 1) for interval in range(6) for _ in range(5)
    ]


def test_exploit__copied_weights__are_exactly_the_sources(make: Make) -> None:
    result = PopulationBasedTraining(6, 8, 10, 10).run(make, 1)
    copied = copies(result.trials)
    assert len(copied) >= 7  # the worst of six, each time
    for trial in copied:
        source = result.trials[int(trial.metrics["parent"])]
        added = abs(trial.value or 0.0) - abs(source.value or 0.0)
        assert added == pytest.approx(10 * trial.params["rate"], abs=2e-3)
        assert trial.metrics["step"] == source.metrics["step"] + 10


def test_explore__copied_hyperparameters__are_perturbed_and_others_kept(make: Make) -> None:
    result = PopulationBasedTraining(6, 8, 10, 10).run(make, 1)
    copied = copies(result.trials)
    for trial in result.trials:
        if "parent" not in trial.metrics:
            continue
        source = result.trials[int(trial.metrics["parent"])]
        ratio = round(trial.params["rate"] / source.params["rate"], 9)
        if trial in copied:
            assert ratio in (0.8, 1.2) or trial.params["rate"] in (0.01, 1.0)
        else:
            assert trial.params == source.params


@pytest.mark.parametrize(("ready", "every"), [(10, 1), (20, 2), (25, 3), (1000, 99)])
def test_ready_interval__members__copy_only_when_ready(make: Make, ready: int, every: int) -> None:
    result = PopulationBasedTraining(6, 10, 10, ready).run(make, 0)
    intervals = {trial.number // 6 for trial in copies(result.trials)}
    assert all(interval % every == 0 for interval in intervals)
    assert bool(intervals) == (every < 10)


def test_result__best_and_schedule__are_the_checkpoints_own_past(make: Make) -> None:
    result = PopulationBasedTraining(6, 8, 10, 10).run(make, 3)
    sign = make().config.sign
    assert result.best.value == max((t.value or 0.0 for t in result.trials), key=lambda v: sign * v)
    weight, lived = json.loads(result.checkpoint)
    assert weight == sign * (result.best.value or 0.0)
    assert [trial.params["rate"] for trial in result.schedule] == lived
    assert "parent" not in result.schedule[0].metrics
    assert result.schedule[-1] == result.best
    assert len(set(lived)) > 1  # a schedule, not one value


def test_run__same_seed__repeats_itself_and_another_does_not(make: Make) -> None:
    method = PopulationBasedTraining(4, 5, 10, 10)
    assert method.run(make, 5) == method.run(make, 5)
    assert method.run(make, 5).trials != method.run(make, 6).trials


def test_run__diverging_members__take_over_sound_weights() -> None:
    result = PopulationBasedTraining(8, 6, 10, 1000).run(lambda: Counter(limit=0.2), 0)
    failed = [trial for trial in result.trials if trial.status is TrialStatus.FAILED]
    assert failed
    assert all("above 0.2" in (trial.reason or "") for trial in failed)
    ends = result.trials[-8:]
    assert sum(trial.status is TrialStatus.COMPLETED for trial in ends) >= 6
    assert copies(result.trials)  # though nobody was ready


def test_run__all_members_diverge__says_why() -> None:
    with pytest.raises(StudyError, match=r"none of 6 trials was completed.*is above 0\.001"):
        PopulationBasedTraining(3, 2, 10).run(lambda: Counter(limit=0.001), 0)


def test_fixed_values__random_search__has_the_very_members_a_population_starts_from(
    make: Make,
) -> None:
    fixed = FixedValues(5, 4, 10).run(make, 2).trials
    population = PopulationBasedTraining(5, 4, 10, 20).run(make, 2).trials
    assert [(t.params, t.value) for t in fixed[::4]] == [
        (t.params, t.value) for t in population[:5]
    ]
    assert len(fixed) == len(population)


def test_fixed_values__members__keep_their_values_and_weights(make: Make) -> None:
    trials = FixedValues(3, 4, 10, QuasiRandom).run(make, 0).trials
    for index in range(3):
        own = trials[4 * index : 4 * index + 4]
        assert len({tuple(trial.params.items()) for trial in own}) == 1
        assert [trial.metrics["step"] for trial in own] == [10.0, 20.0, 30.0, 40.0]
        assert [trial.metrics.get("parent") for trial in own] == [
            None,
            *(float(trial.number) for trial in own[:-1]),
        ]


def test_fixed_values__member_that_fails__leaves_its_steps_to_others() -> None:
    trials = FixedValues(6, 4, 10).run(lambda: Counter(limit=0.2), 0).trials
    assert len(trials) == 24
    lengths = Tally(trial.metrics["member"] for trial in trials)
    failed = {t.metrics["member"] for t in trials if t.status is TrialStatus.FAILED}
    assert len(lengths) > 6
    assert all(lengths[index] == 1 for index in failed)
    assert all(
        count == 4 for index, count in lengths.items() if index not in {*failed, max(lengths)}
    )
