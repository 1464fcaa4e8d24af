"""The methods of a benchmark: what they are called, made of and recorded as."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import optuna
import pytest

from optformer.data.studies.errors import CheckpointError, ConfigError, MissingExtraError
from optformer.data.studies.parameters import Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.serving.benchmarks.methods import (
    METHODS,
    check_available,
    create_method,
    method_version,
)

STUDY = StudyConfig(SearchSpace(x=Float(0.0, 1.0)), "loss", "minimize")


def test_methods__all_names__are_known_to_one_registry() -> None:
    known = {"cma-es", "gp", "gp-3", "optformer", "optformer-ts", "qlogei", "random", "smac", "tpe"}
    assert known <= set(METHODS.names())
    assert METHODS.describe("optformer").startswith("The pretrained model chooses by expected")


def test_create_method__unknown__is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown search method 'bohb'"):
        create_method("bohb", STUDY, 0)


@pytest.mark.parametrize(
    ("name", "package"), [("qlogei", "botorch"), ("smac", "smac"), ("cma-es", "cmaes")]
)
def test_check_available__package_missing__names_it_and_the_extra(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{name}.*{package}.*optformer\[benchmark\]"):
        check_available(name)


def test_check_available__package_there__makes_the_method() -> None:
    check_available("tpe")
    if importlib.util.find_spec("cmaes") is not None:
        check_available("cma-es")


def test_check_available__model_missing__is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        check_available("optformer", model=tmp_path)


def test_method_version__kinds__name_what_ran(tmp_path: Path) -> None:
    assert method_version("tpe") == f"optuna {optuna.__version__}"
    assert method_version("random").startswith("optformer ")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    one = method_version("optformer", model=tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.safetensors").write_bytes(b"other weights")
    assert one.startswith(f"{method_version('random')} ")
    assert one != method_version("optformer", model=other)


def test_method_version__no_weights__is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no \*.safetensors"):
        method_version("optformer", model=tmp_path)
