"""Bayesian optimization does what defines it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from optformer.data.methods import SearchMethod, create
from optformer.data.methods.gp_ei import GaussianProcessEI, GaussianProcessUCB
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Categorical, Float, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial

CONFIG = StudyConfig(
    SearchSpace(x=Float(0.0, 1.0), kind=Categorical(["a", "b", "c"])), "loss", "minimize"
)


def _loss(params: Mapping[str, Value]) -> float:
    return float((params["x"] - 0.31) ** 2 + 0.5 * "bac".index(params["kind"]))


def _run(
    method: SearchMethod, loss: Callable[[Mapping[str, Value]], float], trials: int, seed: int
) -> list[Trial]:
    history: list[Trial] = []
    while len(history) < trials:
        rng = np.random.default_rng([seed, len(history)])
        (point,) = method.suggest(history, 1, rng)
        trial = Trial(len(history), point)
        value = loss(point)
        history.append(trial.fail("crash") if np.isnan(value) else trial.finish(value))
    return history


@pytest.mark.parametrize("method", ["gp-ei", "gp-ucb"])
def test_gp__smooth_loss__closes_in_where_random_search_does_not(method: str) -> None:
    def best(name: str, seed: int) -> float:
        history = _run(create(name, CONFIG), _loss, 16, seed)
        return min(trial.value for trial in history if trial.value is not None)

    found = np.array([[best(name, seed) for name in (method, "random")] for seed in range(5)])
    assert (found[:, 0] < 1e-3).all()
    assert np.median(found[:, 1]) > np.median(found[:, 0])


def test_gp_ei__failing_region__is_left() -> None:
    def loss(params: Mapping[str, Value]) -> float:
        return float("nan") if params["x"] > 0.5 else _loss(params)

    late = _run(GaussianProcessEI(CONFIG), loss, 20, seed=1)[8:]
    assert sum(trial.params["x"] > 0.5 for trial in late) <= 3


def test_gp_ucb__certain_point_below_an_uncertain_one__takes_the_uncertain() -> None:
    space = SearchSpace(x=Float(0.0, 1.0))
    config = StudyConfig(space, "score", "maximize")
    history = [Trial(i, {"x": x}).finish(x) for i, x in enumerate(np.linspace(0.0, 0.3, 8))]
    history += [Trial(8 + i, {"x": x}).finish(0.28) for i, x in enumerate((0.32, 0.34, 0.36))]
    chosen = GaussianProcessUCB(config).suggest(history, 1, np.random.default_rng(0))[0]["x"]
    assert chosen > 0.4


def test_gp_ei__start_below_one__is_refused() -> None:
    with pytest.raises(ConfigError, match="start must be at least 1, got 0"):
        GaussianProcessEI(CONFIG, start=0)
