"""Workers that train sessions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from optformer.data.objectives.quadratic import Quadratic
from optformer.data.studies.errors import ConfigError, StudyError
from optformer.data.systems.populations.base import Session, SessionOutcome
from optformer.data.systems.populations.sessions import AsynchronousSessions
from optformer.data.systems.populations.workers import WorkerProcesses, start_workers

from .conftest import Counter

SESSION = Session(None, 0, {"g": 0.5, "h": 0.5}, 10, 1)


class Lethal:
    """A value that ends the process which reads it."""

    def __reduce__(self) -> tuple[Callable[[int], None], tuple[int]]:
        return os._exit, (1,)


@pytest.fixture
def one_worker() -> Iterator[WorkerProcesses]:
    with WorkerProcesses(Quadratic, 1) as processes:
        yield processes


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
