"""Asynchronous sessions and the workers that train them."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from optformer.data.objectives.quadratic import Quadratic
from optformer.data.studies.errors import ConfigError, StudyError
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.data.systems.populations.base import Session, SessionOutcome
from optformer.data.systems.populations.members import Member
from optformer.data.systems.populations.sessions import AsynchronousSessions, fitter
from optformer.data.systems.populations.workers import WorkerProcesses, start_workers

from .conftest import Counter

Make = Callable[[], Counter]
SESSION = Session(None, 0, {"g": 0.5, "h": 0.5}, 10, 1)


def kill_workers() -> int:
    """Kill the worker processes that are alive, as if out of memory; returns how many."""
    workers = multiprocessing.active_children()
    for worker in workers:
        os.kill(worker.pid or 0, signal.SIGKILL)
    return len(workers)


class Lethal:
    """A value that ends the process which reads it."""

    def __reduce__(self) -> tuple[Callable[[int], None], tuple[int]]:
        return os._exit, (1,)


@pytest.fixture
def one_worker() -> Iterator[WorkerProcesses]:
    with WorkerProcesses(Quadratic, 1) as processes:
        yield processes


def test_fitter__two_sessions__the_better_is_the_parent() -> None:
    worse, better = Member({}, 0, scores=[5.0, 1.0]), Member({}, 1, scores=[0.0, 2.0])
    assert fitter(worse, better) is better
    assert fitter(better, worse) is better
    assert fitter(worse, Member({}, 2, scores=[1.0])) is worse


def test_run__children__have_the_parents_checkpoint_and_mutated_hyperparameters(make: Make) -> None:
    result = AsynchronousSessions(4, 10, 10).run(make, 0)
    assert len(result.trials) == 40
    sign = make().config.sign
    children = [trial for trial in result.trials if "parent" in trial.metrics]
    assert len(children) == 36
    taken_over = 0
    for child in children:
        parent = result.trials[int(child.metrics["parent"])]
        ratio = round(child.params["rate"] / parent.params["rate"], 9)
        assert ratio in (0.8, 1.2) or child.params["rate"] in (0.01, 1.0)
        added = sign * ((child.value or 0.0) - (parent.value or 0.0))
        assert added == pytest.approx(10 * child.params["rate"], abs=2e-3)
        if parent.metrics["member"] != child.metrics["member"]:
            # The better of two: the child's own line stood worse when it lost.
            own = [
                trial
                for trial in result.trials[: child.number]
                if trial.metrics["member"] == child.metrics["member"]
            ][-1]
            assert sign * (parent.value or 0.0) > sign * (own.value or 0.0)
            taken_over += 1
    assert taken_over > 3


def test_run__failed_session__is_replaced_by_a_child_of_another() -> None:
    result = AsynchronousSessions(4, 10, 10).run(lambda: Counter(limit=0.1), 1)
    failed = [trial for trial in result.trials if trial.status is TrialStatus.FAILED]
    assert failed
    assert len(result.trials) == 40
    assert "above 0.1" in (failed[0].reason or "")
    for trial in result.trials:
        if "parent" in trial.metrics:
            assert result.trials[int(trial.metrics["parent"])].value is not None


def test_run__one_worker__gives_what_this_process_gives() -> None:
    method = AsynchronousSessions(3, 4, 5)
    here = method.run(Quadratic, 7)
    assert method.run(Quadratic, 7, workers=1) == here
    assert method.run(Quadratic, 8) != here


def test_run__two_workers_of_which_one_dies__trains_every_session() -> None:
    killed: list[int] = []

    def kill_once(trial: Trial) -> None:
        if trial.number == 1:
            killed.append(kill_workers())

    method = AsynchronousSessions(4, 4, 5)
    result = method.run(Quadratic, 0, workers=2, report=kill_once)
    assert killed[0] >= 1
    assert len(result.trials) == 16
    assert all(trial.status is TrialStatus.COMPLETED for trial in result.trials)
    assert multiprocessing.active_children() == []


def test_workers__session_that_kills_every_worker__fails(
    one_worker: WorkerProcesses,
) -> None:
    one_worker.submit(5, Session(None, 0, {"g": Lethal()}, 10, 1))  # type: ignore[dict-item]
    one_worker.submit(6, SESSION)
    assert one_worker.next() == (
        5,
        SessionOutcome(reason="a worker process died in each of 3 attempts"),
    )
    assert one_worker.next()[1].value is not None


@pytest.mark.parametrize("count", [0, 1])
def test_workers__trainable_that_raises__raises_here(count: int) -> None:
    with start_workers(Quadratic, count) as found:
        found.submit(5, Session(None, 0, {"h": 0.5}, 10, 1))
        with pytest.raises(KeyError, match="g") as caught:
            found.next()
        assert (caught.value.__cause__ is None) == (count == 0)  # where the worker raised it
        found.submit(6, SESSION)  # the worker lives
        assert found.next()[0] == 6


def test_workers__trainable_that_cannot_be_made__raises_here() -> None:
    with start_workers(partial(Quadratic, *range(9)), 1) as found:
        found.submit(5, SESSION)
        with pytest.raises(TypeError, match="positional argument"):
            found.next()


def test_train_all__two_workers__keeps_the_order() -> None:
    sessions = [Session(None, 0, {"g": 0.1 * i, "h": 0.5}, 20, i) for i in range(6)]
    with start_workers(Quadratic, 0) as here, start_workers(Quadratic, 2) as others:
        assert others.train_all(sessions) == here.train_all(sessions)


def test_workers__settings__are_checked() -> None:
    with pytest.raises(ConfigError, match="seed must be a whole number of at least 0, got -1"):
        AsynchronousSessions(4, 4, 5).run(Quadratic, -1)
    with pytest.raises(ConfigError, match="workers must be at least 0, got -1"):
        start_workers(Quadratic, -1)
    with pytest.raises(ConfigError, match="population must be at least 2, got 1"):
        AsynchronousSessions(population=1)
    for idle in (start_workers(Quadratic, 0), start_workers(partial(Quadratic, 0.1), 1)):
        with pytest.raises(StudyError, match="no session is under way"), idle:
            idle.next()


def test_outcome__value_that_is_not_finite__is_a_failure() -> None:
    with start_workers(lambda: Counter(), 0) as here:
        params = {"rate": float("nan"), "units": 1, "kind": "a"}
        [outcome] = here.train_all([Session(None, 0, params, 10, 1)])
    assert outcome == SessionOutcome(reason="the metric is nan")
