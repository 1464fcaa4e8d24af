"""The queue of strings: child networks are trained by whichever worker is free.

Strings enter the queue in order, a free worker takes the first, and rewards come back in the order
of the strings, when they are asked for. A string that was trained before is answered from memory:
training is deterministic.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from types import TracebackType

import torch

from optformer.data.studies.errors import ConfigError, ObjectiveError
from optformer.data.systems.optimizer_search.children import NetworkTask, Training, train
from optformer.data.systems.optimizer_search.language import Rule

_ATTEMPTS = 3  # times a string is handed out before a dying worker is taken to be its fault


class TrainingQueue:
    """Trains networks of one task, in this process or in others.

    Use it as a context manager; leaving it ends the workers.

    Args:
        task: The network that every rule trains.
        workers: Processes, each with one thread; 0 trains in this one.

    Raises:
        ConfigError: `workers` is below 0.
    """

    def __init__(self, task: NetworkTask, workers: int = 0) -> None:
        if workers < 0:
            raise ConfigError(f"workers must be at least 0, got {workers}")
        self.task = task
        self._workers = workers
        self._pool = self._start() if workers else None
        self._known: dict[Rule, float] = {}
        self._running: dict[Rule, Future[Training]] = {}

    def __enter__(self) -> TrainingQueue:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def put(self, rules: Iterable[Rule]) -> None:
        """Let workers start on rules that `accuracies` will be asked for later."""
        with suppress(BrokenProcessPool):  # `accuracies` starts new workers and queues them again
            self._submit(rules)

    def accuracies(self, rules: Sequence[Rule]) -> list[float]:
        """Validation accuracy that each rule reaches, 0 when its training diverged.

        A worker that dies takes nothing with it: what it had not answered is queued again.

        Raises:
            ObjectiveError: Workers died several times in a row.
        """
        for attempt in range(_ATTEMPTS):
            new = [rule for rule in dict.fromkeys(rules) if rule not in self._known]
            try:
                self._train(new)
                break
            except BrokenProcessPool as error:
                self._replace_workers()
                if attempt == _ATTEMPTS - 1:
                    raise ObjectiveError(
                        f"workers died {_ATTEMPTS} times while training with {len(new)} rules; "
                        "see their output, or train in this process with workers=0"
                    ) from error
        return [self._known[rule] for rule in rules]

    def _train(self, rules: Sequence[Rule]) -> None:
        if self._pool is None:
            for rule in rules:
                self._known[rule] = train(self.task, rule).accuracy
            return
        self._submit(rules)
        for rule in rules:
            self._known[rule] = self._running[rule].result().accuracy
            del self._running[rule]

    def _submit(self, rules: Iterable[Rule]) -> None:
        """Queue those that are new; without workers, nothing."""
        if self._pool is not None:
            for rule in rules:
                if rule not in self._known and rule not in self._running:
                    self._running[rule] = self._pool.submit(train, self.task, rule)

    def _replace_workers(self) -> None:
        """Start new workers and forget what the dead ones had not answered."""
        self._pool = self._start()
        self._running = {
            rule: future for rule, future in self._running.items() if future.exception() is None
        }

    def _start(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(
            self._workers, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)
        )
