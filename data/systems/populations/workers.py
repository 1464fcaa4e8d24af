"""Workers that train sessions: this process, or processes of their own that may die."""

from __future__ import annotations

import pickle
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from types import TracebackType
from typing import Self

from optformer.data.runtime.workers import WorkerPool
from optformer.data.studies.errors import ConfigError, StudyError
from optformer.data.systems.populations.base import (
    Session,
    SessionOutcome,
    Trainable,
    TrainableFactory,
    train_session,
)


class SessionWorkers(ABC):
    """Train sessions in the order they are submitted; a worker keeps nothing between two."""

    @abstractmethod
    def submit(self, key: int, session: Session) -> None:
        """Queue a session; the first free worker takes it. Keys of waiting sessions differ."""

    @abstractmethod
    def next(self) -> tuple[int, SessionOutcome]:
        """Wait for a session to end, whichever it is; returns its key and what became of it.

        What the trainable raises, but for what makes a session fail, is raised here.

        Raises:
            StudyError: No session is under way.
        """

    @abstractmethod
    def close(self) -> None:
        """Stop the workers; sessions that have not begun are dropped."""

    def train_all(self, sessions: Iterable[Session]) -> list[SessionOutcome]:
        """Train sessions and wait for all of them; the outcomes are in their order."""
        count = 0
        for key, session in enumerate(sessions):
            self.submit(key, session)
            count += 1
        outcomes = dict(self.next() for _ in range(count))
        return [outcomes[key] for key in range(count)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def start_workers(make: TrainableFactory, count: int) -> SessionWorkers:
    """Workers for one trainable: this process for a count of 0, or that many processes.

    Raises:
        ConfigError: The count is below 0.
    """
    if count < 0:
        raise ConfigError(f"workers must be at least 0, got {count}")
    return WorkerProcesses(make, count) if count else InProcess(make)


class InProcess(SessionWorkers):
    """One worker that is this process: sessions end in the order they came.

    Args:
        make: Makes what is trained.
    """

    def __init__(self, make: TrainableFactory):
        self._trainable = make()
        self._queue: deque[tuple[int, Session]] = deque()

    def submit(self, key: int, session: Session) -> None:
        """See `SessionWorkers.submit`."""
        self._queue.append((key, session))

    def next(self) -> tuple[int, SessionOutcome]:
        """See `SessionWorkers.next`."""
        if not self._queue:
            raise StudyError("no session is under way; submit one first")
        key, session = self._queue.popleft()
        return key, train_session(self._trainable, session)

    def close(self) -> None:
        """See `SessionWorkers.close`."""
        self._queue.clear()


class WorkerProcesses(SessionWorkers):
    """Processes that train, one session each at a time, on one thread.

    A worker that dies is replaced and its session handed out again; a session over which three
    workers died has failed.

    Args:
        make: Makes what is trained; it is pickled.
        count: Number of processes, at least 1.
    """

    def __init__(self, make: TrainableFactory, count: int):
        self._pool = WorkerPool(count)
        self._make = pickle.dumps(make)
        self._running: dict[Future[SessionOutcome], int] = {}

    def submit(self, key: int, session: Session) -> None:
        """See `SessionWorkers.submit`."""
        self._running[self._pool.submit(_train, self._make, session)] = key

    def next(self) -> tuple[int, SessionOutcome]:
        """See `SessionWorkers.next`."""
        if not self._running:
            raise StudyError("no session is under way; submit one first")
        wait(self._running, return_when=FIRST_COMPLETED)
        ended = next(future for future in self._running if future.done())
        key = self._running.pop(ended)
        try:
            return key, ended.result()
        except BrokenProcessPool as error:
            return key, SessionOutcome(reason=str(error))

    def close(self) -> None:
        """See `SessionWorkers.close`."""
        self._pool.shutdown(cancel_futures=True)
        self._running.clear()


def _train(make: bytes, session: Session) -> SessionOutcome:
    """Train a session in a worker process."""
    return train_session(_trainable(make), session)


@cache
def _trainable(make: bytes) -> Trainable:
    """What a worker process trains, made for its first session."""
    made: Trainable = pickle.loads(make)()
    return made
