"""What a user can get wrong: every error is the project's own, names the culprit, changes nothing.

The faults of a storage (a full disk, a locked database) are at the end, on a study as users make
it; the storage's own tests look closer.
"""

from __future__ import annotations

import math
import os
import re
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import optformer as of
from optformer.data.studies.errors import MetricError, SearchSpaceError, StorageError, TrialError
from optformer.serving.study import optuna_access
from optformer.serving.study.study import Study


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: of.Float(1.0, 0.0), "low must be below high, got low=1.0 and high=0.0"),
        (lambda: of.Float(1.0, 1.0), "low must be below high"),
        (lambda: of.Int(4, 4), "low must be below high, got low=4 and high=4"),
        (lambda: of.Int(4, 1), "low must be below high"),
        (lambda: of.Float(0.0, 1.0, log=True), "log needs low above 0, got low=0.0"),
        (lambda: of.Float(-1.0, 1.0, log=True), "log needs low above 0, got low=-1.0"),
        (lambda: of.Int(0, 8, log=True), "log needs low above 0, got low=0"),
        (lambda: of.Float(math.nan, 1.0), "low must be finite, got nan"),
        (lambda: of.Float(0.0, math.inf), "high must be finite, got inf"),
        (lambda: of.Categorical(["a", "b", "a"]), "choices must differ, got 'a' more than once"),
        (lambda: of.Ordinal([16, 32, 16]), "choices must differ, got 16 more than once"),
        (lambda: of.Categorical([]), "choices must hold at least one value, got none"),
        (lambda: of.SearchSpace(), "a search space needs at least one parameter, got none"),
        (
            lambda: of.SearchSpace(x=of.Float(0, 1, when={"kind": ["a"]})),
            "parameter 'x' depends on unknown parameter 'kind'",
        ),
        (
            lambda: of.SearchSpace(
                kind=of.Categorical(["a"]), x=of.Float(0, 1, when={"kind": ["b"]})
            ),
            "parameter 'x': when['kind'] holds an illegal value: expected one of ['a'], got 'b'",
        ),
        (
            lambda: of.SearchSpace(
                a=of.Categorical([1, 2], when={"b": [1]}), b=of.Categorical([1], when={"a": [1]})
            ),
            "conditions go in a circle among ['a', 'b']",
        ),
        (
            lambda: of.SearchSpace.from_dict({"x": {"type": "float", "low": 1, "high": 0}}),
            "parameter 'x': low must be below high",
        ),
        (
            lambda: of.SearchSpace.from_dict({"x": {"type": "float", "low": 1, "hi": 2}}),
            "parameter 'x': unknown field 'hi'",
        ),
    ],
)
def test_space__impossible__names_the_field(build: Callable[[], Any], text: str) -> None:
    with pytest.raises(SearchSpaceError, match=re.escape(text)) as caught:
        build()
    assert isinstance(caught.value, of.OptFormerError)
    assert isinstance(caught.value, ValueError)


@pytest.fixture
def study(make_study: Callable[..., Study], point: dict[str, Any]) -> Study:
    """A completed, a failed and two pending trials."""
    study = make_study()
    study.observe(point, 0.5)
    study.observe(point, failed="diverged")
    study.suggest(2)
    return study


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"x": 5.0}, "parameter 'x': expected a float in [1e-06, 0.1], got 5.0"),
        ({"x": math.nan}, "parameter 'x': value must be finite, got nan"),
        ({"x": "0.01"}, "parameter 'x': value must be a number, got '0.01'"),
        ({"layers": 2.5}, "parameter 'layers': value must be a whole number, got 2.5"),
        ({"kind": "rmsprop"}, "parameter 'kind': expected one of ['sgd', 'adam', None]"),
        ({"width": 48}, "parameter 'width': expected one of [16, 32, 64], got 48"),
        ({"depth": 3}, "unknown parameter 'depth'; this space has ['x', 'kind'"),
        ({"kind": "sgd"}, "parameter 'momentum' is missing"),
        ({"momentum": 0.5}, "parameter 'momentum' is inactive here: it needs {'kind': ('sgd',)}"),
    ],
)
def test_observe__value_outside_the_space__names_the_parameter(
    study: Study, point: dict[str, Any], change: dict[str, Any], text: str
) -> None:
    before = study.trials
    with pytest.raises(SearchSpaceError, match=re.escape(text)):
        study.observe({**point, **change}, 0.5)
    suggested = study.trials[2]
    changed = replace(suggested, params={**point, **change})
    with pytest.raises(SearchSpaceError, match=re.escape(text)):
        study.observe(changed, 0.5)
    assert study.trials == before


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_observe__not_finite__is_kept_as_a_failure(study: Study, value: float) -> None:
    with pytest.warns(of.OptFormerWarning, match="'accuracy'"):
        study.observe(study.trials[2], value)
    assert study.trials[2].status is of.TrialStatus.FAILED
    assert study.best_trial.value == 0.5


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("outcome", [{"value": 0.5}, {"failed": "late"}])
def test_observe__a_trial_twice__says_what_it_was(
    study: Study, number: int, outcome: Mapping[str, Any]
) -> None:
    before = study.trials
    said = ["completed with value 0.5", "failed with reason 'diverged'"][number]
    with pytest.raises(TrialError, match=f"trial {number} of study 's' was .* {said}; observe"):
        study.observe(before[number], **outcome)
    assert study.trials == before


def test_observe__trial_of_another_study__names_both(
    study: Study, make_study: Callable[..., Study]
) -> None:
    other = make_study(name="other").suggest()
    before = study.trials
    with pytest.raises(TrialError, match="trial 0 belongs to study 'other', this is 's'"):
        study.observe(other, 0.5)
    with pytest.raises(TrialError, match="study 's' has no trial 9; it has trials 0 to 3"):
        study.observe(replace(before[2], number=9), 0.5)
    with pytest.raises(TrialError, match=r"trial 2 has .* observe another point by its parameters"):
        study.observe(replace(before[3], number=2), 0.5)
    with pytest.raises(TrialError, match=r"needs a trial or a mapping .*, got 2; study.trials"):
        study.observe(2, 0.5)  # type: ignore[arg-type]
    assert study.trials == before


@pytest.mark.parametrize(
    ("outcome", "error", "text"),
    [
        ({"value": {"acc": 0.5}}, MetricError, "metric 'accuracy' is missing; got ['acc']"),
        ({"value": {"accuracy": None}}, MetricError, "metric 'accuracy' must be a number"),
        ({"value": "0.5"}, MetricError, "metric 'accuracy' must be a number, got '0.5'"),
        ({}, TrialError, "observe needs a value of 'accuracy' or failed='reason', got neither"),
        ({"value": 0.5, "failed": "x"}, TrialError, "got both failed and value=0.5"),
    ],
)
def test_observe__outcome_that_is_none__names_the_metric(
    study: Study,
    point: dict[str, Any],
    outcome: dict[str, Any],
    error: type[Exception],
    text: str,
) -> None:
    before = study.trials
    for trial in (before[2], point):
        with pytest.raises(error, match=re.escape(text)):
            study.observe(trial, **outcome)
    assert study.trials == before


def test_weighted__wrong_metrics__are_named(make_study: Callable[..., Study]) -> None:
    with pytest.raises(MetricError, match="at least one metric"):
        of.Weighted()
    with pytest.raises(MetricError, match="weight of 'flops' must be finite"):
        of.Weighted(flops=math.nan)
    study = make_study(metric=of.Weighted(accuracy=1.0, flops=-1e-9))
    trial = study.suggest()
    with pytest.raises(MetricError, match="metric 'flops' is missing"):
        study.observe(trial, {"accuracy": 0.5})
    with pytest.raises(MetricError, match=re.escape("weighs ['accuracy', 'flops']; observe a")):
        study.observe(trial, 0.5)
    assert study.trials == [trial]


def test_full_disk__stored_study__asks_to_repeat(
    tmp_path: Path,
    make_study: Callable[..., Study],
    point: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = make_study(storage=str(tmp_path / "s.journal"))
    trial = study.suggest()

    def no_space(descriptor: int) -> None:
        os.ftruncate(descriptor, os.fstat(descriptor).st_size - 10)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_space)
        attempts: list[Callable[[], object]] = [
            lambda: study.observe(trial, 0.5),
            lambda: study.observe(trial, failed="diverged"),
            lambda: study.observe(point, 0.5),
            study.suggest,
        ]
        for attempt in attempts:
            with pytest.raises(StorageError, match="the disk is full"):
                attempt()
    assert study.trials == [trial]
    study.observe(trial, 0.5)
    assert of.load_study(storage=str(tmp_path / "s.journal")).trials == [trial.finish(0.5)]


def test_locked_database__stored_study__asks_to_repeat(
    tmp_path: Path,
    make_study: Callable[..., Study],
    point: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import optuna

    path = tmp_path / "s.db"
    storage = optuna.storages.RDBStorage(
        f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 0.01}}
    )
    study = make_study(storage=storage)
    trial = study.suggest()
    monkeypatch.setattr(optuna_access, "_PATIENCE", 0.2)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    for attempt in (lambda: study.observe(trial, 0.5), study.suggest, lambda: study.trials):
        with pytest.raises(StorageError, match=r"the database stayed locked for .* repeat the"):
            attempt()
    holder.rollback()
    assert study.trials == [trial]
    assert study.observe(trial, 0.5) == trial.finish(0.5)
