"""What every population method must do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from optformer.data.studies.errors import StudyError
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.data.systems.populations import POPULATIONS, PopulationRun
from optformer.data.systems.populations.fixed import FixedValues
from optformer.data.systems.populations.partitioned import PartitionedPopulations
from optformer.data.systems.populations.pbt import PopulationBasedTraining
from optformer.data.systems.populations.progressive import ProgressiveLearning
from optformer.data.systems.populations.sessions import AsynchronousSessions

from .conftest import Counter

Make = Callable[[], Counter]

STEPS = 10
METHODS: dict[str, tuple[PopulationRun, int]] = {  # small ones, and the intervals they train
    "asynchronous-sessions": (AsynchronousSessions(6, 5, STEPS), 30),
    "fixed-values": (FixedValues(6, 5, STEPS), 30),
    "partitioned-populations": (PartitionedPopulations(2, 2, 2, 5, STEPS, 2 * STEPS), 30),
    "population-based-training": (PopulationBasedTraining(6, 5, STEPS, 2 * STEPS), 30),
    "progressive-learning": (ProgressiveLearning(6, 5, STEPS, ["rate", "units"]), 30),
}


def test_methods__registry__are_all_held_to_this() -> None:
    assert sorted(METHODS) == POPULATIONS.names()
    for name, (method, _) in METHODS.items():
        assert type(POPULATIONS[name]()) is type(method)


@pytest.mark.parametrize("name", METHODS)
class TestPopulationConformance:
    """Runs for every method of the registry."""

    def test_run__trials__are_legal_and_spend_the_budget(self, name: str, make: Make) -> None:
        method, intervals = METHODS[name]
        told: list[Trial] = []
        result = method.run(make, 0, report=told.append)
        assert told == list(result.trials)
        assert [trial.number for trial in told] == list(range(intervals))
        space = make().config.space
        for trial in told:
            assert space.validate(trial.params) == trial.params
            assert trial.status is TrialStatus.COMPLETED

    def test_run__parents__lead_back_to_fresh_weights(self, name: str, make: Make) -> None:
        result = METHODS[name][0].run(make, 0)
        for trial in result.trials:
            parent = trial.metrics.get("parent")
            before = 0.0 if parent is None else result.trials[int(parent)].metrics["step"]
            assert trial.metrics["step"] == before + STEPS
        rates = [trial.params["rate"] for trial in result.schedule]
        trained = make()
        trained.load(result.checkpoint)
        assert trained.lived == rates
        assert abs(trained.weight) == pytest.approx(abs(result.best.value or 0.0))

    def test_run__seed__decides_everything(self, name: str, make: Make) -> None:
        method = METHODS[name][0]
        first = method.run(make, 4)
        assert method.run(make, 4).trials == first.trials
        assert method.run(make, 5).trials != first.trials

    def test_run__some_members_diverge__others_give_the_result(self, name: str) -> None:
        result = METHODS[name][0].run(partial(Counter, limit=0.1), 0)
        failed = [trial for trial in result.trials if trial.status is TrialStatus.FAILED]
        assert failed
        assert all("is above 0.1" in (trial.reason or "") for trial in failed)
        assert result.best.params["rate"] <= 0.1

    def test_run__everything_diverges__says_why(self, name: str) -> None:
        with pytest.raises(StudyError, match=r"none of .* trials was completed.*is above 0"):
            METHODS[name][0].run(partial(Counter, limit=0.0), 0)
