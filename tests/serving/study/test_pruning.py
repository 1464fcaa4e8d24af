from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import optuna
import pytest

from optformer.data.studies.errors import (
    MetricError,
    OptFormerWarning,
    StudyError,
    TrialError,
)
from optformer.data.studies.parameters import Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.serving.study.pruning import PRUNERS, TrialPruned, make_pruner
from optformer.serving.study.storage import create_store
from optformer.serving.study.study import Study, create_study, load_study
from optformer.serving.study.trial_store import StudyRecord

SPACE = SearchSpace(x=Float(0.0, 1.0))
SETTINGS = {"threshold": "threshold(upper=0.95)", "wilcoxon": "wilcoxon(n_startup_steps=2)"}


@pytest.fixture(params=["memory", "sqlite", "journal"])
def storage(request: pytest.FixtureRequest, tmp_path: Any) -> str | None:
    if request.param == "memory":
        return None
    if request.param == "journal":
        return f"journal:///{tmp_path}/s.journal"
    return str(request.getfixturevalue("sqlite"))


def run(study: Study, x: float, steps: int = 30) -> Trial:
    """Train with a loss of x that hardly falls; stop when told to."""
    trial = study.enqueue({"x": x})
    for step in range(steps):
        trial.report(x + 0.01 / (step + 1), step)
        if trial.should_prune():
            return study.observe(trial, stopped=True)
    return study.observe(trial, x)


@pytest.mark.parametrize("name", PRUNERS)
def test_should_prune__each_pruner__stops_the_worst_trial(name: str) -> None:
    study = create_study(
        SPACE, metric="loss", goal="minimize", pruner=SETTINGS.get(name, name), name="s"
    )
    for x in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6):
        run(study, x)
    if name == "patient":  # it stops what gets no better, however good
        trial = study.enqueue({"x": 0.05})
        for step in range(9):
            trial.report(0.05 + step, step)
        assert trial.should_prune()
        return
    worst = run(study, 1.0)
    assert worst.status is TrialStatus.STOPPED
    assert worst.value == worst.intermediate_values[max(worst.intermediate_values)]


def test_report__any_storage__is_read_back_and_stops_alike(storage: str | None) -> None:
    study = create_study(
        SPACE,
        metric="loss",
        goal="minimize",
        storage=storage,
        pruner="median(n_startup_trials=2)",
        name="s",
    )
    assert [run(study, x, 4).status.value for x in (0.2, 0.3, 0.9)] == [
        "completed",
        "completed",
        "stopped",
    ]
    if storage is None:
        return
    again = load_study(storage=storage)
    assert run(again, 0.8, 4).status is TrialStatus.STOPPED  # the pruner's name is stored
    assert [trial.intermediate_values for trial in again.trials] == [
        trial.intermediate_values for trial in study.trials
    ]
    optunas = optuna.load_study(study_name="s", storage=study._store._storage)  # type: ignore[attr-defined]
    assert optunas.trials[2].state is optuna.trial.TrialState.PRUNED
    assert optunas.trials[2].intermediate_values == {0: 0.91}


def pickled(trial: Trial) -> Trial:
    again = pickle.loads(pickle.dumps(trial))
    assert isinstance(again, Trial)
    return again


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickled])
def test_report__copied_trial__reaches_its_study(
    make_study: Callable[..., Study], sqlite: str, copied: Callable[[Trial], Trial]
) -> None:
    study = make_study(storage=sqlite)
    copied(study.suggest()).report(0.5, 3)
    study.trials[0].report(0.6, 4)
    assert study.trials[0].intermediate_values == {3: 0.5, 4: 0.6}
    assert not study.trials[0].should_prune()


def test_report__in_memory_of_another_process__says_what_to_do(
    make_study: Callable[..., Study],
) -> None:
    trial = pickled(make_study().suggest())
    with pytest.raises(StudyError, match=r"memory of another process.*storage="):
        trial.report(0.5, 0)
    with pytest.raises(TrialError, match="no study to report to"):
        Trial(0, {}).report(0.5, 0)


@pytest.mark.parametrize("stored", [False, True])
def test_report__odd_steps_and_values__lose_nothing(
    make_study: Callable[..., Study], sqlite: str, stored: bool
) -> None:
    study = make_study(storage=sqlite if stored else None)
    trial = study.suggest()
    trial.report(0.5, 7)
    trial.report(0.4, 2)  # out of order
    trial.report(0.5, 7)  # twice the same
    with pytest.warns(OptFormerWarning, match=r"reported 0\.5 at step 7 before"):
        trial.report(0.9, 7)
    trial.report(math.inf, 8)
    assert study.trials[0].intermediate_values == {7: 0.5, 2: 0.4, 8: math.inf}
    for step in (-1, 1.5, "3", True, None):
        with pytest.raises(TrialError, match="step must be a whole number"):
            trial.report(0.5, step)  # type: ignore[arg-type]
    for value in ("0.5", None, [0.5]):
        with pytest.raises(MetricError):
            trial.report(value, 9)  # type: ignore[arg-type]
    with pytest.warns(OptFormerWarning, match="recorded as failed"):
        failed = study.observe(trial, stopped=True)
    assert (failed.status, failed.reason) == (TrialStatus.FAILED, "metric 'accuracy' is inf")
    assert len(study.trials[0].intermediate_values) == 3
    for ended in (trial, study.trials[0]):
        with pytest.raises(TrialError, match="is failed: it has ended"):
            ended.report(0.5, 9)


@pytest.mark.parametrize("pruned", [TrialPruned, optuna.TrialPruned()])
@pytest.mark.filterwarnings("ignore::optformer.data.studies.errors.OptFormerWarning")
def test_optimize__pruned__is_stopped_with_its_last_value(
    make_study: Callable[..., Study], pruned: type[Exception] | Exception
) -> None:
    study = make_study()

    def objective(trial: Trial) -> float:
        if trial.number:
            trial.report(0.25, 1)
            trial.report(0.75, 0)
        raise pruned

    study.optimize(objective, trials=2)
    never, stopped = study.trials
    assert never.reason == "pruned before it reported a value"
    assert (stopped.status, stopped.value) == (TrialStatus.STOPPED, 0.25)
    with pytest.raises(StudyError, match="no completed trial"):
        study.best_trial  # noqa: B018


@pytest.mark.parametrize(("returned", "value"), [(None, 0.9), (0.8, 0.8)])
def test_optimize__returning_when_told_to_stop__is_stopped(
    record: StudyRecord, planner: Any, returned: float | None, value: float
) -> None:
    pruner = optuna.pruners.ThresholdPruner(upper=0.5)
    store = create_store(None, "s", record, prunes=True)
    study = Study(record, store, name="s", planner=planner, pruner=pruner)

    def objective(trial: Trial) -> Any:
        trial.report(0.9, 0)
        assert trial.should_prune()
        return returned

    study.optimize(objective, trials=1)
    assert (study.trials[0].status, study.trials[0].value) == (TrialStatus.STOPPED, value)


@pytest.mark.parametrize(
    ("pruner", "text"),
    [
        ("medain", "unknown pruner 'medain'.*median.*hyperband"),
        (3, "a pruner is one of.*got 3"),
        ("median(", "cannot be read"),
        ("median(5)", "cannot be read.*named settings"),
        ("median(steps=5)", "unexpected keyword.*MedianPruner"),
        ("median(n_warmup_steps=-1)", "cannot be negative"),
        ("threshold", "lower or upper must be specified"),
        ("median(n_warmup_steps=open('x'))", "cannot be read"),
    ],
)
def test_make_pruner__not_understood__says_what_is(pruner: Any, text: str) -> None:
    with pytest.raises(StudyError, match=text):
        create_study(SPACE, metric="loss", goal="minimize", pruner=pruner)


def test_make_pruner__settings__reach_the_pruner() -> None:
    patient = make_pruner("patient(wrapped_pruner='successive-halving', patience=3)")
    assert isinstance(patient, optuna.pruners.PatientPruner)
    assert isinstance(patient._wrapped_pruner, optuna.pruners.SuccessiveHalvingPruner)


def test_set_user_attr__any_store__is_kept_beside_the_metrics(
    make_study: Callable[..., Study], storage: str | None
) -> None:
    study = make_study(storage=storage)
    trial = study.suggest()
    trial.set_user_attr("note", "first")
    trial.set_user_attr("epochs", 3)
    finished = study.observe(trial, {"accuracy": 0.5})
    assert finished == study.trials[0]
    assert finished.metrics == {"accuracy": 0.5, "epochs": 3.0}
    assert study.trials[0].user_attrs == {"note": "first", "epochs": 3, "accuracy": 0.5}
    assert finished.duration is not None
    assert finished.duration.total_seconds() >= 0
    with pytest.raises(TrialError, match="what JSON can hold"):
        study.suggest().set_user_attr("x", object())
