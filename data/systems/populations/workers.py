"""Workers that train sessions: this process, or processes of their own that may die."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Self

from optformer.data.studies.errors import ConfigError, StudyError
from optformer.data.systems.populations.base import (
    Outcome,
    Session,
    Trainable,
    TrainableFactory,
    train_session,
)

ATTEMPTS = 3
"""A session fails when this many workers died over it."""

_FAREWELL = 5.0  # seconds that a process which hung up may take to end


class Workers(ABC):
    """Train sessions in the order they are submitted; a worker keeps nothing between two."""

    @abstractmethod
    def submit(self, key: int, session: Session) -> None:
        """Queue a session; the first free worker takes it. Keys of waiting sessions differ."""

    @abstractmethod
    def next(self) -> tuple[int, Outcome]:
        """Wait for a session to end, whichever it is; returns its key and what became of it.

        What the trainable raises, but for what makes a session fail, is raised here.

        Raises:
            StudyError: No session is under way.
        """

    @abstractmethod
    def close(self) -> None:
        """Stop the workers; sessions under way are lost."""

    def train_all(self, sessions: Iterable[Session]) -> list[Outcome]:
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


def start_workers(make: TrainableFactory, count: int) -> Workers:
    """Workers for one trainable: this process for a count of 0, or that many processes.

    Raises:
        ConfigError: The count is below 0.
    """
    if count < 0:
        raise ConfigError(f"workers must be at least 0, got {count}")
    return WorkerProcesses(make, count) if count else InProcess(make)


class InProcess(Workers):
    """One worker that is this process: sessions end in the order they came.

    Args:
        make: Makes what is trained.
    """

    def __init__(self, make: TrainableFactory):
        self._trainable = make()
        self._queue: deque[tuple[int, Session]] = deque()

    def submit(self, key: int, session: Session) -> None:
        """See `Workers.submit`."""
        self._queue.append((key, session))

    def next(self) -> tuple[int, Outcome]:
        """See `Workers.next`."""
        if not self._queue:
            raise StudyError("no session is under way; submit one first")
        key, session = self._queue.popleft()
        return key, train_session(self._trainable, session)

    def close(self) -> None:
        """See `Workers.close`."""
        self._queue.clear()


class WorkerProcesses(Workers):
    """Processes that train, one session each at a time, on one thread.

    A worker that dies is replaced and its session handed out again; a session over which three
    workers died has failed.

    Args:
        make: Makes what is trained; it is pickled.
        count: Number of processes, at least 1.
    """

    def __init__(self, make: TrainableFactory, count: int):
        self._make = make
        self._count = count
        self._queue: deque[_Job] = deque()
        self._workers: list[_Worker] = []

    def submit(self, key: int, session: Session) -> None:
        """See `Workers.submit`."""
        self._queue.append(_Job(key, session))
        self._hand_out()

    def next(self) -> tuple[int, Outcome]:
        """See `Workers.next`."""
        while True:
            busy = [(worker, worker.job) for worker in self._workers if worker.job]
            if not busy:
                raise StudyError("no session is under way; submit one first")
            ready = wait([worker.connection for worker, _ in busy])
            ended = self._ended(*next(pair for pair in busy if pair[0].connection in ready))
            self._hand_out()
            if ended is not None:
                return ended

    def close(self) -> None:
        """See `Workers.close`."""
        for worker in self._workers:
            worker.stop()
        self._workers.clear()
        self._queue.clear()

    def _hand_out(self) -> None:
        """Give waiting sessions to free workers, and start workers while there are too few."""
        while self._queue:
            free = next((worker for worker in self._workers if not worker.job), None)
            if free is None:
                if len(self._workers) == self._count:
                    return
                free = _Worker(self._make)
                self._workers.append(free)
            free.take(self._queue.popleft())

    def _ended(self, worker: _Worker, job: _Job) -> tuple[int, Outcome] | None:
        """The outcome a worker has sent; None when it died and its session waits for another."""
        try:
            outcome: Outcome | Exception = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join(_FAREWELL)  # its own exit status, not that of being stopped
            worker.stop()
            self._workers.remove(worker)
            job.attempts += 1
            if job.attempts < ATTEMPTS:
                self._queue.appendleft(job)
                return None
            outcome = Outcome(
                reason=f"{ATTEMPTS} workers died, exit status {worker.process.exitcode}"
            )
        worker.job = None
        if isinstance(outcome, Exception):
            raise outcome
        return job.key, outcome


@dataclass
class _Job:
    """A session with its key and the number of workers that died over it."""

    key: int
    session: Session
    attempts: int = 0


class _Worker:
    """A process and what it is at; `job` is None while it is free."""

    def __init__(self, make: TrainableFactory):
        context = multiprocessing.get_context("spawn")  # forking would copy torch's threads
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_work, args=(theirs,), daemon=True)
        self.job: _Job | None = None
        self.process.start()
        theirs.close()  # so that the worker's death is the end of the connection
        self._send(make)

    def take(self, job: _Job) -> None:
        """Hand a session to the free worker."""
        self.job = job
        self._send(job.session)

    def stop(self) -> None:
        """End the process, at once."""
        self.connection.close()
        self.process.terminate()
        self.process.join()

    def _send(self, what: TrainableFactory | Session) -> None:
        with suppress(OSError):  # a dead worker is found out when its answer is awaited
            self.connection.send(what)


def _work(connection: Connection) -> None:
    """A worker's life: what is trained comes first, then sessions until the other end closes."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the factory may load torch, which reads it
    try:
        make: TrainableFactory = connection.recv()
        trainable: Trainable | None = None
        while True:
            session: Session = connection.recv()
            try:
                trainable = trainable or make()
                outcome = train_session(trainable, session)
            except Exception as error:  # the user's code, which may raise anything
                connection.send(_portable(error))
                raise
            connection.send(outcome)
    except (EOFError, KeyboardInterrupt, BrokenPipeError):
        return


def _portable(error: Exception) -> Exception:
    """An error that can be sent, with where it was raised as a note."""
    where = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except (pickle.PickleError, AttributeError, TypeError):
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(f"raised in a worker process:\n{where}")
    return error
