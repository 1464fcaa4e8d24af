"""What is read of studies that Optuna wrote, and what their users say better."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.storages import BaseStorage, InMemoryStorage

from optformer.data.studies.errors import OptFormerWarning, SearchSpaceError, StudyError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal
from optformer.data.studies.spaces import SearchSpace
from optformer.serving.study import optuna_access
from optformer.serving.study.study import Study, load_study

SPACE = SearchSpace(
    opt=Categorical(["sgd", "adam"]),
    momentum=Float(0, 2, when={"opt": ["sgd"]}, description="of the gradient"),
    layers=Ordinal([1, 2, 8]),
)


def _objective(trial: optuna.Trial) -> float:
    opt = trial.suggest_categorical("opt", ["sgd", "adam", "rms"])
    value = trial.suggest_float("momentum", 0, 1) if opt == "sgd" else 0.0
    return value + sum(trial.suggest_float(f"w{i}", 0, 1) for i in range(_layers(trial)))


def _layers(trial: optuna.Trial) -> int:
    return trial.suggest_int("layers", 1, 3)


def _search(storage: BaseStorage, *objectives: Callable[[optuna.Trial], float]) -> optuna.Study:
    sampler = optuna.samplers.RandomSampler(seed=1)
    study = optuna.create_study(storage=storage, study_name="s", sampler=sampler)
    for objective in objectives:
        study.optimize(objective, n_trials=30 // len(objectives))
    return study


def test_load_study__objective_with_ifs__has_their_conditions() -> None:
    storage = InMemoryStorage()
    _search(storage, _objective)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        space = load_study(storage=storage).config.space
    assert space["momentum"].when == {"opt": ("sgd",)}
    assert space["w0"].when is None
    assert space["w1"].when == {"layers": (2, 3)}
    assert space["w2"].when == {"layers": (3,)}


def test_load_study__parameter_added_under_way__is_in_every_trial_and_told() -> None:
    storage = InMemoryStorage()
    _search(
        storage,
        lambda trial: trial.suggest_int("n", 1, 60),
        lambda trial: trial.suggest_int("n", 1, 60) + trial.suggest_float("late", 0, 1),
    )
    with pytest.warns(OptFormerWarning, match=r"\['late'\] of study 's' are missing"):
        study = load_study(storage=storage)
    assert study.config.space["late"].when is None


def test_load_study__attributes_of_the_study__are_metadata() -> None:
    storage = InMemoryStorage()
    theirs = _search(storage, _objective)
    theirs.set_user_attr("dataset", "digits")
    theirs.set_user_attr("sizes", [1, 2])
    assert load_study(storage=storage).config.metadata == {"task": "s", "dataset": "digits"}


def test_load_study__said_better__goes_on_so_in_copies_too(
    address: str, reopen: Callable[..., Study]
) -> None:
    _search(optuna_access.open_storage(address), _objective)
    said: dict[str, Any] = {"space": SPACE, "metric": "acc", "goal": "maximize"}
    study = load_study(storage=address, metadata={"task": "images"}, **said)
    config = study.config
    assert (config.space, config.goals) == (SPACE, {"acc": "maximize"})
    assert config.metadata["task"] == "images"
    point = {"opt": "sgd", "momentum": 1.5, "layers": 8}
    pickle.loads(pickle.dumps(study)).observe(point, {"acc": 0.5})
    assert study.trials[-1].params == point
    assert study.trials[-1].value == 0.5
    theirs = optuna.load_study(study_name="s", storage=optuna_access.open_storage(address))
    assert theirs.trials[-1].params == point


@pytest.mark.parametrize(
    "parameter",
    [
        {"opt": Categorical(["sgd", "new"])},
        {"opt": Float(0, 1)},
        {"layers": Float(0, 1)},
        {"momentum": Categorical(["a", "b"])},
    ],
)
def test_load_study__space_that_optuna_cannot_store_there__names_the_parameter(
    parameter: dict[str, Any],
) -> None:
    storage = InMemoryStorage()
    _search(storage, _objective)
    with pytest.raises(SearchSpaceError, match=f"parameter '{next(iter(parameter))}' cannot be"):
        load_study(storage=storage, space=SearchSpace(parameter))


def test_load_study__study_without_trials__needs_its_space() -> None:
    storage = InMemoryStorage()
    optuna.create_study(storage=storage, study_name="s")
    with pytest.raises(StudyError, match="give load_study its space="):
        load_study(storage=storage)
    space = SearchSpace(n=Int(1, 3))
    assert load_study(storage=storage, space=space).config.space == space


def test_load_study__study_that_knows_it__takes_no_description(
    address: str, make_study: Callable[..., Study]
) -> None:
    make_study(storage=address)
    with pytest.raises(StudyError, match="leave out space= and goal="):
        load_study(storage=address, space=SPACE, goal="maximize")


def test_load_study__several_objectives__are_named_by_optuna() -> None:
    storage = InMemoryStorage()
    optuna.create_study(storage=storage, directions=["minimize", "maximize"])
    with pytest.raises(StudyError, match=r"several objectives.*leave out metric="):
        load_study(storage=storage, space=SPACE, metric="acc")
