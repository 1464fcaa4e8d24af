from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from optformer.data.parameters import Categorical, Float, Int
from optformer.data.spaces import SearchSpace
from optformer.data.studies import StudyConfig
from optformer.data.trials import Trial
from optformer.encoded_space import EncodedSpace
from optformer.zoom import INSIDE, LEAST_WIDTH, zoom

SPACE = SearchSpace(
    lr=Float(1e-5, 1e-1, log=True),
    kind=Categorical(["a", "b"]),
    beta=Float(0.0, 1.0, when={"kind": ["a"]}),
    step=Float(0.0, 1.0, step=0.25),
    layers=Int(1, 8),
)


def _history(goal: Any = "maximize", count: int = 40) -> tuple[StudyConfig, list[Trial]]:
    config = StudyConfig(SPACE, "score", goal)
    rng = np.random.default_rng(0)
    trials = []
    for number in range(count):
        params: Any = SPACE.sample(rng)
        score = -abs(np.log10(params["lr"]) + 3)
        trials.append(Trial(number=number, params=params).finish(config.sign * score))
    return config, trials


@pytest.mark.parametrize("goal", ["maximize", "minimize"])
def test_zoom__many_trials__is_the_smallest_box_around_the_best_that_holds_enough(
    goal: Any,
) -> None:
    config, history = _history(goal)
    found = zoom(config, history)
    assert found is not None
    inner, inside = found
    best = max(history, key=lambda trial: config.sign * (trial.value or 0.0))
    assert best in inside
    cut: Any = inner.space["lr"]
    whole: Any = SPACE["lr"]
    assert whole.low <= cut.low < best.params["lr"] < cut.high <= whole.high
    assert INSIDE <= len(inside) < len(history)
    assert inside == [t for t in history if _fits(inner.space, t)]
    assert inner.space["layers"] == SPACE["layers"]
    assert inner.space["step"] == SPACE["step"]
    assert inner.space["kind"] == SPACE["kind"]
    assert (inner.metric, inner.goal) == (config.metric, config.goal)


def test_zoom__best_without_a_conditional_parameter__leaves_it_whole() -> None:
    config, history = _history()
    without = [t for t in history if "beta" not in t.params]
    assert len(without) > INSIDE
    found = zoom(config, without)
    assert found is not None
    assert found[0].space["beta"] == SPACE["beta"]


def test_zoom__fixed_parameters__are_not_cut() -> None:
    config, history = _history()
    found = zoom(config, history, {"lr"})
    assert found is None or found[0].space["lr"] == SPACE["lr"]
    assert zoom(config, history, {"lr", "beta"}) is None


def test_zoom__trials_in_one_place__keeps_the_least_width() -> None:
    space = SearchSpace(x=Float(0.0, 10.0))
    config = StudyConfig(space, "score", "maximize")
    history = [Trial(number=i, params={"x": 5.0}).finish(float(i)) for i in range(20)]
    found = zoom(config, history)
    assert found is not None
    cut: Any = found[0].space["x"]
    assert (cut.low, cut.high) == pytest.approx((5 - 10 * LEAST_WIDTH, 5 + 10 * LEAST_WIDTH))


def test_zoom__pending_and_failed_trials_inside__are_kept() -> None:
    config, history = _history()
    best = max(history, key=lambda trial: trial.value or -np.inf)
    extra = [
        Trial(number=40, params=best.params),
        Trial(number=41, params=best.params).fail("out of memory"),
    ]
    found = zoom(config, [*history, *extra])
    assert found is not None
    assert found[1][-2:] == extra


def test_zoom__trial_off_a_logarithmic_end_by_round_off__can_be_encoded() -> None:
    space = SearchSpace(x=Float(1e-8, 1e8, log=True))
    config = StudyConfig(space, "score", "minimize")
    values = 10 ** np.linspace(-7.5, 7.5, 30)
    history = [Trial(number=i, params={"x": x}).finish(x) for i, x in enumerate(values.tolist())]
    history[0] = Trial(number=0, params={"x": 0.5}).finish(-1.0)
    found = zoom(config, history)
    assert found is not None
    cut: Any = found[0].space["x"]
    # Above the tolerance of the unit interval, below that of a check against the high end.
    low = cut.low - 5e-10 * cut.high
    added = [*history, Trial(number=30, params={"x": low}).finish(9.0)]
    again = zoom(config, added)
    assert again is not None
    assert again[0] == found[0]
    assert len(again[1]) == len(found[1]) + 1
    values = EncodedSpace(again[0].space, {}).encode([trial.params for trial in again[1]])
    assert values.min() == 0.0


@pytest.mark.parametrize("count", [0, INSIDE])
def test_zoom__few_trials__is_none(count: int) -> None:
    config, history = _history(count=count)
    assert zoom(config, history) is None


def test_zoom__nothing_continuous__is_none() -> None:
    space = SearchSpace(n=Int(1, 100), c=Categorical(["a", "b"]))
    config = StudyConfig(space, "score", "maximize")
    rng = np.random.default_rng(0)
    history = [Trial(number=i, params=space.sample(rng)).finish(float(i)) for i in range(30)]
    assert zoom(config, history) is None


def _fits(space: SearchSpace, trial: Trial) -> bool:
    params: Any = trial.params
    lr: Any = space["lr"]
    beta: Any = space["beta"]
    within = "beta" not in params or beta.low <= params["beta"] <= beta.high
    return bool(lr.low <= params["lr"] <= lr.high and within)
