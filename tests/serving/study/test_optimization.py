from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from optformer.data.studies.errors import (
    ObjectiveError,
    OptFormerWarning,
    SpaceExhaustedError,
    StorageError,
    StudyError,
)
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.serving.study.study import Study

pytestmark = pytest.mark.filterwarnings("ignore::optformer.data.studies.errors.OptFormerWarning")


def accuracy(trial: Trial) -> float:
    return float(trial["x"])  # type: ignore[arg-type]


def dying(trial: Trial) -> float:
    if trial.number == 1:
        os._exit(3)
    trial.report(accuracy(trial), step=0)
    return accuracy(trial)


def test_optimize__workers__run_as_many_trials_as_asked(make_study: Callable[..., Study]) -> None:
    study, together, meeting = make_study(), [], threading.Barrier(3, timeout=20)

    def objective(trial: Trial) -> float:
        together.append(meeting.wait())
        return accuracy(trial)

    study.optimize(objective, trials=6, workers=3)
    assert [trial.status for trial in study.trials] == [TrialStatus.COMPLETED] * 6
    assert study.best_value == max(accuracy(trial) for trial in study.trials)
    assert study.best_params == study.best_trial.params
    study.optimize(accuracy, trials=2)
    assert len(study.trials) == 8


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        (None, "ObjectiveError: the objective returned nothing"),
        ([0.5], "MetricError: metric 'accuracy' must be a number"),
        ("0.5", "MetricError: metric 'accuracy' must be a number"),
        ({"loss": 0.5}, "MetricError: metric 'accuracy' is missing"),
        (float("nan"), "metric 'accuracy' is nan"),
    ],
)
def test_optimize__no_metric_in_one_trial__fails_it_alone(
    make_study: Callable[..., Study], returned: Any, reason: str
) -> None:
    study = make_study()
    study.optimize(lambda trial: returned if trial.number == 1 else 0.5, trials=3)
    assert [trial.has_value for trial in study.trials] == [True, False, True]
    assert str(study.trials[1].reason).startswith(reason)


def test_optimize__raised__is_a_failure_and_told_once(make_study: Callable[..., Study]) -> None:
    study = make_study()

    def objective(trial: Trial) -> float:
        raise ValueError("too large")

    with pytest.warns(OptFormerWarning, match="trial 0 failed: ValueError: too large") as told:
        study.optimize(objective, trials=3)
    assert len(told) == 1
    assert told[0].filename == __file__
    assert [trial.reason for trial in study.trials] == ["ValueError: too large"] * 3


@pytest.mark.parametrize("workers", [1, 2])
def test_optimize__not_caught__ends_with_everything_observed(
    make_study: Callable[..., Study], workers: int
) -> None:
    study = make_study()

    def objective(trial: Trial) -> float:
        if trial.number == 2:
            raise KeyError("lr")
        return accuracy(trial)

    with pytest.raises(KeyError, match="lr"):
        study.optimize(objective, trials=9, workers=workers, catch=ValueError)
    statuses = [trial.status for trial in study.trials]
    assert TrialStatus.PENDING not in statuses
    assert study.trials[2].reason == "KeyError: 'lr'"
    with pytest.raises(ObjectiveError, match="returned nothing"):
        study.optimize(lambda trial: None, trials=1, catch=())  # type: ignore[arg-type,return-value]


def test_optimize__callback_raises__others_are_observed_first(
    make_study: Callable[..., Study],
) -> None:
    study, first_told = make_study(), threading.Event()

    def objective(trial: Trial) -> float:
        assert trial.number == 0 or first_told.wait(20)
        return accuracy(trial)

    def callback(study: Study, trial: Trial) -> None:
        first_told.set()
        raise RuntimeError(f"told of {trial.number}")

    with pytest.raises(RuntimeError, match="told of 0"):
        study.optimize(objective, trials=9, workers=2, callbacks=[callback])
    assert [trial.status for trial in study.trials] == [TrialStatus.COMPLETED] * 2


def test_optimize__storage_away__says_which_value_and_tries_again(
    make_study: Callable[..., Study], sqlite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(storage=sqlite)
    observe, calls = study._store.update, []

    def away_once(trial: Trial) -> Trial:
        calls.append(trial)
        if len(calls) == 1:
            raise StorageError("the disk is full")
        return observe(trial)

    monkeypatch.setattr(study._store, "update", away_once)
    with pytest.raises(StorageError, match="disk is full") as caught:
        study.optimize(lambda trial: 0.25, trials=2)
    assert caught.value.__notes__ == ["trial 0 had ended: 0.25"]
    assert [trial.value for trial in study.trials] == [0.25]


@pytest.mark.parametrize("workers", [1, 2])
def test_optimize__interrupted__keeps_what_is_finished(
    make_study: Callable[..., Study], workers: int
) -> None:
    study, release = make_study(), threading.Event()

    def objective(trial: Trial) -> float:
        if trial.number == 2:
            raise KeyboardInterrupt
        if trial.number == 1 and workers == 2:
            release.wait(20)
        return accuracy(trial)

    with pytest.raises(KeyboardInterrupt):
        study.optimize(objective, trials=9, workers=workers)
    release.set()
    ended = [trial.reason for trial in study.trials if trial.status is TrialStatus.FAILED]
    assert ended == ["interrupted"] * workers
    assert study.trials[0].status is TrialStatus.COMPLETED
    study.optimize(lambda trial: 0.5, trials=1)
    assert study.trials[-1].status is TrialStatus.COMPLETED


def test_optimize__processes__die_alone_and_report(
    make_study: Callable[..., Study], sqlite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(__file__).parents[3]  # where a process finds the module of its objective
    monkeypatch.setattr(sys, "path", [*sys.path, str(root)])
    study = make_study(storage=sqlite)
    study.optimize(dying, trials=4, workers=2, processes=True)
    assert [trial.has_value for trial in study.trials] == [True, False, True, True]
    assert study.trials[1].reason == "its worker process died"
    assert study.trials[3].intermediate_values == {0: study.trials[3]["x"]}
    with pytest.raises(StudyError, match="objective cannot be sent to a process"):
        study.optimize(lambda trial: 0.5, processes=True)
    with pytest.raises(StudyError, match="in the memory of this process"):
        make_study().optimize(dying, processes=True)


def test_optimize__end__at_timeout_stop_or_last_point(make_study: Callable[..., Study]) -> None:
    study = make_study()
    study.optimize(lambda trial: study.stop() or 0.5, trials=None)
    assert len(study.trials) == 1
    study.optimize(lambda trial: 0.5, trials=None, timeout=0.05)
    assert len(study.trials) > 1
    told: list[int] = []
    study.optimize(
        accuracy, trials=9, callbacks=[lambda _, trial: told.append(trial.number) or study.stop()]
    )
    assert told == [len(study.trials) - 1]


def test_optimize__little_to_gain__ends_after_five_such_trials(
    make_study: Callable[..., Study], planner: Any
) -> None:
    study = make_study()
    gains = iter([0.5, 0.001, 0.5, *[0.001] * 9])
    suggest = planner.suggest

    def told(*args: Any, **settings: Any) -> Any:
        gain = SimpleNamespace(prediction=SimpleNamespace(expected_improvement=next(gains)))
        return [replace(point, explanation=gain) for point in suggest(*args, **settings)]

    planner.suggest = told
    study.optimize(accuracy, trials=20, min_gain=0.01)
    assert len(study.trials) == 3 + 5


def test_optimize__exhausted_space__ends_quietly(
    make_study: Callable[..., Study], planner: Any
) -> None:
    study = make_study()

    def exhausted() -> None:
        if len(planner.calls) > 3:
            raise SpaceExhaustedError

    planner.during = exhausted
    study.optimize(accuracy, trials=9, workers=2)
    assert [trial.status for trial in study.trials] == [TrialStatus.COMPLETED] * 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"objective": 1.0},
        {"trials": 0},
        {"trials": True},
        {"workers": 0},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"min_gain": -1.0},
        {"callbacks": [1]},
        {"catch": "ValueError"},
    ],
)
def test_optimize__wrong_setting__is_named(
    make_study: Callable[..., Study], wrong: dict[str, Any]
) -> None:
    with pytest.raises(StudyError, match=f"{next(iter(wrong))} must be"):
        make_study().optimize(**{"objective": accuracy, **wrong})


def test_enqueue__given_values__come_first(make_study: Callable[..., Study]) -> None:
    study = make_study()
    first = study.enqueue({"x": 0.01, "kind": "adam"})
    assert first.status is TrialStatus.PENDING
    study.enqueue({"layers": 5})
    given = study.suggest(3)
    assert [trial.number for trial in given] == [0, 1, 2]
    assert (given[0]["x"], given[0]["kind"], given[1]["layers"]) == (0.01, "adam", 5)
    assert all(study.config.space.validate(trial.params) for trial in given)
