"""Replicas of the controller, their server, and what dying workers cost."""

from __future__ import annotations

import copy
import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from optformer.data.studies.errors import ConfigError
from optformer.data.studies.trials import Trial
from optformer.data.systems.optimizer_search.children import CHILD
from optformer.data.systems.optimizer_search.controller import Controller
from optformer.data.systems.optimizer_search.language import Grammar, Rule
from optformer.data.systems.optimizer_search.parameter_server import (
    ParameterServer,
    Replica,
    search_with_replicas,
)
from optformer.data.systems.optimizer_search.policy import PolicyGradientConfig, PolicyLearner
from optformer.data.systems.optimizer_search.queue import TrainingQueue
from optformer.data.systems.optimizer_search.registry import RULE_SEARCHES
from optformer.data.systems.optimizer_search.search import search_rules

QUICK = replace(CHILD, train_images=128, validation_images=64, epochs=1, learning_rates=(0.01,))
REINFORCE = PolicyGradientConfig(algorithm="reinforce", learning_rate=0.05)
POLICIES = pytest.mark.parametrize(
    "policy", [PolicyGradientConfig(), REINFORCE], ids=["ppo", "reinforce"]
)


@POLICIES
def test_search__one_replica__is_the_search_with_a_queue(
    policy: PolicyGradientConfig, match_queue: TrainingQueue
) -> None:
    alone = search_with_replicas(policy, 1, match_queue, Grammar(1), 40, seed=3)
    assert alone == search_rules(policy, match_queue, Grammar(1), 40, seed=3)


@POLICIES
def test_replica__alone__moves_the_weights_as_a_learner_does(
    policy: PolicyGradientConfig, match_queue: TrainingQueue
) -> None:
    grammar = Grammar(1)
    learning = Controller(grammar, torch.Generator().manual_seed(0))
    learner = PolicyLearner(learning, policy)
    served = copy.deepcopy(learning)
    server = ParameterServer(served, policy.learning_rate)
    replica = Replica(server, copy.deepcopy(served), grammar, policy)
    first, second = (torch.Generator().manual_seed(1) for _ in range(2))
    for _ in range(3):
        rules = replica.write(8, first)
        rewards = match_queue.accuracies(rules)
        replica.learn(rewards)
        ids = learning.sample(8, second)
        assert [grammar.decode(row) for row in ids.tolist()] == rules
        learner.update(ids, rewards)
        for name, weights in learning.state_dict().items():
            assert torch.equal(weights, server.fetch()[name])


def test_search__four_replicas__learn_from_strings_three_batches_old(
    monkeypatch: pytest.MonkeyPatch, match_queue: TrainingQueue
) -> None:
    written: dict[Replica, int] = {}
    staleness: list[int] = []
    write, learn = Replica.write, Replica.learn

    def spied_write(self: Replica, count: int, generator: torch.Generator) -> list[Rule]:
        copies, weights = self._controller.state_dict(), self._server.fetch()
        assert all(torch.equal(copies[name], weights[name]) for name in weights)
        written[self] = len(staleness)
        return write(self, count, generator)

    def spied_learn(self: Replica, metrics: Sequence[float]) -> None:
        staleness.append(len(staleness) - written[self])
        copies, weights = self._controller.state_dict(), self._server.fetch()
        same = all(torch.equal(copies[name], weights[name]) for name in weights)
        assert same == (staleness[-1] == 0)
        learn(self, metrics)

    monkeypatch.setattr(Replica, "write", spied_write)
    monkeypatch.setattr(Replica, "learn", spied_learn)
    history = search_with_replicas(REINFORCE, 4, match_queue, Grammar(1), 38, seed=0)
    assert len(history) == 38
    assert len(written) == 4
    assert staleness == [0, 1, 2, 3, 3, 3, 3, 3, 3, 3]


def test_search__same_seed__gives_the_same_trials(match_queue: TrainingQueue) -> None:
    def search(seed: int) -> list[Trial]:
        return search_with_replicas(REINFORCE, 4, match_queue, Grammar(2), 30, seed)

    assert search(0) == search(0) != search(1)
    assert [trial.number for trial in search(0)] == list(range(30))


def test_search__fewer_batches_than_replicas__trains_with_all_strings(
    match_queue: TrainingQueue,
) -> None:
    assert len(search_with_replicas(REINFORCE, 16, match_queue, Grammar(1), 3, seed=0)) == 3


@pytest.mark.parametrize("name", ["rule-replicas-ppo", "rule-replicas-reinforce"])
def test_search__replicas__rise_over_random_rules(name: str, match_queue: TrainingQueue) -> None:
    def late(method: str) -> float:
        search = RULE_SEARCHES[method]
        history = search(match_queue, Grammar(1), 160, 0, lambda trial: None)
        return float(np.mean([trial.value or 0.0 for trial in history[-40:]]))

    assert late(name) > late("random-rules") + 0.1


@pytest.mark.parametrize("replicas", [0, 17])
def test_search__replicas_out_of_range__are_refused(
    replicas: int, match_queue: TrainingQueue
) -> None:
    with pytest.raises(ConfigError, match=f"replicas must be from 1 to 16, got {replicas}"):
        search_with_replicas(REINFORCE, replicas, match_queue, Grammar(1), 10, seed=0)


@pytest.mark.slow
def test_search__worker_killed_on_the_way__gives_the_trials_of_no_workers() -> None:
    killed: list[int] = []

    def kill_once(trial: Trial) -> None:
        if not killed:
            worker = multiprocessing.active_children()[0]
            killed.append(trial.number)
            worker.kill()

    def search(queue: TrainingQueue, report: Callable[[Trial], None]) -> list[Trial]:
        return search_with_replicas(REINFORCE, 4, queue, Grammar(1), 8, 0, report)

    with TrainingQueue(QUICK, workers=1) as queue:
        assert search(queue, kill_once) == search(TrainingQueue(QUICK), lambda trial: None)
    assert killed == [0]
