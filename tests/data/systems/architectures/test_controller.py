"""What defines the controller: choices that are rewarded become likelier."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from optformer.data.studies.errors import ConfigError, SpaceExhaustedError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import Goal, StudyConfig
from optformer.data.studies.trials import Trial
from optformer.data.systems.architectures.controller import PPOConfig, RecurrentController

SPACE = SearchSpace(
    operation=Categorical(["a", "b", "c"]),
    ratio=Ordinal([2, 3, 6], when={"operation": ["b"]}),
    layers=Int(1, 40),
)


def config(goal: Goal = "maximize", **fixed: Value) -> StudyConfig:
    return StudyConfig(SPACE, "reward", goal, fixed=fixed)


def study(
    controller: RecurrentController, reward: Callable[[Mapping[str, Value]], float], trials: int
) -> list[Trial]:
    history: list[Trial] = []
    while len(history) < trials:
        for point in controller.suggest(history, 5, np.random.default_rng([0, len(history)])):
            history.append(Trial(len(history), point).finish(reward(point)))
    return history


def likes_b(params: Mapping[str, Value]) -> float:
    return 0.9 if params["operation"] == "b" else 0.7


@pytest.mark.parametrize("goal", ["maximize", "minimize"])
def test_suggest__one_choice_rewarded__becomes_likelier(goal: Goal) -> None:
    controller = RecurrentController(config(goal))
    sign = 1.0 if goal == "maximize" else -1.0
    history = study(controller, lambda params: sign * likes_b(params), 60)
    point = {"operation": "b", "ratio": 3, "layers": 7}
    before, after = (controller.probabilities(told, point) for told in ([], history))
    assert before == pytest.approx({"operation": 1 / 3, "ratio": 1 / 3, "layers": 1 / 40})
    assert after["operation"] > 0.6
    assert controller.probabilities(history, {"operation": "a", "layers": 7})["operation"] < 0.2
    operations = [trial.params["operation"] for trial in history]
    assert operations[-20:].count("b") > operations[:20].count("b")


def test_suggest__memo_forgotten__changes_nothing() -> None:
    used = RecurrentController(config())
    history = study(used, likes_b, 20)
    fresh = RecurrentController(config())
    assert [used.suggest(history, 3, np.random.default_rng(1))] * 2 == [
        fresh.suggest(history, 3, np.random.default_rng(1)),
        used.suggest(history, 3, np.random.default_rng(1)),
    ]
    shorter = used.suggest(history[:10], 3, np.random.default_rng(2))
    assert shorter == RecurrentController(config()).suggest(
        history[:10], 3, np.random.default_rng(2)
    )


def test_suggest__no_curiosity_and_one_step__is_plain_reinforce() -> None:
    learning = PPOConfig(passes=1, entropy_weight=0.0)
    controller = RecurrentController(config(), learning)
    rewards = [0.9, 0.1, 0.1, 0.1, 0.1]
    points = controller.suggest([], 5, np.random.default_rng(0))
    points[0] = {"operation": "b", "ratio": 2, "layers": 1}
    history = [Trial(i, p).finish(r) for i, (p, r) in enumerate(zip(points, rewards, strict=True))]
    before, after = (controller.probabilities(told, points[0]) for told in ([], history))
    assert all(after[name] > before[name] for name in points[0])


def test_suggest__failed_and_pending_trials__teach_nothing() -> None:
    controller = RecurrentController(config())
    history = study(controller, likes_b, 10)
    more = [Trial(10, {"operation": "a", "layers": 3}).fail("crash")]
    more += [Trial(11, {"operation": "a", "layers": 4})]
    point = {"operation": "a", "layers": 7}
    assert controller.probabilities(history + more, point) == controller.probabilities(
        history, point
    )


def test_suggest__fixed_values_and_small_space__never_repeats_and_says_when_it_ends() -> None:
    controller = RecurrentController(config(operation="b", layers=4))
    points = controller.suggest([], 3, np.random.default_rng(0))
    assert sorted(point["ratio"] for point in points) == [2, 3, 6]
    history = [Trial(i, point).finish(1.0) for i, point in enumerate(points)]
    with pytest.raises(SpaceExhaustedError):
        controller.suggest(history, 1, np.random.default_rng(0))


def test_controller__continuous_parameter__is_named() -> None:
    space = SearchSpace(x=Float(0, 1), kind=Categorical(["a"]))
    with pytest.raises(ConfigError, match="parameter 'x' has a continuum"):
        RecurrentController(StudyConfig(space, "reward", "maximize"))
    fixed = StudyConfig(space, "reward", "maximize", fixed={"x": 0.5})
    assert RecurrentController(fixed).suggest([], 1, np.random.default_rng(0)) == [
        {"x": 0.5, "kind": "a"}
    ]
