from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from optformer.data.studies.errors import ConfigError
from optformer.data.studies.limits import read_limits
from optformer.data.studies.parameters import Categorical, Float
from optformer.data.studies.pareto import hypervolume, nondominated_boxes
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import Goal, StudyConfig
from optformer.data.studies.trials import Trial
from optformer.model.checkpoint import Checkpoint, load_checkpoint
from optformer.planning.distribution import BinnedDistribution, NormalDistribution
from optformer.planning.planner import Planner
from optformer.planning.several_goals import GoalsState, log_improvement

Gaussian = Callable[..., BinnedDistribution]

SPACE = SearchSpace(
    x=Float(0, 1), y=Float(0, 1), kind=Categorical(["a", "b"]), z=Float(0, 1, when={"kind": ["a"]})
)
GOALS: dict[str, Goal] = {"error": "minimize", "speed": "maximize"}


def _config(goals: dict[str, Goal] = GOALS, **limits: str) -> StudyConfig:
    (metric, goal), *further = goals.items()
    return StudyConfig(SPACE, metric, goal, further_goals=dict(further), limits=read_limits(limits))


def _history(config: StudyConfig, count: int = 9) -> list[Trial]:
    """Random trials with three metrics; the last two failed and pending."""
    rng = np.random.default_rng(0)
    trials = [Trial(10 + i, config.space.sample(rng)) for i in range(count)]
    for i in range(count - 2):
        point = trials[i].params
        x, y = float(str(point["x"])), float(str(point["y"]))
        metrics = {"error": x, "speed": 100 * (x + y), "memory": 1e9 * (1 + y)}
        trials[i] = trials[i].finish(metrics[config.metric_name], metrics=metrics)
    trials[-2] = trials[-2].fail("nan")
    return trials


@pytest.fixture(scope="module")
def planner(tiny_checkpoint: Checkpoint) -> Planner:
    return Planner(tiny_checkpoint)


@pytest.fixture(scope="module")
def shipped() -> Planner:
    return Planner(load_checkpoint(None))


CONFIGS = {
    "two goals": _config(),
    "three goals": _config({**GOALS, "memory": "minimize"}),
    "one goal, one limit": _config({"error": "minimize"}, memory="<= 1.5e9"),
    "two goals, limits": _config(memory="<= 1.5e9", speed=">= 20"),
    "limits nobody keeps": _config(memory="<= 1", speed=">= 1e6"),
    "a limit against its goal": _config(speed="<= 100"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_suggest__several_metrics__new_legal_points_with_all_predictions(
    planner: Planner, name: str
) -> None:
    config = CONFIGS[name]
    suggestions = planner.suggest(config, _history(config), 2, seed=1)
    points = [suggestion.params for suggestion in suggestions]
    assert [config.space.validate(point) for point in points] == points
    assert points[0] != points[1]
    prediction = suggestions[0].explanation.prediction
    assert prediction is not None
    assert list(prediction.metrics) == [view.metric_name for view in config.views]
    assert prediction.mean == prediction.metrics[config.metric_name].mean
    assert 0 <= prediction.probability_of_keeping <= 1


def test_suggest__nothing_measured__different_points_and_the_same_again(planner: Planner) -> None:
    config = CONFIGS["two goals, limits"]
    suggestions = planner.suggest(config, [], 2, seed=1)
    assert suggestions[0].params != suggestions[1].params
    assert suggestions[0].explanation.prediction is None
    assert planner.suggest(config, [], 2, seed=1) == suggestions


@pytest.mark.parametrize("name", CONFIGS)
def test_predict__several_metrics__is_the_prediction_of_each_metric_alone(
    planner: Planner, name: str
) -> None:
    config = CONFIGS[name]
    history = _history(config)
    point = {"x": 0.3, "y": 0.6, "kind": "b"}
    (found,) = planner.predict(config, history, [point])
    for view in config.views:
        (expected,) = planner.predict(view, config.view_history(view, history), [point])
        mine = found.metrics[view.metric_name]
        assert (mine.mean, mine.std, mine.quantiles) == (
            expected.mean,
            expected.std,
            expected.quantiles,
        )
    chances = [each.probability_of_keeping for each in found.metrics.values()]
    assert found.probability_of_keeping == pytest.approx(float(np.prod(chances)))
    assert (found.probability_of_keeping < 1) == bool(config.limits)


@pytest.mark.parametrize(("kind", "goals"), [("binned", 1), ("normal", 2), ("binned", 3)])
def test_log_improvement__independent_predictions__is_the_mean_over_samples(
    gaussian: Gaussian, kind: str, goals: int
) -> None:
    rng = np.random.default_rng(goals)
    gains, reference = rng.uniform(0.2, 0.7, (5, goals)), np.full(goals, 0.1)
    means, stddevs = rng.uniform(0.3, 0.7, goals), rng.uniform(0.05, 0.2, goals)
    binned = [gaussian(mean, dev) for mean, dev in zip(means, stddevs, strict=True)]
    normal = [
        NormalDistribution(torch.tensor([mean]), torch.tensor([dev]))
        for mean, dev in zip(means, stddevs, strict=True)
    ]
    lower, upper = map(torch.from_numpy, nondominated_boxes(gains, reference))
    found = log_improvement(binned if kind == "binned" else normal, lower, upper)
    draws = means + stddevs * rng.standard_normal((400, goals))
    before = hypervolume(gains, reference)
    gained = [hypervolume(np.vstack([gains, draw]), reference) - before for draw in draws]
    error = 4 * np.std(gained) / len(draws) ** 0.5
    assert float(found.exp()) == pytest.approx(np.mean(gained), abs=float(error))


def test_log_improvement__far_below_the_front__still_tells_candidates_apart() -> None:
    near = NormalDistribution(torch.tensor([0.2, 0.1]), torch.tensor([0.02, 0.02]))
    lower, upper = map(torch.from_numpy, nondominated_boxes(np.array([[0.5, 0.5]]), np.zeros(2)))
    found = log_improvement([near, near], lower, upper)
    assert found[0] > found[1] > -600


def test_log_at_least__gaussian__is_the_chance_of_that_much(gaussian: Gaussian) -> None:
    binned = gaussian(0.4, 0.1, failing=0.3)
    normal = NormalDistribution(torch.tensor([0.4]), torch.tensor([0.1]))
    for y in (0.2, 0.4, 0.5):
        chance = float(torch.special.ndtr(torch.tensor((0.4 - y) / 0.1, dtype=torch.double)))
        for prediction in (binned, normal):
            assert float(prediction.log_at_least(y).exp()) == pytest.approx(chance, abs=0.02)
            assert float(prediction.log_at_most(y).exp()) == pytest.approx(1 - chance, abs=0.02)
    assert float(binned.log_at_most(0.0)) > float(binned.log_at_most(0.0) - 1)
    assert float(binned.log_at_least(1.5)) == float(binned.log_at_least(0.9999))


@pytest.mark.parametrize(
    "settings", [{"strategy": "ucb"}, {"strategy": "optimum"}, {"batch_mode": "placeholder"}]
)
def test_suggest__what_is_for_one_goal__is_refused(
    tiny_checkpoint: Checkpoint, settings: dict[str, Any]
) -> None:
    config = _config()
    with pytest.raises(ConfigError, match="several goals and limits need the strategy 'ei'"):
        Planner(tiny_checkpoint, **settings).suggest(config, _history(config), 1, seed=0)


def test_boxes__limit_against_its_goal__nothing_is_gained_beyond_it(planner: Planner) -> None:
    config = CONFIGS["a limit against its goal"]
    with torch.inference_mode():
        state = planner._state(config, _history(config), {}, torch.Generator())
    assert isinstance(state, GoalsState)
    assert state._boxes is not None
    (limit,) = state._limits
    assert float(state._boxes[1][:, 1].max()) == limit.bound
    assert float(state._boxes[1][:, 0].max()) == np.inf


def _search(planner: Planner, config: StudyConfig, count: int, batch: int = 1) -> list[Trial]:
    history: list[Trial] = []
    while len(history) < count:
        for suggestion in planner.suggest(config, history, batch, seed=0):
            x, y = (float(str(suggestion.params[name])) for name in ("x", "y"))
            metrics = {"error": (x - 0.2) ** 2 + y, "speed": -((x - 0.8) ** 2) - y, "size": x}
            trial = Trial(len(history), suggestion.params)
            history.append(trial.finish(metrics[config.metric_name], metrics=metrics))
    return history


def test_search__two_goals_in_batches__covers_the_front(shipped: Planner) -> None:
    trials = _search(shipped, _config(), 15, batch=3)
    reference = np.array([-0.5, -0.5])
    gains = np.array([[-t.metrics["error"], t.metrics["speed"]] for t in trials])
    x = np.linspace(0.2, 0.8, 500)
    most = hypervolume(np.stack([-((x - 0.2) ** 2), -((x - 0.8) ** 2)], -1), reference)
    assert hypervolume(gains, reference) > 0.9 * most


def test_search__limit_away_from_the_best__ends_at_the_limit(shipped: Planner) -> None:
    config = _config({"speed": "maximize"}, size="<= 0.5")
    trials = _search(shipped, config, 12)
    kept = [trial for trial in trials if config.keeps_limits(trial)]
    assert max(trial.metrics["speed"] for trial in kept) > -0.13  # -.09 at the limit itself
    assert len([trial for trial in trials[6:] if not config.keeps_limits(trial)]) <= 3
