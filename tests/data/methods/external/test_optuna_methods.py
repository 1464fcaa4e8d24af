"""Optuna's samplers as search methods."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from optformer.data.methods import SearchMethod
from optformer.data.methods.external.optuna_methods import OptunaMethod, gp, to_distribution, tpe
from optformer.data.methods.random_search import RandomSearch
from optformer.data.methods.run import run_method
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial

SPACE = SearchSpace(x=Float(-5, 5), size=Ordinal([16, 32, 64, 128]), kind=Categorical(["a", None]))
CONFIG = StudyConfig(SPACE, "score", "maximize")
EVERY_TYPE = SearchSpace(
    {
        "lr": Float(1e-5, 1e-1, log=True),
        "drop.rate": Float(0.0, 0.5, step=0.2),
        "width": Int(4, 64, log=True),
        "layers": Int(1, 8, step=3),
        "huge": Int(1, 10**9, log=True),
        "batch": Ordinal([16, 64, 256]),
        "loss": Ordinal(["l1"]),
        "optimizer": Categorical(["sgd", "adam", True, 1]),
        "momentum": Float(0.0, 0.99, when={"optimizer": ["sgd"], "batch": [16, 64]}),
    }
)


def score(params: Mapping[str, Value]) -> float:
    return -abs(params["x"] - 2.0) - abs(math.log2(params["size"]) - 6) - (params["kind"] == "a")


def search(method: SearchMethod, trials: int, seed: int = 0) -> list[Trial]:
    history: list[Trial] = []
    for number in range(trials):
        [params] = method.suggest(history, 1, np.random.default_rng([seed, number]))
        history.append(Trial(number, params).finish(score(params)))
    return history


def study_of(method: OptunaMethod, history: Sequence[Trial]) -> list[optuna.trial.FrozenTrial]:
    """What Optuna holds once the method was asked for one point."""
    method.suggest(history, 1, np.random.default_rng(0))
    return method._study.get_trials()


@pytest.mark.parametrize(("method", "trials"), [(tpe, 40), (gp, 16)])
def test_suggest__smooth_score__ends_better_than_random(method: Any, trials: int) -> None:
    def late(make: Any) -> float:
        histories = [search(make(CONFIG), trials, seed) for seed in range(3)]
        return float(np.mean([t.value for history in histories for t in history[12:]]))

    assert late(method) > late(RandomSearch) + 0.5


@pytest.mark.parametrize(
    ("method", "sampler"),
    [
        (tpe, partial(optuna.samplers.TPESampler, constant_liar=True)),
        (partial(gp, start_trials=3), partial(optuna.samplers.GPSampler, n_startup_trials=3)),
    ],
)
def test_suggest__seeded_generator__gives_the_points_of_optuna_with_that_seed(
    method: Any, sampler: Any
) -> None:
    def objective(trial: optuna.Trial) -> float:
        params = {
            "x": trial.suggest_float("x", -5, 5),
            "size": [16, 32, 64, 128][trial.suggest_int("size", 0, 3)],
            "kind": ["a", None][trial.suggest_categorical("kind", [0, 1])],
        }
        theirs.append(params)
        return score(params)

    theirs: list[dict[str, Value]] = []
    optuna.create_study(direction="maximize", sampler=sampler(seed=7)).optimize(objective, 14)
    rng = np.random.default_rng(7)
    done = run_method(method(CONFIG), SPACE, score, 14, lambda _: rng)
    assert [dict(timed.trial.params) for timed in done] == theirs


def test_suggest__whole_history__reaches_optuna() -> None:
    point = {"x": 0.5, "size": 64, "kind": None}
    history = [
        Trial(0, point).finish(1.0),
        Trial(1, point).finish(2.0, stopped=True),
        Trial(2, point).fail("crash"),
        Trial(3, point),
    ]
    method = tpe(CONFIG)
    seen = study_of(method, history)
    assert method._study.direction.name == "MAXIMIZE"
    states = [trial.state.name for trial in seen]
    assert states == ["COMPLETE", "COMPLETE", "FAIL", "RUNNING", "RUNNING"]
    assert [trial.value for trial in seen[:2]] == [1.0, 2.0]
    assert seen[0].params == {"x": 0.5, "size": 2, "kind": 1}
    assert isinstance(seen[0].distributions["size"], IntDistribution)


def test_suggest__pending_points__are_running_trials_until_they_end() -> None:
    method = tpe(CONFIG)
    history = [
        Trial(number, point)
        for number, point in enumerate(method.suggest([], 3, np.random.default_rng(0)))
    ]
    history[1] = history[1].finish(1.0)
    states = [trial.state.name for trial in study_of(method, history)]
    assert states == ["RUNNING", "COMPLETE", "RUNNING", "RUNNING"]


def test_suggest__numbers_on_a_grid__are_told_as_the_trial_that_was_asked_for() -> None:
    config = StudyConfig(SearchSpace(x=Float(0.0, 1.0, step=0.1)), "score", "maximize")
    method, history = tpe(config), []
    for number in range(12):  # Optuna's own 0.30000000000000004 is the user's 0.3
        [point] = method.suggest(history, 1, np.random.default_rng(1))
        history.append(Trial(number, config.space.validate(point)).finish(point["x"]))
    states = [trial.state.name for trial in method._study.get_trials()]
    assert states == ["COMPLETE"] * 11 + ["RUNNING"]  # the last one is told at the next call


def test_suggest__fixed_values__are_kept_and_not_searched() -> None:
    config = StudyConfig(EVERY_TYPE, "loss", "minimize", fixed={"optimizer": "sgd", "layers": 4})
    method = tpe(config)
    [point] = method.suggest([], 1, np.random.default_rng(0))
    assert EVERY_TYPE.validate(point) == point
    assert (point["optimizer"], point["layers"]) == ("sgd", 4)
    assert not {"optimizer", "layers"} & method._study.get_trials()[0].params.keys()


def test_suggest__at_work__leaves_optunas_logging_alone(
    capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    before = optuna.logging.get_verbosity()
    search(gp(CONFIG, start_trials=1), 4)
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr() == ("", "")
    assert not [w for w in recwarn if "optuna" in str(w.filename)]


def test_to_distribution__every_type__is_as_a_sampler_sees_it() -> None:
    seen = {name: to_distribution(parameter) for name, parameter in EVERY_TYPE.items()}
    assert seen["lr"] == FloatDistribution(1e-5, 1e-1, log=True)
    assert seen["drop.rate"] == FloatDistribution(0.0, 0.4, step=0.2)
    assert seen["layers"] == IntDistribution(1, 7, step=3)
    assert seen["huge"] == FloatDistribution(1, 10**9, log=True)
    assert seen["batch"] == IntDistribution(0, 2)
    assert seen["loss"] == IntDistribution(0, 0)
    assert seen["optimizer"] == CategoricalDistribution((0, 1, 2, 3))
