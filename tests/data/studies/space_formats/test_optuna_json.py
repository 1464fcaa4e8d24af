"""Distributions of Optuna in files, in Python and of a study."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.parameters import Categorical, Float, Int
from optformer.data.studies.space_files import load_space
from optformer.data.studies.space_formats.reading import read_space

DISTRIBUTIONS = {
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    "drop": FloatDistribution(0.0, 0.5, step=0.1),
    "layers": IntDistribution(1, 8),
    "optimizer": CategoricalDistribution(["sgd", "adam", None]),
}
SPACE = {
    "lr": Float(1e-5, 1e-1, log=True),
    "drop": Float(0.0, 0.5, step=0.1),
    "layers": Int(1, 8),
    "optimizer": Categorical(["sgd", "adam", None]),
}


def test_load_space__json_of_distributions__is_read(tmp_path: Path) -> None:
    texts = {name: distribution_to_json(d) for name, d in DISTRIBUTIONS.items()}
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    objects = {name: json.loads(text) for name, text in texts.items()}
    (tmp_path / "objects.json").write_text(json.dumps(objects))
    assert dict(load_space(tmp_path / "texts.json")) == SPACE
    assert dict(load_space(tmp_path / "objects.json")) == SPACE


def test_load_space__distributions_and_a_study__are_read() -> None:
    assert dict(load_space(DISTRIBUTIONS)) == SPACE
    study = optuna.create_study()
    with pytest.raises(SearchSpaceError, match="once it has trials"):
        load_space(study)
    study.ask(DISTRIBUTIONS)
    assert dict(load_space(study)) == SPACE


def test_load_space__study_with_an_if__has_its_condition() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))

    def objective(trial: optuna.Trial) -> float:
        if trial.suggest_categorical("optimizer", ["sgd", "adam"]) == "sgd":
            return trial.suggest_float("momentum", 0.0, 0.9)
        return 0.0

    study.optimize(objective, n_trials=8)
    with pytest.warns(UserWarning, match="momentum: active where"):
        space = load_space(study)
    assert space["momentum"] == Float(0.0, 0.9, when={"optimizer": ["sgd"]})


def test_load_space__names_of_older_versions__are_read_silently() -> None:
    old = {"name": "LogUniformDistribution", "attributes": {"low": 1e-5, "high": 1e-1}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert dict(load_space({"lr": old})) == {"lr": Float(1e-5, 1e-1, log=True)}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"name": "CauchyDistribution", "attributes": {}},
            "^x: no distribution of Optuna: Unknown",
        ),
        ({"name": "IntDistribution", "attributes": {"low": 1}}, "^x: no distribution of Optuna"),
        ({"name": "IntDistribution"}, "^x: no distribution of Optuna: 'attributes' is missing"),
        (3, "^x: expected a mapping"),
    ],
)
def test_read__what_cannot_be_read__is_named(entry: Any, message: str) -> None:
    known = json.loads(distribution_to_json(FloatDistribution(0, 1)))
    with pytest.raises(SearchSpaceError, match=message):
        read_space({"y": known, "x": entry})
