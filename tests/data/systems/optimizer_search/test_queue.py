"""Trainings in this process and in others."""

from __future__ import annotations

from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Any

import pytest

from optformer.data.runtime.workers import WorkerPool
from optformer.data.studies.errors import ConfigError, ObjectiveError
from optformer.data.systems.optimizer_search import queue as queue_module
from optformer.data.systems.optimizer_search.children import (
    CHILD,
    NetworkTask,
    train,
)
from optformer.data.systems.optimizer_search.language import KNOWN_RULES, Rule
from optformer.data.systems.optimizer_search.queue import TrainingQueue

QUICK = replace(CHILD, train_images=128, validation_images=64, epochs=1, learning_rates=(0.01,))


class TestQueue:
    RULES = (KNOWN_RULES["adam"], KNOWN_RULES["sgd"], KNOWN_RULES["adam"])

    def test_accuracies__repeated_rule__is_trained_once(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trained: list[Rule] = []
        monkeypatch.setattr(
            queue_module, "train", lambda task, rule: trained.append(rule) or train(task, rule)
        )
        with TrainingQueue(QUICK) as queue:
            found = queue.accuracies(self.RULES)
            assert queue.accuracies(self.RULES) == found
        assert found[0] == found[2] == train(QUICK, KNOWN_RULES["adam"]).accuracy
        assert trained == [KNOWN_RULES["adam"], KNOWN_RULES["sgd"]]

    def test_accuracies__workers__give_the_same_in_the_same_order(self) -> None:
        with TrainingQueue(QUICK, workers=2) as queue, TrainingQueue(QUICK) as here:
            assert queue.accuracies(self.RULES) == here.accuracies(self.RULES)

    def test_accuracies__workers_that_die_over_a_rule__are_reported(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def submit(pool: WorkerPool, *call: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_exception(BrokenProcessPool("a worker process died in each of 3 attempts"))
            return future

        monkeypatch.setattr(WorkerPool, "submit", submit)
        with (
            TrainingQueue(QUICK, workers=1) as queue,
            pytest.raises(ObjectiveError, match="3 attempts to train with the rule g 1 x x left"),
        ):
            queue.accuracies(self.RULES[1:])

    def test_put__rules_under_way_or_known__are_not_trained_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        submitted: list[Rule] = []

        def submit(pool: WorkerPool, function: Any, task: NetworkTask, rule: Rule) -> Future[Any]:
            submitted.append(rule)
            future: Future[Any] = Future()
            future.set_result(function(task, rule))
            return future

        monkeypatch.setattr(WorkerPool, "submit", submit)
        with TrainingQueue(QUICK, workers=1) as queue:
            queue.put(self.RULES[:1])
            queue.put(self.RULES)
            assert submitted == list(self.RULES[:2])
            queue.accuracies(self.RULES)
            queue.put(self.RULES)
        assert submitted == list(self.RULES[:2])

    def test_queue__negative_workers__is_refused(self) -> None:
        with pytest.raises(ConfigError, match="workers must be at least 0, got -1"):
            TrainingQueue(QUICK, workers=-1)
