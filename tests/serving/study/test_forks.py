"""A process that is forked while a thread of its parent suggests is not stuck."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from optformer.planning import planner as planning
from optformer.serving.study.study import Study
from tests.serving.conftest import RandomPlanner

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked on POSIX"),
    pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning"),
]
_PATIENCE = 20.0


def succeeds_in_a_fork(call: Callable[[], object]) -> bool:
    if (child := os.fork()) == 0:
        try:
            call()
            os._exit(0)
        finally:
            os._exit(1)
    started = time.monotonic()
    while time.monotonic() - started < _PATIENCE:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status == 0
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


@contextmanager
def suggesting(study: Study, planner: RandomPlanner) -> Iterator[None]:
    """A thread that is planning, and so has every lock of a suggestion."""
    began, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        began.set()
        go_on.wait(2 * _PATIENCE)

    planner.during = wait
    thread = threading.Thread(target=study.suggest)
    thread.start()
    assert began.wait(_PATIENCE)
    planner.during = None
    try:
        yield
    finally:
        go_on.set()
        thread.join()


def test_fork__a_thread_suggests__a_child_uses_the_same_study(
    make_study: Callable[..., Study], planner: RandomPlanner
) -> None:
    study = make_study()
    with suggesting(study, planner):
        assert succeeds_in_a_fork(lambda: study.observe(study.suggest(), 0.5))
    assert len(study.trials) == 1


def test_fork__a_thread_suggests__a_child_observes_in_the_storage(
    address: str, make_study: Callable[..., Study], planner: RandomPlanner
) -> None:
    study = make_study(storage=address)
    trial = study.suggest()
    with suggesting(study, planner):
        assert succeeds_in_a_fork(lambda: study.observe(trial, 0.5))
    assert study.trials[0].value == 0.5


def test_fork__a_thread_plans__the_turn_of_planners_is_free_in_a_child() -> None:
    with planning._TURN:
        assert succeeds_in_a_fork(lambda: planning._TURN.acquire(timeout=1) or os._exit(1))
        assert planning._TURN.locked()
