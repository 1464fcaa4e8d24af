"""Asynchronous sessions."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable

import pytest

from optformer.data.objectives.quadratic import Quadratic
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.data.systems.populations.members import Member
from optformer.data.systems.populations.sessions import AsynchronousSessions, fitter

from .conftest import Counter

Make = Callable[[], Counter]


def kill_workers() -> int:
    """Kill the worker processes that are alive, as if out of memory; returns how many."""
    workers = multiprocessing.active_children()
    for worker in workers:
        os.kill(worker.pid or 0, signal.SIGKILL)
    return len(workers)


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
