"""The queue of strings: child networks are trained by whichever worker is free.

Strings enter the queue in order, a free worker takes the first, and rewards come back in the order
of the strings. A string that was trained before is answered from memory: training is deterministic.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType

import torch

from optformer.data.errors import ConfigError, ObjectiveError
from optformer.data.optimizer_search.children import NetworkTask, train
from optformer.data.optimizer_search.language import Rule

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
                self._pool = self._start()
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
        futures = [self._pool.submit(train, self.task, rule) for rule in rules]
        for rule, future in zip(rules, futures, strict=True):
            self._known[rule] = future.result().accuracy

    def _start(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(
            self._workers, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)
        )
