"""What defines regularized evolution: tournaments, one mutation, death by age."""

from __future__ import annotations

import numpy as np
import pytest

from optformer.data.methods.random_search import RandomSearch
from optformer.data.methods.regularized_evolution import RegularizedEvolution
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Categorical, Float, Ordinal, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import Goal, StudyConfig
from optformer.data.studies.trials import Trial

WORD = SearchSpace({f"letter{i}": Categorical(list("abcdef")) for i in range(12)})


def config(goal: Goal = "maximize", space: SearchSpace = WORD) -> StudyConfig:
    return StudyConfig(space, "score", goal)


def word(letters: str) -> dict[str, Value]:
    return {f"letter{i}": letter for i, letter in enumerate(letters)}


def finished(values: list[float]) -> list[Trial]:
    """Trials whose words are all different."""
    rng = np.random.default_rng(0)
    points = RandomSearch(config()).suggest([], len(values), rng)
    pairs = enumerate(zip(points, values, strict=True))
    return [Trial(i, point).finish(value) for i, (point, value) in pairs]


def distance(one: dict[str, Value], other: dict[str, Value]) -> int:
    return sum(one[name] != other[name] for name in one)


def test_population__one_more_member__buries_the_oldest_even_when_it_is_the_best() -> None:
    method = RegularizedEvolution(config(), population_size=4)
    history = finished([9.0, 1.0, 2.0, 3.0, 4.0, 0.0])
    assert [t.number for t in method.population(history[:4])] == [0, 1, 2, 3]
    assert [t.number for t in method.population(history[:5])] == [1, 2, 3, 4]
    assert [t.number for t in method.population(history)] == [2, 3, 4, 5]


def test_population__failed_and_pending_trials__are_no_members() -> None:
    history = finished([1.0, 2.0, 3.0, 4.0, 5.0])
    history[3] = Trial(3, history[3].params).fail("crash")
    history[4] = Trial(4, history[4].params)
    members = RegularizedEvolution(config(), population_size=2).population(history)
    assert [t.number for t in members] == [1, 2]


@pytest.mark.parametrize(("goal", "fittest"), [("maximize", 7), ("minimize", 2)])
def test_suggest__sample_of_many__mutates_the_fittest_in_one_parameter(
    goal: Goal, fittest: int
) -> None:
    method = RegularizedEvolution(config(goal), population_size=8, sample_size=200)
    history = finished([3.0, 4.0, 1.0, 5.0, 6.0, 2.0, 7.0, 8.0])
    for child in method.suggest(history, 20, np.random.default_rng(0)):
        assert distance(child, dict(history[fittest].params)) == 1


def test_suggest__sample_of_one__takes_every_member_as_parent() -> None:
    method = RegularizedEvolution(config(), population_size=8, sample_size=1)
    history = finished([float(i) for i in range(8)])
    children = method.suggest(history, 100, np.random.default_rng(0))
    parents = [min(history, key=lambda t: distance(child, dict(t.params))) for child in children]
    assert {parent.number for parent in parents} == set(range(8))


def test_suggest__dead_best__has_no_more_children() -> None:
    method = RegularizedEvolution(config(), population_size=4, sample_size=50)
    history = finished([9.0, 1.0, 2.0, 3.0, 4.0])
    for child in method.suggest(history, 20, np.random.default_rng(0)):
        assert distance(child, dict(history[4].params)) == 1


def test_suggest__until_the_population_is_full__points_are_random_and_failures_replaced() -> None:
    method = RegularizedEvolution(config(), population_size=4, sample_size=50)
    history = finished([1.0, 2.0, 3.0])
    history[1] = Trial(1, history[1].params).fail("crash")
    points = method.suggest(history, 4, np.random.default_rng(0))
    near = [min(distance(point, dict(t.params)) for t in history) for point in points]
    assert min(near[:2]) > 3
    assert near[2:] == [1, 1]


def test_suggest__neighbours_all_tried__mutates_further_instead_of_listing_the_space() -> None:
    space = SearchSpace({f"bit{i}": Ordinal([0, 1]) for i in range(40)})  # 2^40 points
    parent = dict.fromkeys(space, 0)
    history = [Trial(0, parent).finish(1.0)]
    history += [Trial(i + 1, {**parent, name: 1}).finish(0.0) for i, name in enumerate(space)]
    method = RegularizedEvolution(config(space=space), population_size=99, sample_size=999)
    history += [Trial(41 + i, t.params).finish(0.0) for i, t in enumerate(history * 2)]
    for point in method.suggest(history, 5, np.random.default_rng(0)):
        assert 2 <= sum(point.values()) <= 4


def test_suggest__words_with_a_target__finds_better_ones_than_random() -> None:
    def best(name: str, seed: int) -> int:
        method = {"evolution": RegularizedEvolution, "random": RandomSearch}[name](config())
        history: list[Trial] = []
        for number in range(120):
            [point] = method.suggest(history, 1, np.random.default_rng([seed, number]))
            score = 12 - distance(point, word("abcdefabcdef"))
            history.append(Trial(number, point).finish(score))
        return max(int(trial.value or 0) for trial in history)

    wins = [best("evolution", seed) - best("random", seed) for seed in range(4)]
    assert min(wins) >= 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"population_size": 0}, "population_size must be at least 1, got 0"),
        ({"sample_size": 0}, "sample_size must be at least 1, got 0"),
        ({"step_size": 0.0}, "step_size must be above 0, got 0"),
    ],
)
def test_regularized_evolution__setting_out_of_range__is_refused(
    settings: dict[str, float], message: str
) -> None:
    space = SearchSpace(x=Float(0, 1))
    with pytest.raises(ConfigError, match=message):
        RegularizedEvolution(config(space=space), **settings)  # type: ignore[arg-type]
