"""What defines scale-permuted networks: permutations, staged search, equal compute."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from optformer.data.methods.random_search import RandomSearch
from optformer.data.methods.regularized_evolution import RegularizedEvolution
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Categorical, Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.data.systems.architectures import scale_permuted
from optformer.data.systems.architectures.scale_permuted import (
    SCALES,
    PermutedNetwork,
    fitting_width,
    inputs,
    ordered,
    permutation,
    scales,
)
from optformer.data.systems.architectures.staged import Stage, StagedSearch

SPACE = scale_permuted.space()
CONFIG = StudyConfig(SPACE, "accuracy", "maximize")


def test_permutation__whole_space_of_places__gives_each_permutation_once() -> None:
    places = SearchSpace({name: SPACE[name] for name in SPACE if name.startswith("place")})
    orders = {tuple(permutation(point)) for point in places.grid()}
    assert len(orders) == places.size == 720
    assert all(sorted(order) == list(range(len(SCALES))) for order in orders)


def test_permutation__after_mutations__is_still_one() -> None:
    method = RegularizedEvolution(CONFIG, population_size=1)
    history = [Trial(0, ordered()).finish(0.0)]
    for number in range(1, 60):
        [child] = method.suggest(history, 1, np.random.default_rng(number))
        assert sorted(permutation(child)) == list(range(len(SCALES)))
        history.append(Trial(number, child).finish(float(number)))


def test_scales__ordered_and_shifted__fall_and_stay_in_range() -> None:
    assert scales(ordered()) == [0, 0, 1, 1, 2, 2, 1, 2]
    rng = np.random.default_rng(0)
    seen = [scales(SPACE.sample(rng)) for _ in range(50)]
    assert all(set(found) <= {0, 1, 2} and found[-2:] == [1, 2] for found in seen)
    assert any(late < early for found in seen for early, late in pairwise(found[:6]))


def test_inputs__every_block__takes_two_different_earlier_features() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        point = SPACE.sample(rng)
        for block in range(1, 9):
            first, second = inputs(point, block)
            assert first != second
            assert max(first, second) < block + 1
    assert inputs(ordered(), 5) == (5, 4)


def test_fitting_width__any_network__costs_what_the_ordered_one_does() -> None:
    width, budget = fitting_width(ordered())
    assert width == scale_permuted.WIDTH
    rng = np.random.default_rng(0)
    for _ in range(6):
        point = SPACE.sample(rng)
        width, cost = fitting_width(point)
        assert 0.8 * budget < cost <= budget
        assert PermutedNetwork(point, width)(torch.rand(2, 1, 8, 8)).shape == (2, 10)


def test_staged_search__each_stage__moves_its_own_parameters_from_the_best_so_far() -> None:
    method = scale_permuted.scale_permuted().method(CONFIG, 12)
    history: list[Trial] = []
    for number in range(12):
        [point] = method.suggest(history, 1, np.random.default_rng([0, number]))
        history.append(Trial(number, point).finish(float(-abs(number % 4 - 2))))
    groups = [("place",), (".first", ".second"), (".shift", ".type")]
    start = ordered()
    for stage, words in enumerate(groups):
        for trial in history[4 * stage : 4 * stage + 4]:
            moved = [name for name in SPACE if trial.params[name] != start[name]]
            assert all(any(word in name for word in words) for name in moved)
        best = max(history[: 4 * stage + 4], key=lambda t: t.value or 0.0)
        start = dict(best.params)
    assert scales(dict(history[3].params)) != scales(dict(history[11].params))


def test_staged_search__batch_across_stages__is_divided() -> None:
    space = SearchSpace(x=Float(0, 1), y=Float(0, 1))
    config = StudyConfig(space, "score", "maximize")
    start = {"x": 0.5, "y": 0.5}
    method = StagedSearch(config, [Stage(("x",), 2), Stage(("y",), 2)], start, RandomSearch)
    points = method.suggest([], 4, np.random.default_rng(0))
    assert [point["y"] for point in points[:2]] == [0.5, 0.5]
    assert [point["x"] for point in points[2:]] == [0.5, 0.5]
    assert len({point["y"] for point in points[2:]}) == 2


@pytest.mark.parametrize(
    ("stages", "message"),
    [([Stage(("x",), 0)], "at least 1 trial"), ([Stage(("q",), 3)], r"got 3 and \['q'\]")],
)
def test_staged_search__impossible_stage__is_refused(stages: list[Stage], message: str) -> None:
    config = StudyConfig(SearchSpace(x=Float(0, 1)), "score", "maximize")
    with pytest.raises(ConfigError, match=message):
        StagedSearch(config, stages, {"x": 0.5}, RandomSearch)


def test_staged_search__conditional_parameter__is_named() -> None:
    space = SearchSpace(kind=Categorical(["a", "b"]), x=Float(0, 1, when={"kind": ["a"]}))
    config = StudyConfig(space, "score", "maximize")
    with pytest.raises(ConfigError, match="'x' is conditional"):
        StagedSearch(config, [Stage(("kind",), 3)], {"kind": "b"}, RandomSearch)
