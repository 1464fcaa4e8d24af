"""What defines each of the classical search methods."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from optformer.data.methods.base import SearchMethod
from optformer.data.methods.grid import Grid, ShuffledGrid
from optformer.data.methods.local_search import HillClimbing
from optformer.data.methods.quasi_random import QuasiRandom
from optformer.data.methods.random_search import RandomSearch
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial

SQUARE = StudyConfig(SearchSpace(x=Float(0, 1), y=Float(0, 1)), "score", "maximize")


def study(
    method: SearchMethod,
    function: Callable[[Mapping[str, Value]], float],
    trials: int,
    seed: int = 0,
) -> list[Trial]:
    history: list[Trial] = []
    for number in range(trials):
        [params] = method.suggest(history, 1, np.random.default_rng([seed, number]))
        history.append(Trial(number, params).finish(function(params)))
    return history


def bowl(params: Mapping[str, Value]) -> float:
    return -float((params["x"] - 0.3) ** 2 + (params["y"] - 0.8) ** 2)


def largest_gap(points: list[dict[str, Value]]) -> float:
    """Largest difference between a corner box's area and the share of points in it."""
    x = np.array([[p["x"], p["y"]] for p in points])
    corners = np.stack(np.meshgrid(np.linspace(0, 1, 21), np.linspace(0, 1, 21)), -1).reshape(-1, 2)
    inside = np.array([np.mean(np.all(x <= corner, axis=1)) for corner in corners])
    return float(np.max(np.abs(inside - corners.prod(axis=1))))


class TestRandomSearch:
    def test_suggest__many_points__are_uniform_and_ignore_the_values(self) -> None:
        method = RandomSearch(SQUARE)
        points = method.suggest([], 500, np.random.default_rng(0))
        assert largest_gap(points) < 0.08
        good = [Trial(0, {"x": 0.1, "y": 0.1}).finish(9.0)]
        bad = [Trial(0, {"x": 0.1, "y": 0.1}).finish(-9.0)]
        rngs = [np.random.default_rng(1) for _ in range(2)]
        assert method.suggest(good, 3, rngs[0]) == method.suggest(bad, 3, rngs[1])


class TestGrid:
    SPACE = SearchSpace(
        lr=Float(1e-4, 1.0, log=True),
        kind=Categorical(["a", "b"]),
        depth=Int(1, 3, when={"kind": ["b"]}),
    )

    def test_suggest__small_space__walks_all_in_lexicographic_order(self) -> None:
        method = Grid(StudyConfig(self.SPACE, "score", "maximize"), resolution=3)
        points = method.suggest([], 12, np.random.default_rng(0))
        assert points[:5] == [
            {"lr": 1e-4, "kind": "a"},
            {"lr": 1e-4, "kind": "b", "depth": 1},
            {"lr": 1e-4, "kind": "b", "depth": 2},
            {"lr": 1e-4, "kind": "b", "depth": 3},
            {"lr": pytest.approx(1e-2), "kind": "a"},
        ]
        assert len({tuple(point.items()) for point in points}) == 12

    def test_suggest__gap_in_the_history__is_filled(self) -> None:
        method = Grid(StudyConfig(self.SPACE, "score", "maximize"), resolution=3)
        points = method.suggest([], 4, np.random.default_rng(0))
        history = [Trial(0, points[0]), Trial(1, points[2])]
        assert method.suggest(history, 2, np.random.default_rng(0)) == [points[1], points[3]]

    def test_suggest__value_a_condition_needs__is_on_the_grid(self) -> None:
        space = SearchSpace(n=Int(0, 1000), extra=Categorical(["u", "v"], when={"n": [137]}))
        points = Grid(StudyConfig(space, "score", "maximize"), resolution=5).suggest(
            [], 7, np.random.default_rng(0)
        )
        assert {"n": 137, "extra": "u"} in points
        assert {"n": 137, "extra": "v"} in points

    @pytest.mark.parametrize("method", [Grid, ShuffledGrid])
    def test_grid__resolution_of_one__is_refused(
        self, method: type[Grid] | type[ShuffledGrid]
    ) -> None:
        with pytest.raises(ConfigError, match="resolution must be at least 2, got 1"):
            method(SQUARE, resolution=1)


class TestShuffledGrid:
    def test_suggest__whole_grid__is_a_permutation_that_the_seed_decides(self) -> None:
        space = SearchSpace(depth=Int(1, 8), size=Ordinal([16, 32, 64, 128]))
        config = StudyConfig(space, "score", "maximize")
        ordered = Grid(config).suggest([], 32, np.random.default_rng(0))
        orders = [
            ShuffledGrid(config).suggest([], 32, np.random.default_rng(seed)) for seed in (0, 1)
        ]
        for order in orders:
            assert order != ordered
            assert sorted(map(repr, order)) == sorted(map(repr, ordered))
        assert orders[0] != orders[1]

    def test_suggest__continuous_space__stays_on_the_grid(self) -> None:
        points = ShuffledGrid(SQUARE, resolution=5).suggest([], 20, np.random.default_rng(0))
        assert {p["x"] for p in points} <= {0.0, 0.25, 0.5, 0.75, 1.0}


class TestQuasiRandom:
    def test_suggest__one_at_a_time__is_more_even_than_random(self) -> None:
        for seed in range(3):
            points = [dict(t.params) for t in study(QuasiRandom(SQUARE), bowl, 64, seed)]
            random = RandomSearch(SQUARE).suggest([], 64, np.random.default_rng(seed))
            assert largest_gap(points) < 0.6 * largest_gap(random)

    def test_suggest__batches_of_any_size__continue_the_same_sequence(self) -> None:
        method = QuasiRandom(SQUARE)
        batch = method.suggest([], 12, np.random.default_rng(0))
        history = [Trial(i, point).fail("crash") for i, point in enumerate(batch[:5])]
        rest = method.suggest(history, 7, np.random.default_rng(99))
        for point, expected in zip(rest, batch[5:], strict=True):
            assert point == pytest.approx(expected)

    def test_suggest__another_first_trial__gives_another_sequence(self) -> None:
        method = QuasiRandom(SQUARE)
        first, second = (method.suggest([], 2, np.random.default_rng(seed))[1] for seed in range(2))
        assert first != second

    def test_suggest__discrete_levels__are_visited_evenly(self) -> None:
        space = SearchSpace(kind=Categorical(["a", "b", "c", "d"]), x=Float(0, 1))
        method = QuasiRandom(StudyConfig(space, "score", "maximize"))
        kinds = [t.params["kind"] for t in study(method, lambda p: 0.0, 32)]
        assert all(7 <= kinds.count(kind) <= 9 for kind in "abcd")


class TestHillClimbing:
    def test_suggest__smooth_bowl__climbs_closer_than_random(self) -> None:
        methods: dict[str, SearchMethod] = {
            "climb": HillClimbing(SQUARE),
            "random": RandomSearch(SQUARE),
        }
        best = {
            name: np.mean(
                [max(t.value or -9 for t in study(method, bowl, 80, s)) for s in range(5)]
            )
            for name, method in methods.items()
        }
        assert best["climb"] > 0.5 * best["random"]

    def test_suggest__minimize__climbs_down(self) -> None:
        config = StudyConfig(SQUARE.space, "loss", "minimize")
        history = study(HillClimbing(config), lambda p: -bowl(p), 60)
        assert min(t.value for t in history if t.value is not None) < 0.003

    def test_suggest__incumbent__is_the_centre_of_small_steps(self) -> None:
        history = [
            Trial(0, {"x": 0.2, "y": 0.2}).finish(1.0),
            Trial(1, {"x": 0.6, "y": 0.6}).finish(2.0),
            Trial(2, {"x": 0.9, "y": 0.1}).finish(1.5),
            Trial(3, {"x": 0.9, "y": 0.9}).fail("crash"),
            Trial(4, {"x": 0.1, "y": 0.9}),
        ]
        method = HillClimbing(SQUARE, step_size=0.01)
        for point in method.suggest(history, 10, np.random.default_rng(0)):
            assert math.dist((point["x"], point["y"]), (0.6, 0.6)) < 0.08

    def test_suggest__stalled_climb__restarts_and_leaves_the_old_best(self) -> None:
        method = HillClimbing(SQUARE, step_size=0.001, patience=3)
        history = [Trial(0, {"x": 0.5, "y": 0.5}).finish(9.0)]
        history += [Trial(i, {"x": 0.5, "y": 0.5 + i / 1000}).finish(0.0) for i in (1, 2, 3)]
        starts = [method.suggest(history, 1, np.random.default_rng(s))[0] for s in range(20)]
        assert np.std([point["x"] for point in starts]) > 0.15
        history.append(Trial(4, {"x": 0.1, "y": 0.1}).finish(1.0))
        [point] = method.suggest(history, 1, np.random.default_rng(0))
        assert math.dist((point["x"], point["y"]), (0.1, 0.1)) < 0.01

    def test_suggest__first_trials_without_a_value__start_anew(self) -> None:
        method = HillClimbing(SQUARE, step_size=0.001)
        history = [Trial(0, {"x": 0.5, "y": 0.5}).fail("crash"), Trial(1, {"x": 0.4, "y": 0.4})]
        starts = [method.suggest(history, 1, np.random.default_rng(s))[0] for s in range(20)]
        assert np.std([point["x"] for point in starts]) > 0.15

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"step_size": 0.0}, "step_size must be above 0"),
            ({"step_size": math.nan}, "step_size must be above 0"),
            ({"patience": 0}, "patience must be at least 1"),
        ],
    )
    def test_hill_climbing__setting_out_of_range__is_refused(
        self, settings: dict[str, float], message: str
    ) -> None:
        with pytest.raises(ConfigError, match=message):
            HillClimbing(SQUARE, **settings)  # type: ignore[arg-type]
