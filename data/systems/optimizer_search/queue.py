"""The queue of strings: child networks are trained by whichever worker is free.

Strings enter the queue in order, a free worker takes the first, and rewards come back in the order
of the strings, when they are asked for. A string that was trained before is answered from memory:
training is deterministic.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType

from optformer.data.runtime.workers import WorkerPool
from optformer.data.studies.errors import ConfigError, ObjectiveError
from optformer.data.systems.optimizer_search.children import NetworkTask, TrainingResult, train
from optformer.data.systems.optimizer_search.language import Rule


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
        self._pool = WorkerPool(workers) if workers else None
        self._known: dict[Rule, float] = {}
        self._running: dict[Rule, Future[TrainingResult]] = {}

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
        if self._pool is not None:
            for rule in rules:
                if rule not in self._known and rule not in self._running:
                    self._running[rule] = self._pool.submit(train, self.task, rule)

    def accuracies(self, rules: Sequence[Rule]) -> list[float]:
        """Validation accuracy that each rule reaches, 0 when its training diverged.

        Raises:
            ObjectiveError: Workers kept dying over a rule.
        """
        self.put(rules)
        for rule in rules:
            if rule not in self._known:
                self._known[rule] = self._train(rule).accuracy
        return [self._known[rule] for rule in rules]

    def _train(self, rule: Rule) -> TrainingResult:
        if self._pool is None:
            return train(self.task, rule)
        try:
            return self._running.pop(rule).result()
        except BrokenProcessPool as error:
            raise ObjectiveError(
                f"{error} to train with the rule {rule}; see their output, or train in this "
                "process with workers=0"
            ) from error
