"""What defines Optuna's samplers as search methods."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import optuna
import pytest

from optformer.data.methods.external.optuna_samplers import OptunaGp, OptunaTpe
from optformer.data.methods.random_search import RandomSearch
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial

SPACE = SearchSpace(x=Float(-5, 5), size=Ordinal([16, 32, 64, 128]), kind=Categorical(["a", None]))
CONFIG = StudyConfig(SPACE, "score", "maximize")


def score(params: Mapping[str, Value]) -> float:
    return -abs(params["x"] - 2.0) - abs(math.log2(params["size"]) - 6) - (params["kind"] == "a")


def study(method: OptunaTpe | OptunaGp | RandomSearch, trials: int, seed: int = 0) -> list[Trial]:
    history: list[Trial] = []
    for number in range(trials):
        [params] = method.suggest(history, 1, np.random.default_rng([seed, number]))
        history.append(Trial(number, params).finish(score(params)))
    return history


@pytest.mark.parametrize(("method", "trials"), [(OptunaTpe, 40), (OptunaGp, 16)])
def test_suggest__smooth_score__ends_better_than_random(
    method: type[OptunaTpe] | type[OptunaGp], trials: int
) -> None:
    def late(make: type[OptunaTpe] | type[OptunaGp] | type[RandomSearch]) -> float:
        histories = [study(make(CONFIG), trials, seed) for seed in range(3)]
        return float(np.mean([t.value for history in histories for t in history[12:]]))

    assert late(method) > late(RandomSearch) + 0.5


def test_suggest__whole_history__reaches_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[optuna.trial.FrozenTrial] = []
    infer = optuna.samplers.TPESampler.infer_relative_search_space

    def spy(
        self: optuna.samplers.TPESampler, study: optuna.Study, trial: optuna.trial.FrozenTrial
    ) -> dict[str, optuna.distributions.BaseDistribution]:
        seen[:] = study.get_trials()[:-1]
        assert study.direction is optuna.study.StudyDirection.MAXIMIZE
        return infer(self, study, trial)

    monkeypatch.setattr(optuna.samplers.TPESampler, "infer_relative_search_space", spy)
    point = {"x": 0.5, "size": 64, "kind": None}
    history = [
        Trial(0, point).finish(1.0),
        Trial(1, point).finish(2.0, stopped=True),
        Trial(2, point).fail("crash"),
        Trial(3, point),
    ]
    OptunaTpe(CONFIG).suggest(history, 1, np.random.default_rng(0))
    states = optuna.trial.TrialState
    expected = [states.COMPLETE, states.COMPLETE, states.FAIL, states.RUNNING]
    assert [trial.state for trial in seen] == expected
    assert [trial.value for trial in seen[:2]] == [1.0, 2.0]
    assert seen[0].params == {"x": 0.5, "size": 2, "kind": 1}
    assert isinstance(seen[0].distributions["size"], optuna.distributions.IntDistribution)


def test_suggest__whole_numbers_too_many_to_list__are_a_continuum() -> None:
    space = SearchSpace(huge=Int(0, 10**9), x=Float(0, 1))
    history = [Trial(i, {"huge": 10**8 * i, "x": 0.1}).finish(float(i)) for i in range(11)]
    method = OptunaGp(StudyConfig(space, "score", "maximize"))
    [point] = method.suggest(history, 1, np.random.default_rng(0))
    assert isinstance(point["huge"], int)
    space.validate(point)


def test_suggest__verbosity_of_optuna__is_left_as_it_was() -> None:
    before = optuna.logging.get_verbosity()
    OptunaTpe(CONFIG).suggest([], 1, np.random.default_rng(0))
    assert optuna.logging.get_verbosity() == before
