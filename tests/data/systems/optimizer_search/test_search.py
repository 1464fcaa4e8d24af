"""Children, the controller and what it learns from them."""

from __future__ import annotations

import math
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from optformer.data.runtime.workers import WorkerPool
from optformer.data.studies.errors import ConfigError, MetricError, ObjectiveError
from optformer.data.systems.optimizer_search import queue as queue_module
from optformer.data.systems.optimizer_search.children import (
    CHILD,
    TARGET,
    NetworkTask,
    build,
    train,
    train_with,
)
from optformer.data.systems.optimizer_search.controller import Controller
from optformer.data.systems.optimizer_search.language import KNOWN_RULES, Grammar, Rule
from optformer.data.systems.optimizer_search.policy import PolicyGradientConfig, PolicyLearner
from optformer.data.systems.optimizer_search.queue import TrainingQueue
from optformer.data.systems.optimizer_search.registry import RULE_SEARCHES
from optformer.data.systems.optimizer_search.search import random_rules, search_rules
from optformer.data.systems.optimizer_search.space import (
    rule_config,
    to_params,
    to_rule,
)

QUICK = replace(CHILD, train_images=128, validation_images=64, epochs=1, learning_rates=(0.01,))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class TestChildren:
    def test_train__adam__learns_the_digits_and_repeats_itself(self) -> None:
        training = train(CHILD, KNOWN_RULES["adam"])
        assert training.accuracy > 0.85
        assert training.losses[-1] < 0.6 * training.losses[0]
        assert training == train(CHILD, KNOWN_RULES["adam"])

    def test_train__several_rates__takes_the_best_after_an_epoch(self) -> None:
        training = train(CHILD, KNOWN_RULES["sgd"])
        probes = {
            rate: train_with(CHILD, KNOWN_RULES["sgd"], rate, epochs=1).accuracy
            for rate in CHILD.learning_rates
        }
        assert training.learning_rate == max(probes, key=lambda rate: probes[rate])

    @pytest.mark.parametrize("text", ["g 1 log x left", "g 1 -x x left", "1e-1w g exp x *"])
    def test_train__rule_that_explodes_or_climbs__is_scored_low(self, text: str) -> None:
        assert 0.0 <= train_with(CHILD, Rule.parse(text), 1.0, epochs=2).accuracy < 0.5

    def test_train__not_finite__has_accuracy_zero_and_stops(self) -> None:
        rule = Rule.parse("g3 2 log x /")  # the log of a zero gradient is minus infinity
        training = train_with(CHILD, rule, 1.0, epochs=2)
        assert training.accuracy == 0.0
        assert not math.isfinite(training.losses[-1])
        assert len(training.losses) < 20

    def test_build__target__is_larger_and_convolutional(self) -> None:
        sizes = [
            sum(p.numel() for p in build(task, generator()).parameters())
            for task in (CHILD, TARGET)
        ]
        assert sizes[1] > 5 * sizes[0]
        assert build(TARGET, generator())(torch.zeros(3, 1, 8, 8)).shape == (3, 10)

    def test_build__seed__decides_the_weights(self) -> None:
        first, again, other = (build(CHILD, generator(seed))[1].weight for seed in (0, 0, 1))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"epochs": 0}, "epochs must be at least 1, got 0"),
            ({"channels": (4, 4, 4, 4)}, "at most 3 convolutions"),
            ({"learning_rates": (0.1, 0.0)}, "learning_rates must be above 0"),
            ({"train_images": 1700}, r"at most 1797, got 1700 \+ 400"),
        ],
    )
    def test_task__setting_out_of_range__is_refused(
        self, settings: dict[str, object], message: str
    ) -> None:
        with pytest.raises(ConfigError, match=message):
            NetworkTask(**settings)  # type: ignore[arg-type]


class TestController:
    def test_sample__any_number_of_iterations__follows_the_grammar(self) -> None:
        for iterations in (1, 3):
            grammar = Grammar(iterations)
            ids = Controller(grammar, generator()).sample(50, generator(1))
            assert ids.shape == (50, 5 * iterations)
            for row in ids.tolist():
                assert len(grammar.decode(row).iterations) == iterations

    def test_forward__untrained__is_nearly_uniform_over_legal_symbols(self) -> None:
        grammar = Grammar(2)
        controller = Controller(grammar, generator())
        chosen, entropy = controller(controller.sample(8, generator(1)))
        legal = torch.tensor(grammar.legal.sum(1), dtype=torch.float32)
        assert torch.allclose(entropy, legal.log().expand_as(entropy), atol=0.02)
        assert torch.allclose(chosen, -legal.log().expand_as(chosen), atol=0.3)

    def test_forward__log_probabilities__are_those_it_samples_by(self) -> None:
        grammar = Grammar(1)
        controller = Controller(grammar, generator())
        with torch.no_grad():
            controller.head.bias[grammar.encode(KNOWN_RULES["adam"])[0]] = 2.0
        ids = controller.sample(4000, generator(1))
        first = grammar.encode(KNOWN_RULES["adam"])[0]
        share = float((ids[:, 0] == first).float().mean())
        with torch.no_grad():
            chosen, _ = controller(ids[ids[:, 0] == first][:1])
        assert share == pytest.approx(float(chosen[0, 0].exp()), abs=0.02)

    def test_controller__no_units__is_refused(self) -> None:
        with pytest.raises(ConfigError, match="width must be at least 1, got 0"):
            Controller(Grammar(1), generator(), width=0)


class TestPolicy:
    @pytest.mark.parametrize("algorithm", ["ppo", "reinforce"])
    def test_update__rewarded_string__becomes_likelier(self, algorithm: str) -> None:
        controller = Controller(Grammar(1), generator())
        learner = PolicyLearner(controller, PolicyGradientConfig(algorithm=algorithm))  # type: ignore[arg-type]
        ids = controller.sample(6, generator(1))

        def log_probability() -> Tensor:
            with torch.no_grad():
                return controller(ids)[0].sum(1)

        before = log_probability()
        learner.update(ids, [1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
        gained = log_probability() - before
        assert gained[0] > 0
        assert gained[0] == gained.max()

    def test_baseline__batches__is_their_moving_average(self) -> None:
        controller = Controller(Grammar(1), generator())
        learner = PolicyLearner(controller, PolicyGradientConfig(baseline_decay=0.75))
        ids = controller.sample(2, generator(1))
        learner.update(ids, [0.2, 0.6])
        assert learner.baseline == pytest.approx(0.4)
        learner.update(ids, [0.8, 0.8])
        assert learner.baseline == pytest.approx(0.75 * 0.4 + 0.25 * 0.8)

    def test_baseline__shape__applies_to_the_rewards(self) -> None:
        for shape, expected in (("identity", 0.25), ("square", 0.0625), ("cube", 0.015625)):
            controller = Controller(Grammar(1), generator())
            learner = PolicyLearner(controller, PolicyGradientConfig(shape=shape))
            learner.update(controller.sample(1, generator(1)), [0.25])
            assert learner.baseline == pytest.approx(expected)

    def test_update__metric_out_of_range__is_refused(self) -> None:
        controller = Controller(Grammar(1), generator())
        learner = PolicyLearner(controller, PolicyGradientConfig())
        with pytest.raises(MetricError, match=r"a metric in \[0, 1\] for each of 2 strings"):
            learner.update(controller.sample(2, generator()), [0.5, math.nan])

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"algorithm": "a2c"}, "algorithm must be 'ppo' or 'reinforce', got 'a2c'"),
            ({"shape": "log"}, "shape must be one of"),
            ({"learning_rate": 0.0}, "learning_rate must be above 0"),
            ({"entropy_weight": -1.0}, "entropy_weight must be at least 0"),
            ({"baseline_decay": 1.0}, r"baseline_decay must be in \[0, 1\)"),
            ({"clip": 0.0}, "clip must be above 0"),
            ({"passes": 0}, "passes must be at least 1"),
        ],
    )
    def test_config__setting_out_of_range__is_refused(
        self, settings: dict[str, object], message: str
    ) -> None:
        with pytest.raises(ConfigError, match=message):
            PolicyGradientConfig(**settings)  # type: ignore[arg-type]


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


class TestSearch:
    @pytest.mark.parametrize("name", ["rule-controller-ppo", "rule-controller-reinforce"])
    def test_search__controller__rises_over_random_rules(
        self, name: str, match_queue: TrainingQueue
    ) -> None:
        def late(method: str, seed: int) -> float:
            history = RULE_SEARCHES[method](match_queue, Grammar(1), 240, seed, lambda trial: None)
            return float(np.mean([trial.value or 0.0 for trial in history[-48:]]))

        gains = [late(name, seed) - late("random-rules", seed) for seed in range(3)]
        assert min(gains) > 0.1

    def test_search__same_seed__gives_the_same_legal_trials(
        self, match_queue: TrainingQueue
    ) -> None:
        grammar = Grammar(2)
        space = rule_config(grammar, CHILD).space
        for search in (
            lambda seed: search_rules(PolicyGradientConfig(), match_queue, grammar, 40, seed),
            lambda seed: random_rules(match_queue, grammar, 40, seed),
        ):
            first, again, other = search(0), search(0), search(1)
            assert first == again != other
            assert [trial.number for trial in first] == list(range(40))
            for trial in first:
                space.validate(trial.params)

    def test_search__no_trainings__is_refused(self, match_queue: TrainingQueue) -> None:
        with pytest.raises(ConfigError, match="trainings must be at least 1, got 0"):
            random_rules(match_queue, Grammar(1), 0, 0)


class TestSpace:
    def test_space__points_and_rules__translate_both_ways(self) -> None:
        grammar, rng = Grammar(3), np.random.default_rng(0)
        space = rule_config(grammar, CHILD).space
        assert len(space) == 15
        for _ in range(50):
            point = space.sample(rng)
            assert to_params(to_rule(point)) == point
        assert space["step3 operand1"].num_levels == space["step1 operand1"].num_levels + 2


class TestRegistry:
    def test_names__every_search__is_described(self) -> None:
        assert RULE_SEARCHES.names() == sorted(RULE_SEARCHES.names())
        assert all(RULE_SEARCHES.describe(name).endswith(".") for name in RULE_SEARCHES.names())

    def test_create__unknown__lists_the_known(self) -> None:
        with pytest.raises(ConfigError, match=r"update rules 'x'; known are \['random-rules'"):
            RULE_SEARCHES["x"]
