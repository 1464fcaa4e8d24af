"""What every method of another library must do."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from optformer.data.methods import METHODS, create
from optformer.data.methods.external.library import LibraryMethod, seed_behind
from optformer.data.studies.errors import ConfigError, MissingExtraError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial

SPACE = SearchSpace(
    {
        "lr": Float(1e-5, 1e-1, log=True),
        "drop.rate": Float(0.0, 0.5, step=0.2),
        "layers": Int(1, 8, step=3),
        "loss": Ordinal(["l1"]),
        "optimizer": Categorical(["sgd", "adam", True, 1]),
        "momentum": Float(0.0, 0.99, when={"optimizer": ["sgd"]}),
    }
)
STUDY = StudyConfig(space=SPACE, metric="loss", goal="minimize")


def loss(params: Mapping[str, Any]) -> float | None:
    if params["layers"] == 7:
        return None
    return float((np.log10(params["lr"]) + 3) ** 2 + params.get("momentum", 0.5))


def run(method: Any, trials: int, *, seed: int = 3, batch: int = 1) -> list[Trial]:
    history: list[Trial] = []
    rng = np.random.default_rng(seed)
    while len(history) < trials:
        for point in method.suggest(history, batch, rng):
            trial, value = Trial(len(history), SPACE.validate(point)), loss(point)
            history.append(trial.fail("broken") if value is None else trial.finish(value))
    return history


@pytest.fixture(params=[name for name in METHODS.names() if METHODS.needs(name)])
def name(request: pytest.FixtureRequest) -> str:
    """Every method of another library that is installed."""
    try:
        METHODS[request.param]
    except MissingExtraError as error:
        pytest.skip(str(error))
    return str(request.param)


class TestLibraryConformance:
    """Runs for every name that was registered with packages it needs."""

    def test_suggest__conditional_space_with_failures__gives_legal_points_by_seed(
        self, name: str
    ) -> None:
        history = run(create(name, STUDY), 6)
        method = create(name, STUDY)
        assert run(method, 6, seed=4) != history
        assert run(method, 6) == history  # an empty history starts it anew

    def test_suggest__batches__have_as_many_points_as_asked_for(self, name: str) -> None:
        assert len(run(create(name, STUDY), 8, batch=4)) == 8

    def test_suggest__pending_and_failed_trials__are_read(self, name: str) -> None:
        rng = np.random.default_rng(1)
        pending = [Trial(i, SPACE.sample(rng)) for i in range(7)]
        for history in (
            pending,
            [trial.fail("crash") for trial in pending],
            [t.finish(float(t.number), stopped=True) if t.number % 3 else t for t in pending],
        ):
            for point in create(name, STUDY).suggest(history, 2, rng):
                SPACE.validate(point)

    def test_suggest__history__is_not_changed(self, name: str) -> None:
        method = create(name, STUDY)
        history = run(method, 3)
        before = copy.deepcopy(history)
        for point in method.suggest(history, 2, np.random.default_rng(0)):
            point.clear()
        assert history == before

    def test_suggest__fixed_values__are_kept_or_refused(self, name: str) -> None:
        fixed = StudyConfig(SPACE, "loss", "minimize", fixed={"layers": 4})
        try:
            method = create(name, fixed)
        except ConfigError as error:
            assert "layers" in str(error)  # noqa: PT017
        else:
            points = method.suggest([], 3, np.random.default_rng(0))
            assert {point["layers"] for point in points} == {4}

    @pytest.mark.parametrize("count", [0, -1])
    def test_suggest__count_below_one__is_refused(self, name: str, count: int) -> None:
        with pytest.raises(ConfigError, match=f"count must be at least 1, got {count}"):
            create(name, STUDY).suggest([], count, np.random.default_rng(0))


class Scribe(LibraryMethod):
    """Writes down what a library would hear."""

    def _start(self, seed: int, history: Sequence[Trial]) -> None:
        self.heard: list[Any] = [("start", seed, len(history))]

    def _tell(self, number: int, trial: Trial, is_new: bool) -> None:
        self.heard.append((number, trial.status.value, is_new))

    def _ask(self, number: int) -> dict[str, Any]:
        self.heard.append(("ask", number))
        return {"x": number / 100}


LINE = StudyConfig(SearchSpace(x=Float(0, 1)), "y", "maximize")


def test_library_method__growing_history__hears_each_trial_when_it_appears_and_ends() -> None:
    method, rng = Scribe(LINE), np.random.default_rng(5)
    given = Trial(0, {"x": 0.5}).finish(1.0)
    first, second = (
        Trial(number, point)
        for number, point in enumerate(method.suggest([given], 2, rng), start=1)
    )
    method.suggest([given, first, second.finish(2.0), Trial(3, {"x": 0.7})], 1, rng)
    method.suggest([given, first.fail("broken"), second.finish(2.0), Trial(3, {"x": 0.7})], 1, rng)
    assert method.heard == [
        *[("start", 5, 4), (0, "completed", True), (1, "failed", True)],
        *[(2, "completed", True), (3, "pending", True), ("ask", 4)],
    ]  # the last call left out the trial that was asked for before it


def test_library_method__asked_points_that_end__are_not_new() -> None:
    method, rng = Scribe(LINE), np.random.default_rng([1, 2])
    first, second = (Trial(n, p) for n, p in enumerate(method.suggest([], 2, rng)))
    method.suggest([first, second.finish(2.0)], 1, rng)
    start, *heard = method.heard
    assert start[1] == seed_behind(np.random.default_rng([1, 2])) < 2**32
    assert heard == [("ask", 0), ("ask", 1), (1, "completed", False), ("ask", 2)]


@pytest.mark.parametrize(
    "other",
    [
        [],
        [Trial(0, {"x": 0.0})],
        [Trial(0, {"x": 0.3}).finish(1.0), Trial(1, {"x": 0.01})],
        [Trial(0, {"x": 0.0}).finish(1.5), Trial(1, {"x": 0.01})],
    ],
)
def test_library_method__another_history__starts_anew(other: list[Trial]) -> None:
    method, rng = Scribe(LINE), np.random.default_rng(5)
    (point,) = method.suggest([], 1, rng)
    method.suggest([Trial(0, point).finish(1.0)], 1, rng)
    method.suggest(other, 1, np.random.default_rng(6))
    assert method.heard[0] == ("start", 6, len(other))
    assert method.heard[-1] == ("ask", len(other))
