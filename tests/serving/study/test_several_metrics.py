"""Several goals and limits in the user's hands, on every storage."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import optuna
import pytest

from optformer.data.studies.errors import MetricError, OptFormerWarning, StudyError
from optformer.data.studies.limits import Limit
from optformer.data.studies.parameters import Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import Goal
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.serving.study.front import front_volume
from optformer.serving.study.study import Study, create_study, load_study

SPACE = SearchSpace(x=Float(0, 1), y=Float(0, 1))
GOALS: dict[str, Goal] = {"accuracy": "maximize", "latency": "minimize"}
ROWS = [
    {"accuracy": 0.9, "latency": 9.0, "memory": 4.0},
    {"accuracy": 0.8, "latency": 3.0, "memory": 4.0},
    {"accuracy": 0.7, "latency": 5.0, "memory": 8.0},  # beaten by the one before
    {"accuracy": 0.95, "latency": 2.0, "memory": 8.5},  # beyond the limit
]


@pytest.fixture(params=["memory", "sqlite", "journal"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    files = {"sqlite": f"sqlite:///{tmp_path}/s.db", "journal": f"{tmp_path}/s.journal"}
    return files.get(request.param)


def _study(storage: str | None = None, **changes: Any) -> Study:
    settings = {"metrics": GOALS, "limits": {"memory": "<= 8"}, "seed": 1, "name": "s"}
    return create_study(SPACE, storage=storage, **{**settings, **changes})


def _observed(storage: str | None = None, **changes: Any) -> Study:
    study = _study(storage, **changes)
    for i, row in enumerate(ROWS):
        study.observe({"x": 0.2 * i, "y": 0.5}, row)
    return study


def test_best_trials__several_goals_and_a_limit__are_the_front_that_keeps_it(
    storage: str | None,
) -> None:
    study = _observed(storage)
    assert [trial.number for trial in study.best_trials] == [0, 1]
    with pytest.raises(StudyError, match=r"has several goals, .*; its best_trials are"):
        _ = study.best_trial
    if storage is not None:
        again = load_study(storage=storage)
        assert again.config == study.config
        assert again.trials == study.trials
        assert again.best_trials == study.best_trials


def test_storage__several_goals_and_a_limit__optuna_sees_all_of_it(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/s.db"
    study = _observed(address)
    study.observe(study.suggest(), failed="out of memory")
    stopped = study.observe({"x": 0.9, "y": 0.9}, ROWS[0], stopped=True)
    theirs = optuna.load_study(study_name="s", storage=address)
    assert theirs.metric_names == ["accuracy", "latency"]
    assert [direction.name for direction in theirs.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert [trial.values for trial in theirs.trials[:2]] == [[0.9, 9.0], [0.8, 3.0]]
    assert sorted(trial.number for trial in theirs.best_trials) == [0, 1]
    assert theirs.trials[4].state is optuna.trial.TrialState.FAIL
    assert load_study(storage=address).trials[5] == stopped


def test_load_study__optunas_goals_and_constraints__are_goals_and_limits(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/s.db"
    sampler = optuna.samplers.RandomSampler(seed=1)
    goals = ["minimize", "maximize"]
    theirs = optuna.create_study(storage=address, directions=goals, sampler=sampler)

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        x = trial.suggest_float("x", 0, 1)
        # As samplers with constraints write it, in any version of Optuna.
        theirs._storage.set_trial_system_attr(trial._trial_id, "constraints", [x - 0.5])
        return x, x + trial.suggest_float("y", 0, 1)

    theirs.optimize(objective, n_trials=6)
    ours = load_study(storage=address)
    assert ours.config.goals == {"value 0": "minimize", "value 1": "maximize"}
    assert ours.config.limits == {"constraint 0": Limit("<=", 0.0)}
    for trial in ours.trials:
        assert trial.metrics["constraint 0"] == float(str(trial.params["x"])) - 0.5
    assert [t.number for t in ours.best_trials] == sorted(t.number for t in theirs.best_trials)
    ours.observe(ours.suggest(), {"value 0": 0.1, "value 1": 0.2, "constraint 0": -1.0})
    assert theirs.trials[-1].values == [0.1, 0.2]


def test_best_trial__limits_only__is_the_best_that_keeps_them(storage: str | None) -> None:
    study = _study(storage, metrics={"accuracy": "maximize"})
    study.observe({"x": 0.9, "y": 0.5}, ROWS[3])
    with pytest.raises(StudyError, match=re.escape("keeps its limits yet: memory <= 8.0")):
        _ = study.best_trial
    assert study.best_trials == []
    for row in ROWS[1::-1]:
        study.observe({"x": row["accuracy"], "y": 0.1}, row)
    assert study.best_trial.number == 2
    assert [trial.number for trial in study.best_trials] == [2]


def test_suggest__several_goals_in_a_batch__explains_and_predicts_every_metric(
    storage: str | None,
) -> None:
    study = _observed(storage)
    pending = study.suggest(2)
    assert pending[0].params != pending[1].params
    told = pending[1].explanation.prediction
    assert list(told.metrics) == ["accuracy", "latency", "memory"]
    (predicted,) = study.predict([{"x": 0.3, "y": 0.5}])
    assert list(predicted.metrics) == ["accuracy", "latency", "memory"]
    assert 0 < predicted.probability_of_keeping < 1
    table = study.trials_dataframe()
    assert table["metrics.latency"].tolist()[:4] == [row["latency"] for row in ROWS]


def test_observe__a_metric_is_missing__the_trial_stays_and_can_be_observed(
    storage: str | None,
) -> None:
    study = _study(storage)
    trial = study.suggest()
    for value in ({"accuracy": 0.5, "memory": 1.0}, {"accuracy": 0.5, "latency": 1.0}, 0.5):
        with pytest.raises(MetricError, match=r"'latency'|'memory'"):
            study.observe(trial, value)
    assert study.trials[0].status is TrialStatus.PENDING
    study.observe(trial, ROWS[0])
    assert study.trials[0].metrics == ROWS[0]


@pytest.mark.parametrize("name", ["accuracy", "latency", "memory"])
def test_observe__a_metric_is_nan__the_trial_failed_and_keeps_the_others(name: str) -> None:
    study = _study()
    with pytest.warns(OptFormerWarning, match=f"metric '{name}' is nan; recorded as failed"):
        trial = study.observe({"x": 0.1, "y": 0.1}, {**ROWS[0], name: math.nan})
    assert trial.status is TrialStatus.FAILED
    assert trial.reason == f"metric '{name}' is nan"
    assert trial.metrics == {metric: v for metric, v in ROWS[0].items() if metric != name}
    assert study.best_trials == []


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"metrics": {}}, StudyError, "metrics must map names to goals"),
        ({"metrics": ["accuracy"]}, StudyError, "metrics must map names to goals"),
        ({"metrics": {"accuracy": "max"}}, StudyError, "must be 'maximize' or 'minimize'"),
        ({"metric": "accuracy"}, StudyError, "takes metric= and goal=, or metrics=, got both"),
        ({"metrics": None}, StudyError, "needs metric= and goal=, or metrics="),
        ({"limits": {"memory": "<= many"}}, MetricError, "'memory': a limit is written"),
        ({"limits": {"": "<= 8"}}, MetricError, "must be a name"),
        ({"limits": ["memory <= 8"]}, StudyError, "limits must be a mapping"),
        ({"pruner": "median"}, StudyError, "a pruner compares trials by one goal"),
        ({"strategy": "ucb"}, StudyError, "several goals and limits need the strategy 'ei'"),
    ],
)
def test_create_study__goals_or_limits_that_are_none__says_what(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        _study(**changes)


def test_create_study__one_metric_in_metrics__is_a_study_of_one_goal() -> None:
    study = create_study(SPACE, metrics={"accuracy": "maximize"})
    assert not study.config.several
    assert study.config.metric == "accuracy"


def test_front_volume__front__is_what_it_dominates() -> None:
    study = _observed()
    volume = front_volume(study.config, study.trials)
    assert volume is not None
    assert volume[1] == {"accuracy": 0.7, "latency": 9.0}  # the worst of all trials
    assert volume[0] == pytest.approx((0.8 - 0.7) * (9 - 3))
    reference = {"accuracy": 0.5, "latency": 10.0}
    volume = front_volume(study.config, study.trials, reference)
    assert volume == (pytest.approx(0.4 * 1 + 0.3 * 6), reference)
    with pytest.raises(StudyError, match=r"lacks \['latency'\]"):
        front_volume(study.config, study.trials, {"accuracy": 0.5})
    assert front_volume(study.config, []) is None


def test_optimize__objective_with_several_metrics__stores_all_and_stopped_ones_count_for_nothing(
    storage: str | None,
) -> None:
    study = _study(storage, metrics={"accuracy": "maximize"})

    def objective(trial: Trial) -> dict[str, float]:
        trial.report({"accuracy": 0.99, "memory": 1.0}, 1)
        if trial.number == 1:
            raise optuna.TrialPruned
        return ROWS[trial.number]

    study.optimize(objective, trials=3, progress=False)
    assert [trial.status.value for trial in study.trials] == ["completed", "stopped", "completed"]
    assert (study.best_trial.number, study.trials[1].value) == (0, 0.99)
    assert study.suggest(2)[1].explanation.prediction.metrics["memory"].mean > 0


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_load_study__constraints_and_names_that_are_none__are_passed_over(sqlite: str) -> None:
    theirs = optuna.create_study(storage=sqlite, study_name="s")
    theirs.set_metric_names([" "])
    trial = theirs.ask()
    theirs._storage.set_trial_system_attr(trial._trial_id, "constraints", "bad")
    theirs.tell(trial, trial.suggest_float("x", 0, 1))
    study = load_study(storage=sqlite)
    assert (study.config.metric, dict(study.config.limits)) == ("value", {})
