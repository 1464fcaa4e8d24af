"""What defines simulated annealing: worse steps are taken, and less often as it cools."""

from __future__ import annotations

import numpy as np
import pytest

from optformer.data.methods.random_search import RandomSearch
from optformer.data.methods.simulated_annealing import SimulatedAnnealing
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import Goal, StudyConfig
from optformer.data.studies.trials import Trial

SPACE = SearchSpace(x=Float(0, 1), y=Float(0, 1))


def config(goal: Goal = "maximize") -> StudyConfig:
    return StudyConfig(SPACE, "score", goal)


def acceptance_rate(method: SimulatedAnnealing, earlier: int, worse_by: float) -> float:
    """How often the walk moves to a worse trial after so many earlier ones."""
    rng = np.random.default_rng(0)
    history = [
        Trial(i, SPACE.sample(rng)).finish(-1.0 + i / earlier) for i in range(earlier)
    ]  # rising, so each is accepted
    taken = 0
    for _ in range(300):
        worse = Trial(earlier, SPACE.sample(rng)).finish(history[-1].value - worse_by)
        taken += method.present([*history, worse]) is worse
    return taken / 300


def test_present__better_trials__are_always_taken_in_both_directions() -> None:
    rng = np.random.default_rng(0)
    history = [Trial(i, SPACE.sample(rng)).finish(float(i)) for i in range(6)]
    assert SimulatedAnnealing(config(), temperature=1e-9).present(history) is history[-1]
    assert SimulatedAnnealing(config("minimize"), temperature=1e-9).present(history) is history[0]


def test_present__worse_trial__is_taken_less_often_when_it_is_cold_or_much_worse() -> None:
    method = SimulatedAnnealing(config(), temperature=1.0, cooling=0.95)
    early, late = (acceptance_rate(method, n, 0.3) for n in (8, 60))
    assert 0.3 < early < 0.9
    assert late < 0.1
    assert acceptance_rate(method, 8, 0.1) > early > acceptance_rate(method, 8, 2.0)


def test_present__read_again_and_in_other_units__stands_at_the_same_point() -> None:
    rng = np.random.default_rng(1)
    history = [Trial(i, SPACE.sample(rng)).finish(float(rng.random())) for i in range(40)]
    scaled = [Trial(t.number, t.params).finish(1e6 * (t.value or 0.0) - 7) for t in history]
    present = SimulatedAnnealing(config()).present(history)
    assert present is not None
    assert SimulatedAnnealing(config()).present(history) is present
    again = SimulatedAnnealing(config()).present(scaled)
    assert again is not None
    assert again.number == present.number


def test_present__no_value_yet__is_nowhere() -> None:
    history = [Trial(0, {"x": 0.1, "y": 0.1}).fail("crash"), Trial(1, {"x": 0.2, "y": 0.2})]
    assert SimulatedAnnealing(config()).present(history) is None


def test_suggest__next_point__is_a_neighbour_of_the_present_one() -> None:
    history = [Trial(0, {"x": 0.5, "y": 0.5}).finish(1.0), Trial(1, {"x": 0.9, "y": 0.9})]
    points = SimulatedAnnealing(config(), step_size=0.01).suggest(
        history, 30, np.random.default_rng(0)
    )
    for point in points:
        moved = [name for name in point if point[name] != 0.5]
        assert len(moved) == 1
        assert abs(point[moved[0]] - 0.5) < 0.06


def test_suggest__smooth_bowl__gets_closer_than_random() -> None:
    def best(name: str, seed: int) -> float:
        method = {"annealing": SimulatedAnnealing, "random": RandomSearch}[name](config())
        history: list[Trial] = []
        for number in range(60):
            [point] = method.suggest(history, 1, np.random.default_rng([seed, number]))
            value = -((point["x"] - 0.3) ** 2) - (point["y"] - 0.8) ** 2
            history.append(Trial(number, point).finish(value))
        return max(t.value for t in history if t.value is not None)

    assert np.mean([best("annealing", s) for s in range(4)]) > 0.5 * np.mean(
        [best("random", s) for s in range(4)]
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.0}, "temperature must be above 0, got 0"),
        ({"cooling": 1.5}, "cooling must be above 0 and at most 1, got 1.5"),
        ({"step_size": -1.0}, "step_size must be above 0, got -1"),
    ],
)
def test_simulated_annealing__setting_out_of_range__is_refused(
    settings: dict[str, float], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        SimulatedAnnealing(config(), **settings)
