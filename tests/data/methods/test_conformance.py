"""What every search method of this package must do."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from optformer.data.methods import METHODS, SearchMethod, create
from optformer.data.studies.errors import ConfigError, SpaceExhaustedError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import Goal, StudyConfig
from optformer.data.studies.trials import Trial

SPACES = {
    "continuous": SearchSpace(x=Float(0, 1), y=Float(1e-4, 1, log=True)),
    "conditional": SearchSpace(
        optimizer=Categorical(["adam", "sgd", "lbfgs"]),
        momentum=Float(0.0, 0.99, when={"optimizer": ["sgd"]}),
        nesterov=Categorical([True, False], when={"optimizer": ["sgd"]}),
        damping=Float(0.0, 1.0, when={"nesterov": [False]}),
        lr=Float(1e-6, 1e-1, log=True),
    ),
    "finite": SearchSpace(
        depth=Int(1, 4), kind=Categorical(["a", "b", None]), size=Ordinal([16, 32, 64, 128])
    ),
    "single-valued": SearchSpace(only=Categorical(["one"]), x=Float(0, 1), rank=Ordinal([3])),
    "stepped": SearchSpace(
        drop=Float(0.0, 0.5, step=0.1),
        odd=Float(0.0, 1.0, step=0.3),
        even=Int(-4, 9, step=2),
        wide=Int(1, 4096, log=True),
        huge=Int(0, 10**9),
    ),
}


def run(
    method: SearchMethod,
    trials: int,
    *,
    seed: int = 0,
    batch: int = 1,
    history: Sequence[Trial] = (),
) -> list[Trial]:
    """A study of some trials on an arbitrary deterministic function; every fifth trial fails."""
    history = list(history)
    while len(history) < trials:
        rng = np.random.default_rng([seed, len(history)])
        for params in method.suggest(history, batch, rng):
            trial = Trial(len(history), params)
            score = float(len(repr(params)) % 7)
            history.append(trial.fail("crash") if trial.number % 5 == 4 else trial.finish(score))
    return history


def config(space: str, goal: Goal = "maximize", **fixed: Value) -> StudyConfig:
    return StudyConfig(SPACES[space], "score", goal, fixed=fixed)


OWN = [
    name
    for name in METHODS.names()
    if not METHODS.needs(name) and METHODS[name].__module__.startswith("optformer.data.")
]
"""Methods of this package: not those of other libraries, nor the model, which is tested there."""


@pytest.mark.parametrize("name", OWN)
class TestMethodConformance:
    """Runs for every such name in the registry: a new method is held to it once registered."""

    @pytest.mark.parametrize("goal", ["maximize", "minimize"])
    @pytest.mark.parametrize("space", SPACES)
    def test_suggest__every_kind_of_space__gives_legal_ordered_points(
        self, name: str, space: str, goal: Goal
    ) -> None:
        method = create(name, config(space, goal))
        for trial in run(method, 10 if space == "single-valued" else 24):
            assert list(SPACES[space].validate(trial.params).items()) == list(trial.params.items())

    @pytest.mark.parametrize("space", SPACES)
    def test_suggest__same_history_and_seed__repeats_itself_in_a_fresh_method(
        self, name: str, space: str
    ) -> None:
        used = create(name, config(space))
        history = run(used, 8)
        again = [
            method.suggest(history, 2, np.random.default_rng(7))
            for method in (used, used, create(name, config(space)))
        ]
        assert again[0] == again[1] == again[2]

    @pytest.mark.parametrize("space", SPACES)
    def test_suggest__batch__gives_that_many_different_points(self, name: str, space: str) -> None:
        points = create(name, config(space)).suggest([], 8, np.random.default_rng(0))
        assert len(points) == 8
        assert len({repr(sorted(p.items(), key=str)) for p in points}) == 8

    def test_suggest__pending_and_failed_trials__are_read(self, name: str) -> None:
        space = SPACES["conditional"]
        rng = np.random.default_rng(1)
        points = [space.sample(rng) for _ in range(9)]
        pending = [Trial(i, point) for i, point in enumerate(points)]
        for history in (
            pending,
            [trial.fail("crash") for trial in pending],
            [t.finish(1.0) if t.number % 2 else t for t in pending],
            [t.finish(1.0, stopped=True) if t.number % 3 else t.fail("crash") for t in pending],
            [t.finish(2.0) for t in pending],
        ):
            for point in create(name, config("conditional")).suggest(history, 3, rng):
                space.validate(point)

    def test_suggest__history__is_not_changed(self, name: str) -> None:
        method = create(name, config("conditional"))
        history = run(method, 6)
        before = copy.deepcopy(history)
        for point in method.suggest(history, 4, np.random.default_rng(0)):
            point.clear()
        assert history == before
        assert len(method.suggest(history, 4, np.random.default_rng(0))[0]) >= 2

    @pytest.mark.parametrize(
        ("space", "fixed"),
        [
            ("conditional", {"optimizer": "sgd", "momentum": 0.5}),
            ("conditional", {"optimizer": "adam", "momentum": 0.5}),
            ("stepped", {"drop": 0.3, "huge": 123456}),
            ("continuous", {"y": 0.01}),
        ],
    )
    def test_suggest__fixed_values__are_kept_where_active(
        self, name: str, space: str, fixed: dict[str, Any]
    ) -> None:
        for trial in run(create(name, config(space, **fixed)), 9, batch=3):
            SPACES[space].validate(trial.params)
            for key, value in fixed.items():
                if SPACES[space].is_active(key, trial.params):
                    assert trial.params[key] == value

    def test_suggest__finite_space__tries_every_point_once_and_says_so(self, name: str) -> None:
        method = create(name, config("finite", kind=None))
        history = run(method, 16, batch=4)
        assert len({repr(trial.params) for trial in history}) == 16
        with pytest.raises(SpaceExhaustedError, match="no untried point is left after 16"):
            method.suggest(history, 1, np.random.default_rng(0))

    def test_suggest__finite_space__never_repeats_a_pending_point(self, name: str) -> None:
        method = create(name, config("finite", kind="a", depth=2))
        history = [Trial(0, {"depth": 2, "kind": "a", "size": 16})]
        points = method.suggest(history, 3, np.random.default_rng(0))
        assert {point["size"] for point in points} == {32, 64, 128}

    def test_suggest__everything_fixed__gives_the_one_point(self, name: str) -> None:
        method = create(name, config("continuous", x=0.5, y=0.1))
        assert method.suggest([], 1, np.random.default_rng(0)) == [{"x": 0.5, "y": 0.1}]
        with pytest.raises(SpaceExhaustedError):
            method.suggest([], 2, np.random.default_rng(0))

    @pytest.mark.parametrize("count", [0, -1])
    def test_suggest__count_below_one__is_refused(self, name: str, count: int) -> None:
        with pytest.raises(ConfigError, match=f"count must be at least 1, got {count}"):
            create(name, config("continuous")).suggest([], count, np.random.default_rng(0))
