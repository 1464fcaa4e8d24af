"""What defines the evolution strategies as search methods."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from optformer.data.methods.cma_es import RelaxedCmaEs
from optformer.data.methods.generations import Array, GenerationalMethod, Strategy
from optformer.data.methods.learned_evolution import LearnedEvolution
from optformer.data.methods.random_search import RandomSearch
from optformer.data.studies.errors import ConfigError, MissingExtraError
from optformer.data.studies.parameters import Categorical, Float, Int, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial

MIXED = StudyConfig(
    SearchSpace(
        x=Float(0, 1),
        kind=Categorical(["a", "b", "c"]),
        n=Int(1, 100, log=True, when={"kind": ["c"]}),
    ),
    "loss",
    "minimize",
)


class Recorder:
    """A strategy that stays where it is and remembers what it was told."""

    told: list[tuple[Array, Array]]

    def __init__(self, dimension: int, rng: np.random.Generator) -> None:
        self.mean = np.full(dimension, 0.5)
        self._rng = rng
        Recorder.told = []

    def ask(self) -> Array:
        return self._rng.random(len(self.mean))

    def tell(self, points: Array, losses: Array) -> None:
        Recorder.told.append((points, losses))


class Recorded(GenerationalMethod):
    def _start(self, dimension: int, rng: np.random.Generator) -> Strategy:
        return Recorder(dimension, rng)


def study(
    method: RandomSearch | GenerationalMethod,
    function: Callable[[Mapping[str, Value]], float],
    trials: int,
    seed: int = 0,
) -> list[Trial]:
    history: list[Trial] = []
    while len(history) < trials:
        rng = np.random.default_rng([seed, len(history)])
        for params in method.suggest(history, 10, rng):
            history.append(Trial(len(history), params).finish(function(params)))
    return history


def test_replay__history__is_told_by_generation_with_the_worst_for_the_unknown() -> None:
    points = [
        {"x": 0.25, "kind": "a"},
        {"x": 1.0, "kind": "c", "n": 100},
        {"x": 0.0, "kind": "b"},
        {"x": 0.5, "kind": "b"},
        {"x": 0.1, "kind": "b"},
        {"x": 0.2, "kind": "b"},
        {"x": 0.3, "kind": "b"},
    ]
    trials = [Trial(i, point) for i, point in enumerate(points)]
    history = [
        trials[0].finish(2.0),
        trials[1].finish(5.0),
        trials[2].fail("crash"),
        trials[3],
        trials[4].fail("crash"),
        trials[5],
        trials[6].finish(1.0),
    ]
    Recorded(MIXED, population=2, smallest=2).suggest(history, 1, np.random.default_rng(0))
    [(vectors, losses)] = Recorder.told  # the later generations have no value or are not complete
    assert losses.tolist() == [2.0, 5.0]
    assert vectors[0].tolist() == [0.25, 0.75, 0.25, 0.25, 0.5]
    assert vectors[1].tolist() == pytest.approx([1.0, 0.25, 0.25, 0.75, 0.99], abs=0.02)
    Recorded(MIXED, population=3, smallest=2).suggest(history, 1, np.random.default_rng(0))
    assert [losses.tolist() for _, losses in Recorder.told] == [[2.0, 5.0, 5.0]]


def test_replay__maximize__turns_the_sign() -> None:
    config = StudyConfig(SearchSpace(x=Float(0, 1)), "score", "maximize")
    history = [Trial(i, {"x": 0.1 * i}).finish(float(i)) for i in range(2)]
    Recorded(config, population=2, smallest=2).suggest(history, 1, np.random.default_rng(0))
    assert Recorder.told[0][1].tolist() == [0.0, -1.0]


@pytest.mark.parametrize("method", [LearnedEvolution, RelaxedCmaEs])
class TestStrategies:
    SPACE = SearchSpace(
        x=Float(-5, 5), lr=Float(1e-4, 1, log=True), kind=Categorical(["a", "b", "c"])
    )
    CONFIG = StudyConfig(SPACE, "loss", "minimize")

    @staticmethod
    def loss(params: Mapping[str, Value]) -> float:
        bowl = (params["x"] - 2.0) ** 2 + (np.log10(params["lr"]) + 3) ** 2
        return float(bowl + 3 * (params["kind"] != "b"))

    def test_suggest__mixed_bowl__ends_better_than_random(
        self, method: type[LearnedEvolution] | type[RelaxedCmaEs]
    ) -> None:
        def final(make: type[LearnedEvolution] | type[RelaxedCmaEs] | type[RandomSearch]) -> float:
            best = [
                min(t.value or 0.0 for t in study(make(self.CONFIG), self.loss, 80, seed))
                for seed in range(5)
            ]
            return float(np.mean(best))

        assert final(method) < 0.5 * final(RandomSearch)

    def test_suggest__past_generations__decide_where_points_lie(
        self, method: type[LearnedEvolution] | type[RelaxedCmaEs]
    ) -> None:
        history = study(method(self.CONFIG), self.loss, 90)
        points = method(self.CONFIG).suggest(history, 20, np.random.default_rng(0))
        assert np.mean([abs(p["x"] - 2.0) for p in points]) < 1.0
        assert np.mean([p["kind"] == "b" for p in points]) > 0.6

    def test_suggest__population_of_one__is_refused(
        self, method: type[LearnedEvolution] | type[RelaxedCmaEs]
    ) -> None:
        with pytest.raises(ConfigError, match="population must be at least 2, got 1"):
            method(self.CONFIG, population=1)


def test_learned_evolution__trials_of_a_generation_in_another_order__suggests_the_same() -> None:
    config = StudyConfig(SearchSpace(x=Float(0, 1), y=Float(0, 1)), "loss", "minimize")
    method = LearnedEvolution(config, population=6)
    points = method.suggest([], 12, np.random.default_rng(0))
    losses = [float(p["x"] + p["y"] ** 2) for p in points]
    order = [
        *np.random.default_rng(1).permutation(6),
        *(6 + np.random.default_rng(2).permutation(6)),
    ]
    straight = [Trial(i, points[i]).finish(losses[i]) for i in range(12)]
    shuffled = [Trial(i, points[j]).finish(losses[j]) for i, j in enumerate(order)]
    for one, other in zip(
        method.suggest(straight, 4, np.random.default_rng(3)),
        method.suggest(shuffled, 4, np.random.default_rng(3)),
        strict=True,
    ):
        assert one == pytest.approx(other, abs=1e-9)


def test_cma_es__library_missing__names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cmaes", None)
    with pytest.raises(MissingExtraError, match=r"optformer\[benchmark\]"):
        RelaxedCmaEs(MIXED)
