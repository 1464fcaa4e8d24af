"""The model as Optuna's sampler: what it reads of a study, and what it answers."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

import optformer as of
from optformer.data.studies.errors import ConfigError, MetricError, SearchSpaceError, StudyError
from optformer.data.studies.parameters import Value
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.serving.integrations.optuna_sampler import OptFormerSampler

SPACE = of.SearchSpace(
    lr=of.Float(1e-5, 1e-1, log=True, description="learning rate"),
    layers=of.Int(1, 8),
    optimizer=of.Categorical(["adam", "sgd"]),
    size=of.Ordinal([16, 32, 64]),
    epochs=of.Ordinal([3]),
    momentum=of.Float(0.0, 0.99, when={"optimizer": ["sgd"]}),
)


def loss(params: Mapping[str, Value]) -> float:
    depth = abs(params["layers"] - 3) / 5
    return float(depth + params["size"] / 64 + abs(params.get("momentum", 0.5) - 0.9))


def objective(trial: optuna.Trial) -> float:
    params: dict[str, Value] = {
        "lr": trial.suggest_float("lr", 1e-5, 1e-1, log=True),
        "layers": trial.suggest_int("layers", 1, 8),
        "optimizer": trial.suggest_categorical("optimizer", ["adam", "sgd"]),
        "size": trial.suggest_categorical("size", [16, 32, 64]),
        "epochs": trial.suggest_int("epochs", 3, 3),
    }
    if params["optimizer"] == "sgd":
        params["momentum"] = trial.suggest_float("momentum", 0.0, 0.99)
    return loss(params)


@dataclass
class Suggestion:
    params: dict[str, Value]


@dataclass
class Recorder:
    """A planner that draws at random and keeps what it was told."""

    told: list[tuple[StudyConfig, list[Trial], Mapping[str, Value]]] = field(default_factory=list)

    def suggest(
        self,
        config: StudyConfig,
        history: Sequence[Trial],
        count: int,
        *,
        seed: int,
        fixed: Mapping[str, Value],
    ) -> list[Suggestion]:
        self.told.append((config, list(history), dict(fixed)))
        rng = np.random.default_rng([seed, len(history)])
        return [Suggestion(config.space.sample(rng, fixed)) for _ in range(count)]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def sampler(recorder: Recorder) -> Callable[..., OptFormerSampler]:
    """A sampler that asks the recorder."""

    def make(**settings: Any) -> OptFormerSampler:
        made = OptFormerSampler(**{"seed": 0, **settings})
        made.__dict__["_planner"] = recorder
        return made

    return make


def test_declared_space__same_seed__suggests_what_our_own_study_does(tiny_model: Path) -> None:
    own = of.create_study(SPACE, metric="value", goal="minimize", seed=3, model=tiny_model)
    for _ in range(8):
        trial = own.suggest()
        own.observe(trial, loss(trial.params))
    study = optuna.create_study(sampler=OptFormerSampler(seed=3, space=SPACE, model=tiny_model))
    study.optimize(lambda trial: loss(asked(trial)), n_trials=8)

    assert [trial.params for trial in study.trials] == [dict(trial.params) for trial in own.trials]


def asked(trial: optuna.Trial) -> dict[str, Value]:
    """What an objective asks for whose categories are those of the declared space."""
    params: dict[str, Value] = {
        "lr": trial.suggest_float("lr", 1e-5, 1e-1, log=True),
        "layers": trial.suggest_int("layers", 1, 8),
        "optimizer": trial.suggest_categorical("optimizer", ["adam", "sgd"]),
        "size": trial.suggest_categorical("size", [16, 32, 64]),
        "epochs": trial.suggest_categorical("epochs", [3]),
    }
    if params["optimizer"] == "sgd":
        params["momentum"] = trial.suggest_float("momentum", 0.0, 0.99)
    return params


def test_seed__same_history__decides_the_suggestions(tiny_model: Path) -> None:
    def search(sampler: OptFormerSampler) -> list[dict[str, Value]]:
        study = optuna.create_study(sampler=sampler)
        study.optimize(objective, n_trials=4)
        return [trial.params for trial in study.trials]

    first = OptFormerSampler(seed=1, model=tiny_model)
    again = pickle.loads(pickle.dumps(first))
    points = search(first)
    assert search(again) == points
    again.reseed_rng()
    assert search(again) != points


def test_conditions__of_the_objective__are_read_from_its_trials(
    sampler: Callable[..., OptFormerSampler], recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone: list[str] = []
    independent = OptFormerSampler.sample_independent

    def spy(self: OptFormerSampler, study: Any, trial: Any, name: str, each: Any) -> Any:
        alone.append(name)
        return independent(self, study, trial, name, each)

    monkeypatch.setattr(OptFormerSampler, "sample_independent", spy)
    study = optuna.create_study(sampler=sampler())
    study.optimize(objective, n_trials=15)

    assert alone == ["lr", "layers", "optimizer", "size", "momentum"]  # each once, when it is new
    config, history, _ = recorder.told[-1]
    assert dict(config.space["momentum"].when or {}) == {"optimizer": ("sgd",)}
    assert len(history) == 14


def test_growing_space__parameter_that_came_late__is_absent_before(
    sampler: Callable[..., OptFormerSampler], recorder: Recorder
) -> None:
    study = optuna.create_study(sampler=sampler())
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    study.optimize(lambda t: t.suggest_float("x", 0, 1) + t.suggest_float("y", 0, 1), n_trials=2)

    config, history, _ = recorder.told[-1]
    assert list(config.space) == ["x", "y"]
    assert [list(trial.params) for trial in history] == [["x"], ["x"], ["x"], ["x", "y"]]


def test_history__of_every_state__is_told(
    sampler: Callable[..., OptFormerSampler], recorder: Recorder
) -> None:
    study = optuna.create_study(sampler=sampler(), direction="maximize", study_name="covertype")
    study.set_user_attr("model", "xgboost")
    study.set_user_attr("rows", 581_012)
    study.set_user_attr("files", ["a", "b"])
    study.set_metric_names(["accuracy"])
    x = FloatDistribution(0, 1)
    made = [
        optuna.create_trial(params={"x": 0.1}, distributions={"x": x}, value=0.5),
        optuna.create_trial(state=TrialState.FAIL, params={"x": 0.2}, distributions={"x": x}),
        optuna.create_trial(
            state=TrialState.PRUNED,
            params={"x": 0.3},
            distributions={"x": x},
            intermediate_values={0: 0.7, 1: 0.6},
        ),
    ]
    study.add_trials(made)
    study.ask({"x": x})  # runs
    study.enqueue_trial({"x": 0.9})
    study.enqueue_trial({"x": 0.8})
    study.ask()  # runs, and has asked for nothing
    study.ask({"x": x})  # runs the second one: nothing to suggest
    study.ask({"x": x})

    config, history, _ = recorder.told[-1]
    assert [trial.status.value for trial in history] == [
        "completed",
        "failed",
        "stopped",
        *["pending"] * 3,
    ]
    assert [trial.value for trial in history][:3] == [0.5, None, 0.6]
    assert [trial.params["x"] for trial in history][4:] == [0.9, 0.8]
    assert (config.metric, config.goal) == ("accuracy", "maximize")
    assert config.metadata == {"task": "covertype", "model": "xgboost", "rows": "581012"}


def test_hyperband__samplers_see_one_bracket__has_the_words_of_the_study(
    sampler: Callable[..., OptFormerSampler], recorder: Recorder
) -> None:
    def reporting(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        for step in range(9):
            trial.report(x + 1 / (step + 1), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return x

    study = optuna.create_study(
        sampler=sampler(), study_name="covertype", pruner=optuna.pruners.HyperbandPruner(1, 9)
    )
    study.optimize(reporting, n_trials=20)

    assert {config.metadata["task"] for config, _, _ in recorder.told} == {"covertype"}
    assert 0 < len(recorder.told[-1][1]) < 19
    assert any(
        trial.status.value == "stopped" for _, history, _ in recorder.told for trial in history
    )


def test_metadata__given__wins_over_the_words_of_the_study(
    sampler: Callable[..., OptFormerSampler], recorder: Recorder
) -> None:
    study = optuna.create_study(
        sampler=sampler(metadata={"task": "forest cover"}), study_name="run 7"
    )
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)

    assert recorder.told[0][0].metadata == {"task": "forest cover"}


def test_several_objectives__are_told_by_name(
    sampler: Callable[..., OptFormerSampler], recorder: Recorder
) -> None:
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler())
    study.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 2.0), n_trials=2)

    config, history, _ = recorder.told[-1]
    assert config.goals == {"value 0": "maximize", "value 1": "minimize"}
    assert (history[0].value, history[0].metrics) == (study.trials[0].values[0], {"value 1": 2.0})


def test_constraints__of_either_kind__are_limits(
    sampler: Callable[..., OptFormerSampler], recorder: Recorder
) -> None:
    def constrained(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        if hasattr(trial, "set_constraint"):  # from Optuna 5 on
            trial.set_constraint("memory", x - 0.5)
        else:
            trial.set_system_attr("constraints:memory", x - 0.5)
        return x

    study = optuna.create_study(sampler=sampler(constraints_func=lambda trial: (1.0, -2.0)))
    study.optimize(constrained, n_trials=2)

    config, history, _ = recorder.told[-1]
    assert {name: str(limit) for name, limit in config.limits.items()} == {
        "constraint 0": "<= 0.0",
        "constraint 1": "<= 0.0",
        "constraint memory": "<= 0.0",
    }
    x = study.trials[0].params["x"]
    assert history[0].metrics == {
        "constraint 0": 1.0,
        "constraint 1": -2.0,
        "constraint memory": x - 0.5,
    }


def test_constraints_func__not_a_number__is_refused_and_the_trial_kept(
    sampler: Callable[..., OptFormerSampler],
) -> None:
    study = optuna.create_study(sampler=sampler(constraints_func=lambda trial: [float("nan")]))
    with pytest.raises(MetricError, match=r"must return numbers, got .* of trial 0"):
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    assert study.trials[0].state is TrialState.COMPLETE


def test_constraint__that_half_the_space_breaks__is_kept_to() -> None:
    def constrained(trial: optuna.Trial) -> float:
        x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
        trial.set_user_attr("excess", x + y - 1)
        return x + y  # best where the constraint is broken

    study = optuna.create_study(
        direction="maximize",
        sampler=OptFormerSampler(
            seed=0, constraints_func=lambda trial: [trial.user_attrs["excess"]]
        ),
    )
    study.optimize(constrained, n_trials=12)

    totals = [trial.value or 0.0 for trial in study.trials]
    assert max(total for total in totals if total <= 1) > 0.95
    assert np.median(totals) < 1.2  # without the constraint nearly all would be above 1.5


def test_enqueued_trial__of_some_values__is_completed_around_them(
    sampler: Callable[..., OptFormerSampler], recorder: Recorder
) -> None:
    study = optuna.create_study(sampler=sampler())
    study.optimize(objective, n_trials=2)
    study.enqueue_trial({"optimizer": "sgd", "layers": 7})
    study.optimize(objective, n_trials=1)

    assert recorder.told[-1][2]["layers"] == 7
    assert study.trials[-1].params.keys() == set(SPACE)


def test_running_trials__of_two_threads__know_of_each_other(
    sampler: Callable[..., OptFormerSampler], recorder: Recorder
) -> None:
    study = optuna.create_study(sampler=sampler())
    study.optimize(objective, n_trials=3)
    both = threading.Barrier(2)

    def together(trial: optuna.Trial) -> float:
        both.wait()
        return objective(trial)

    study.optimize(together, n_trials=2, n_jobs=2)

    first, second = recorder.told[-2:]
    assert [len(first[1]), len(second[1])] == [3, 4]
    assert second[1][-1].params == study.trials[second[1][-1].number].params


def test_start__several_workers_before_any_value__begin_apart(tiny_model: Path) -> None:
    study = optuna.create_study(sampler=OptFormerSampler(seed=0, model=tiny_model))
    trials = [study.ask() for _ in range(8)]
    points = {trial.suggest_float("x", 0, 1) for trial in trials}

    assert len(points) == 8
    assert max(points) - min(points) > 0.5


def test_exhausted_space__goes_on(tiny_model: Path) -> None:
    study = optuna.create_study(sampler=OptFormerSampler(seed=0, model=tiny_model))
    study.optimize(lambda trial: trial.suggest_categorical("x", [0, 1, 2]), n_trials=5)

    assert sorted(trial.params["x"] for trial in study.trials[:3]) == [0, 1, 2]


def test_own_study__opened_by_optuna__brings_its_space_and_words(
    sampler: Callable[..., OptFormerSampler], recorder: Recorder
) -> None:
    storage = optuna.storages.InMemoryStorage()
    metadata = {"task": "image classification", "model": "convnet"}
    of.create_study(
        SPACE, metric="loss", goal="minimize", metadata=metadata, storage=storage, name="own"
    )
    study = optuna.load_study(study_name="own", storage=storage, sampler=sampler())
    study.optimize(lambda trial: loss(asked(trial)), n_trials=2)

    config, history, _ = recorder.told[-1]
    assert (config.space, config.metric, config.metadata) == (SPACE, "loss", metadata)
    assert len(history) == 1
    assert len(of.load_study(storage=storage).trials) == 2


def test_space__of_optuna_distributions__is_known_from_the_first_trial_on(
    sampler: Callable[..., OptFormerSampler], recorder: Recorder
) -> None:
    space = {"x": FloatDistribution(0, 1), "kind": CategoricalDistribution(["a", "b"])}
    study = optuna.create_study(sampler=sampler(space=space))
    study.ask(space)

    assert [list(config.space) for config, _, _ in recorder.told] == [["x", "kind"]]


def test_value_outside_its_distribution__counts_as_not_known(
    sampler: Callable[..., OptFormerSampler], recorder: Recorder
) -> None:
    study = optuna.create_study(sampler=sampler())
    study.enqueue_trial({"lr": 3.0})  # Optuna warns and goes on
    with pytest.warns(UserWarning, match=r"lr'? with value 3\.0 is out of range"):
        study.optimize(objective, n_trials=1)
    study.optimize(objective, n_trials=1)

    _, history, _ = recorder.told[-1]
    assert history[0].params.keys() == study.trials[0].params.keys() - {"lr"}


@pytest.mark.parametrize("high", [0.25, 4.0])
def test_range__changed_under_way__is_kept_to(
    sampler: Callable[..., OptFormerSampler], high: float
) -> None:
    study = optuna.create_study(sampler=sampler())
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=4)
    study.optimize(lambda trial: trial.suggest_float("x", 0, high), n_trials=6)

    assert all(0 <= trial.params["x"] <= high for trial in study.trials[4:])


@pytest.mark.parametrize(
    ("distribution", "message"),
    [
        (CategoricalDistribution([(1, 2), (3, 4)]), "parameter 'x': a choice must be a str"),
        (FloatDistribution(-1e308, 1e308), "parameter 'x': low and high are too far apart"),
    ],
)
def test_distribution__that_cannot_be_read__is_named(
    tiny_model: Path, distribution: BaseDistribution, message: str
) -> None:
    study = optuna.create_study(sampler=OptFormerSampler(model=tiny_model))
    with pytest.raises(SearchSpaceError, match=message):
        study.ask({"x": distribution})


def test_kind__changed_under_way__is_refused_by_name(
    sampler: Callable[..., OptFormerSampler],
) -> None:
    study = optuna.create_study(sampler=sampler())
    for distribution in (FloatDistribution(0, 1), CategoricalDistribution([0.5])):
        study.add_trial(
            optuna.create_trial(
                params={"x": 0.5}, distributions={"x": distribution}, state=TrialState.FAIL
            )
        )
    with pytest.raises(SearchSpaceError, match=r"parameter 'x' is Float.* in one trial and Categ"):
        study.ask({"y": FloatDistribution(0, 1)})


def test_declared_condition__that_the_objective_breaks__is_refused_by_name(
    sampler: Callable[..., OptFormerSampler],
) -> None:
    study = optuna.create_study(sampler=sampler(space=SPACE))
    trial = study.ask()
    trial.storage.set_trial_system_attr(trial._trial_id, "fixed_params", {"optimizer": "adam"})
    trial = optuna.Trial(study, trial._trial_id)
    trial.suggest_categorical("optimizer", ["adam", "sgd"])
    with pytest.raises(SearchSpaceError, match="parameter 'momentum' is asked for where"):
        trial.suggest_float("momentum", 0.0, 0.99)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"seed": -1}, StudyError, "seed must be a whole number of at least 0, got -1"),
        ({"strategy": "best"}, ConfigError, "unknown strategy 'best'"),
        ({"space": 3}, SearchSpaceError, "a space must map names to parameters, got int"),
    ],
)
def test_settings__not_understood__are_refused(
    settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        OptFormerSampler(**settings)
