from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch

from optformer.data.studies.errors import (
    MetricError,
    OptFormerWarning,
    SearchSpaceError,
    StudyError,
    TrialError,
)
from optformer.data.studies.parameters import Categorical, Float, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig, Weighted
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.planning.acquisition import STRATEGIES
from optformer.serving.study.memory_store import MemoryStore
from optformer.serving.study.outcomes import decide_outcome
from optformer.serving.study.study import Study, create_study, load_study
from optformer.serving.study.trial_store import StudyRecord

PENDING = Trial(number=0, params={"x": 0.5}, study="s")
CONFIG = StudyConfig(SearchSpace(x=Float(0, 1)), metric="accuracy", goal="maximize")


@pytest.fixture(params=["memory", "sqlite", "server"])
def make_study(request: pytest.FixtureRequest, make_study: Callable[..., Study]) -> Any:
    """Studies are the same wherever they are."""
    if request.param == "server":
        return request.getfixturevalue("make_served_study")
    if request.param == "sqlite":
        return partial(make_study, storage=request.getfixturevalue("sqlite"))
    return make_study


def test_suggest__without_count__gives_one_pending_trial(make_study: Callable[..., Study]) -> None:
    study = make_study()
    trial = study.suggest()
    assert trial.number == 0
    assert trial.status is TrialStatus.PENDING
    assert trial.study == study.name
    assert study.trials == [trial]


def test_suggest__with_count__gives_a_list_in_order(make_study: Callable[..., Study]) -> None:
    study = make_study()
    assert [trial.number for trial in study.suggest(3)] == [0, 1, 2]
    assert [trial.number for trial in study.suggest(1)] == [3]
    assert all(study.config.space.validate(trial.params) for trial in study.trials)


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "2"])
def test_suggest__illegal_count__is_refused(make_study: Callable[..., Study], count: Any) -> None:
    study = make_study()
    with pytest.raises(StudyError, match="count must be"):
        study.suggest(count)
    assert study.trials == []


def test_suggest__fixed_values__are_kept(make_study: Callable[..., Study]) -> None:
    study = make_study(fixed={"layers": 4})
    for trial in study.suggest(5, fixed={"kind": "sgd"}):
        assert trial.params["layers"] == 4
        assert trial.params["kind"] == "sgd"


@pytest.mark.parametrize(
    ("fixed", "text"),
    [
        ({"layers": 5}, "'layers' is fixed to 4"),
        ({"layers": 99}, r"'layers': expected an int in \[1, 8\], got 99"),
        ({"depth": 1}, "unknown parameter 'depth'"),
    ],
)
def test_suggest__illegal_fixed_value__names_the_parameter(
    make_study: Callable[..., Study], fixed: dict[str, Value], text: str
) -> None:
    study = make_study(fixed={"layers": 4})
    with pytest.raises(SearchSpaceError, match=text):
        study.suggest(fixed=fixed)
    assert study.trials == []


def test_suggest__same_seed_and_history__same_suggestions(make_study: Callable[..., Study]) -> None:
    names = {"first": 3, "second": 3, "other": 4}
    first, second, other = (make_study(name=name, seed=seed) for name, seed in names.items())
    for study in (first, second, other):
        for value in (0.5, 0.7):
            study.observe(study.suggest(), value)
    assert [t.params for t in first.suggest(2)] == [t.params for t in second.suggest(2)]
    assert [trial.params for trial in first.trials] != [trial.params for trial in other.trials]


@pytest.mark.parametrize("make_study", ["memory"], indirect=True)
def test_suggest__history_changed_meanwhile__plans_again(
    make_study: Callable[..., Study], planner: Any, point: dict[str, Value]
) -> None:
    study = make_study()

    def another_worker() -> None:
        planner.during = None
        study.observe(point, 0.5)

    planner.during = another_worker
    trial = study.suggest()
    assert trial.number == 1
    assert planner.calls == [(0, 1), (1, 1)]


def test_suggest__explanation__stays_with_the_trial(make_study: Callable[..., Study]) -> None:
    study = make_study()
    trial = study.suggest()
    assert trial.explanation.source == "space"
    assert study.observe(trial, 0.5).explanation == trial.explanation
    assert study.trials[0].explanation == trial.explanation


def test_observe__value__completes_the_trial(make_study: Callable[..., Study]) -> None:
    study = make_study()
    trial = study.suggest()
    finished = study.observe(trial, 0.9)
    assert (finished.status, finished.value) == (TrialStatus.COMPLETED, 0.9)
    assert study.trials == [finished]
    assert trial.status is TrialStatus.PENDING


def test_observe__several_metrics__stores_all(make_study: Callable[..., Study]) -> None:
    study = make_study(metric=Weighted(accuracy=1.0, flops=-1e-9))
    finished = study.observe(study.suggest(), {"accuracy": 0.9, "flops": 1e8, "epoch": 3})
    assert finished.value == pytest.approx(0.8)
    assert finished.metrics == {"accuracy": 0.9, "flops": 1e8, "epoch": 3.0}


def test_observe__parameters__add_a_completed_trial(
    make_study: Callable[..., Study], point: dict[str, Value]
) -> None:
    study = make_study()
    given = dict(reversed(point.items()))
    finished = study.observe(given, 0.4)
    assert (finished.number, finished.status, finished.value) == (0, TrialStatus.COMPLETED, 0.4)
    assert finished.params == point
    assert list(given) == list(reversed(point))
    failed = study.observe(point, failed="diverged")
    assert (failed.number, failed.reason) == (1, "diverged")
    assert study.trials == [finished, failed]


def test_observe__out_of_order__is_fine(make_study: Callable[..., Study]) -> None:
    study = make_study()
    first, second = study.suggest(2)
    study.observe(second, 2.0)
    study.observe(first, 1.0)
    assert [trial.value for trial in study.trials] == [1.0, 2.0]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_observe__not_finite__is_a_failure_with_a_warning(
    make_study: Callable[..., Study], value: float
) -> None:
    study = make_study()
    with pytest.warns(OptFormerWarning, match="trial 0: metric 'accuracy' is .* as failed") as seen:
        finished = study.observe(study.suggest(), value)
    assert seen[0].filename == __file__
    assert finished.status is TrialStatus.FAILED
    assert finished.reason == f"metric 'accuracy' is {value}"
    assert study.trials == [finished]


def test_observe__other_metric_not_finite__completes_without_it(
    make_study: Callable[..., Study],
) -> None:
    study = make_study()
    with pytest.warns(OptFormerWarning, match="'loss' is nan; left out"):
        finished = study.observe(study.suggest(), {"accuracy": 0.5, "loss": math.nan})
    assert (finished.value, finished.metrics) == (0.5, {"accuracy": 0.5})


@pytest.mark.parametrize(
    ("value", "failed", "stopped", "expected"),
    [
        (0.5, None, False, (TrialStatus.COMPLETED, 0.5, None)),
        (1, None, False, (TrialStatus.COMPLETED, 1.0, None)),
        ({"accuracy": 0.5}, None, False, (TrialStatus.COMPLETED, 0.5, None)),
        (0.5, None, True, (TrialStatus.STOPPED, 0.5, None)),
        (None, "out of memory", False, (TrialStatus.FAILED, None, "out of memory")),
        (None, ValueError("too large"), False, (TrialStatus.FAILED, None, "ValueError: too large")),
        (None, MemoryError(), False, (TrialStatus.FAILED, None, "MemoryError")),
        (np.float32(0.5), None, False, (TrialStatus.COMPLETED, 0.5, None)),
        (np.array(0.5), None, False, (TrialStatus.COMPLETED, 0.5, None)),
        (np.array([[3]]), None, False, (TrialStatus.COMPLETED, 3.0, None)),
        (torch.tensor(0.5), None, False, (TrialStatus.COMPLETED, 0.5, None)),
        (torch.tensor(0.5, dtype=torch.bfloat16), None, False, (TrialStatus.COMPLETED, 0.5, None)),
        (torch.tensor([2], requires_grad=False), None, False, (TrialStatus.COMPLETED, 2.0, None)),
        ({"accuracy": torch.tensor(0.5)}, None, False, (TrialStatus.COMPLETED, 0.5, None)),
        (Decimal("0.5"), None, False, (TrialStatus.COMPLETED, 0.5, None)),
        (Decimal("NaN"), None, False, (TrialStatus.FAILED, None, "metric 'accuracy' is nan")),
        (np.array([1, 2]), None, False, (MetricError, "must be one number, got ndarray of shape")),
        (torch.zeros(0), None, False, (MetricError, "must be one number, got Tensor of shape")),
        (np.array(True), None, False, (MetricError, "must be a number, got True")),
        (np.array("0.5"), None, False, (MetricError, "must be a number, got '0.5'")),
        (Decimal("sNaN"), None, False, (MetricError, "must be a number, got Decimal")),
        (1j, None, False, (MetricError, "must be a number, got 1j")),
        (0.5, None, 1, (TrialError, "stopped must be True or False, got 1")),
        (0.5, None, "no", (TrialError, "stopped must be True or False, got 'no'")),
        (math.nan, None, False, (TrialStatus.FAILED, None, "metric 'accuracy' is nan")),
        (math.inf, None, True, (TrialStatus.FAILED, None, "metric 'accuracy' is inf")),
        (None, None, False, (TrialError, "needs a value of 'accuracy' or failed")),
        (None, None, True, (TrialError, "needs a value of 'accuracy' or failed")),
        (0.5, "broken", False, (TrialError, "got both failed and value=0.5")),
        (None, "broken", True, (TrialError, "got both failed and stopped=True")),
        (None, "", False, (TrialError, "failed must say why, got ''")),
        (None, True, False, (TrialError, "failed must say why, got True")),
        ("0.5", None, False, (MetricError, "metric 'accuracy' must be a number, got '0.5'")),
        (True, None, False, (MetricError, "metric 'accuracy' must be a number, got True")),
        ({"acc": 0.5}, None, False, (MetricError, "'accuracy' is missing; got \\['acc'\\]")),
        ({}, None, False, (MetricError, "'accuracy' is missing; got \\[\\]")),
    ],
)
def test_decide_outcome__of_a_pending_trial__follows_the_table(
    value: Any, failed: Any, stopped: bool, expected: tuple[Any, ...]
) -> None:
    if len(expected) == 2:
        error, text = expected
        with pytest.raises(error, match=text):
            decide_outcome(CONFIG, PENDING, value, failed, stopped)
        return
    finished, caution = decide_outcome(CONFIG, PENDING, value, failed, stopped)
    assert (finished.status, finished.value, finished.reason) == expected
    assert (finished.number, finished.params) == (PENDING.number, PENDING.params)
    odd = isinstance(value, float | Decimal) and not math.isfinite(value)
    assert (caution is not None) == odd


@pytest.mark.parametrize(
    "finished", [PENDING.finish(0.5), PENDING.finish(0.5, stopped=True), PENDING.fail("broken")]
)
@pytest.mark.parametrize(("value", "failed"), [(0.5, None), (None, "broken"), (None, None)])
def test_decide_outcome__of_a_finished_trial__is_always_refused(
    finished: Trial, value: float | None, failed: str | None
) -> None:
    with pytest.raises(TrialError, match=f"trial 0 .* observed before: {finished.status.value}"):
        decide_outcome(CONFIG, finished, value, failed, False)


@pytest.mark.parametrize(("goal", "number"), [("maximize", 1), ("minimize", 0)])
def test_best_trial__several__follows_the_goal_among_completed(
    make_study: Callable[..., Study], goal: str, number: int
) -> None:
    study = make_study(goal=goal)
    trials = study.suggest(5)
    study.observe(trials[0], -1.0)
    study.observe(trials[1], 2.0)
    study.observe(trials[2], 9.0 if goal == "maximize" else -9.0, stopped=True)
    study.observe(trials[3], failed="broken")
    assert study.best_trial.number == number


def test_best_trial__none_completed__says_what_to_do(make_study: Callable[..., Study]) -> None:
    study = make_study()
    study.observe(study.suggest(), failed="broken")
    with pytest.raises(StudyError, match="no completed trial yet"):
        _ = study.best_trial


def test_predict__points__come_with_the_history(
    make_study: Callable[..., Study], point: dict[str, Value]
) -> None:
    study = make_study()
    study.suggest(2)
    predictions = study.predict([point, {**point, "x": 0.01}])
    assert [prediction.mean for prediction in predictions] == [2.001, 2.01]
    assert study.predict([]) == []


def test_predict__illegal_points__name_the_parameter(
    make_study: Callable[..., Study], point: dict[str, Value]
) -> None:
    study = make_study()
    with pytest.raises(SearchSpaceError, match="parameter 'x'"):
        study.predict([point, {**point, "x": 5}])
    with pytest.raises(StudyError, match="needs a list of points, got dict"):
        study.predict(point)  # type: ignore[arg-type]


def test_trials_dataframe__every_status__is_a_row(
    make_study: Callable[..., Study], point: dict[str, Value]
) -> None:
    study = make_study()
    study.observe(point, {"accuracy": 0.5, "flops": 10})
    study.observe({**point, "kind": "sgd", "momentum": 0.5}, failed="broken")
    study.suggest()
    table = study.trials_dataframe()
    assert list(table["status"]) == ["completed", "failed", "pending"]
    assert table["value"][0] == 0.5
    assert math.isnan(table["value"][1])
    assert table["reason"][1] == "broken"
    assert table["params.momentum"][1] == 0.5
    assert table["metrics.flops"][0] == 10
    assert list(table.columns[4:10]) == [f"params.{name}" for name in study.config.space]


def test_trials_dataframe__no_trials__has_columns(make_study: Callable[..., Study]) -> None:
    table = make_study().trials_dataframe()
    assert len(table) == 0
    assert "params.x" in table.columns


def test_create_study__absent_seed_and_name__are_drawn(space: SearchSpace) -> None:
    first = create_study(space, metric="accuracy", goal="maximize")
    second = create_study(space, metric="accuracy", goal="maximize")
    assert first.seed != second.seed
    assert first.name != second.name
    assert first.strategy == "ei"
    assert first.name in repr(first)


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"goal": "max"}, StudyError, "goal must be 'maximize' or 'minimize', got 'max'"),
        ({"strategy": "lcb"}, StudyError, "strategy must be one of .*'ts'.*, got 'lcb'"),
        ({"seed": -1}, StudyError, "seed must be"),
        ({"seed": 0.5}, StudyError, "seed must be"),
        ({"name": " "}, StudyError, "name must be text"),
        ({"metric": ""}, MetricError, "metric must be a name"),
        ({"fixed": {"layers": 0}}, SearchSpaceError, "'layers'"),
        ({"metadata": {"task": ["a"]}}, StudyError, r"metadata\['task'\]"),
    ],
)
def test_create_study__illegal_setting__names_it(
    space: SearchSpace, settings: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        create_study(space, **{"metric": "accuracy", "goal": "maximize", **settings})


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_load_study__strategy_and_model__are_kept_or_replaced(
    space: SearchSpace, strategy: str, tmp_path: Any
) -> None:
    path = str(tmp_path / "s.journal")
    create_study(
        space,
        metric="accuracy",
        goal="maximize",
        storage=path,
        name="s",
        strategy=strategy,
        metadata={"task": "digits"},
        seed=7,
    )
    study = load_study(storage=path)
    assert (study.name, study.seed, study.strategy) == ("s", 7, strategy)
    assert study.config.metadata == {"task": "digits"}
    assert load_study(storage=path, strategy="ts").strategy == "ts"
    with pytest.raises(StudyError, match="strategy must be one of"):
        load_study(storage=path, strategy="best")


@pytest.mark.parametrize("make_study", ["memory", "server"], indirect=True)
def test_study__used_from_many_threads__loses_nothing(make_study: Callable[..., Study]) -> None:
    study = make_study()

    def work(worker: int) -> None:
        for step in range(20):
            study.observe(study.suggest(), worker + step / 100)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    trials = study.trials
    assert [trial.number for trial in trials] == list(range(80))
    values = sorted(trial.value for trial in trials if trial.value is not None)
    assert values == sorted(worker + step / 100 for worker in range(4) for step in range(20))


def test_study__one_trial_observed_by_many_threads__counts_once(
    make_study: Callable[..., Study],
) -> None:
    study = make_study()
    trial = study.suggest()

    def observe(value: int) -> int:
        try:
            study.observe(trial, value)
        except TrialError:
            return 0
        return 1

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(observe, range(8))) == 1


def test_study__planner_without_planning__is_not_loaded(point: dict[str, Value]) -> None:
    config = replace(CONFIG, metadata={"task": "digits"})
    study = Study(StudyRecord(config=config, seed=0), MemoryStore("s"), name="s")
    assert study.observe({"x": 0.5}, 1.0).number == 0
    assert study.best_trial.value == 1.0


@pytest.mark.parametrize(
    "copied",
    [
        lambda s: pickle.loads(pickle.dumps(s)),
        lambda s: cloudpickle.loads(cloudpickle.dumps(lambda: s))(),
        copy.deepcopy,
    ],
)
@pytest.mark.parametrize("kind", ["sqlite:///s.db", "s.journal", "journal:///s.journal"])
def test_copy__stored_study__opens_it_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    space: SearchSpace,
    point: dict[str, Value],
    copied: Callable[[Study], Study],
) -> None:
    monkeypatch.chdir(tmp_path)
    study = create_study(space, metric="a", goal="maximize", storage=kind, name="s", seed=3)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = copied(study)
    assert (again.name, again.seed, again.config) == ("s", 3, study.config)
    again.observe(point, 0.5)
    assert study.trials == again.trials
    assert len(study.trials) == 1


@pytest.mark.parametrize("make_study", ["memory"], indirect=True)
@pytest.mark.parametrize("copied", [pickle.dumps, cloudpickle.dumps, copy.deepcopy, copy.copy])
def test_copy__study_in_memory__says_what_to_do(
    make_study: Callable[..., Study], copied: Callable[[Study], Any]
) -> None:
    with pytest.raises(StudyError, match=r"cannot be copied; create it with storage="):
        copied(make_study())


def test_observe__reason_of_any_length__fits_every_database(
    make_study: Callable[..., Study],
) -> None:
    study = make_study()
    failed = study.observe(study.suggest(), failed="first" + "x" * 200_000 + "last")
    assert failed.reason is not None
    assert len(failed.reason) < 11_000
    assert failed.reason.startswith("first")
    assert failed.reason.endswith("last")


def test_trials_dataframe__choice_that_is_none__is_not_a_missing_one() -> None:
    space = SearchSpace(
        kind=Categorical(["a", "b"]), limit=Categorical([None, 3], when={"kind": ["b"]})
    )
    study = create_study(space, metric="loss", goal="minimize", seed=0)
    for point in ({"kind": "a"}, {"kind": "b", "limit": None}, {"kind": "b", "limit": 3}):
        study.observe(point, 0.5)
    cells = study.trials_dataframe()["params.limit"].tolist()
    assert np.isnan(cells[0])
    assert cells[1:] == [None, 3]


def test_preview__of_a_stored_study__is_the_next_suggestion_and_stores_nothing(
    make_study: Callable[..., Study], point: dict[str, Value], sqlite: str
) -> None:
    study = make_study(storage=sqlite)
    study.observe(point, 0.5)
    before = study.trials
    preview = study.preview()
    assert study.trials == before
    assert preview.explanation.source == "space"
    assert (preview.number, preview.params) == (1, study.suggest().params)


def test_preview__with_an_enqueued_trial__is_that_one_completed(
    make_study: Callable[..., Study], sqlite: str
) -> None:
    study = make_study(storage=sqlite)
    study.enqueue({"x": 0.01, "kind": "adam"})
    preview = study.preview()
    assert study.trials[0].params == {"x": 0.01, "kind": "adam"}
    assert (preview.number, preview["x"], preview.explanation) == (0, 0.01, None)
    assert preview.params == study.suggest().params
