"""The folder for OptunaHub is one that OptunaHub loads."""

from __future__ import annotations

import runpy
from pathlib import Path

import optuna
import optunahub
import pytest
import yaml

from optformer.serving.integrations.optuna_sampler import OptFormerSampler

REGISTRY = Path(__file__).parents[3] / "publish" / "optunahub" / "package"
FOLDER = REGISTRY / "samplers" / "optformer"


def test_package__loaded_from_a_local_registry__has_the_sampler() -> None:
    module = optunahub.load_local_module("samplers/optformer", registry_root=str(REGISTRY))

    assert module.OptFormerSampler is OptFormerSampler


def test_package__its_files__are_those_the_registry_asks_for() -> None:
    files = {path.name for path in FOLDER.iterdir() if path.is_file()}
    assert files == {"__init__.py", "README.md", "LICENSE", "example.py", "requirements.txt"}
    front = yaml.safe_load((FOLDER / "README.md").read_text().split("---")[1])
    assert front.keys() == {
        "author",
        "title",
        "description",
        "tags",
        "optuna_versions",
        "license",
    }
    assert "sampler" in front["tags"]


def test_example__on_the_local_registry__keeps_its_constraint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load_module(package: str) -> object:
        return optunahub.load_local_module(package, registry_root=str(REGISTRY))

    optimize = optuna.Study.optimize
    studies = []

    def shorter(study: optuna.Study, objective: object, n_trials: int) -> None:
        studies.append(study)
        optimize(study, objective, n_trials=min(n_trials, 6))

    monkeypatch.setattr(optunahub, "load_module", load_module)
    monkeypatch.setattr(optuna.Study, "optimize", shorter)
    runpy.run_path(str(FOLDER / "example.py"), run_name="__main__")

    (study,) = studies
    assert study.best_trial.user_attrs["megabytes"] <= 12
    assert str(study.best_value) in capsys.readouterr().out
