"""Search methods by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from optformer.data.methods import METHODS, create
from optformer.data.methods.random_search import RandomSearch
from optformer.data.methods.registry import algorithm_of
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig

CONFIG = StudyConfig(SearchSpace(x=Float(0, 1)), "score", "maximize")


def test_names__built_in_methods__are_listed_in_order() -> None:
    assert METHODS.names() == sorted(METHODS.names())
    assert {"grid", "hill-climbing", "quasi-random", "random", "smac", "tpe"} <= {*METHODS.names()}


def test_create__unknown_name__lists_the_known() -> None:
    with pytest.raises(ConfigError, match=r"unknown search method 'rnd'; known are \[.*'random'"):
        create("rnd", CONFIG)


def test_create__name_of_an_earlier_version__is_the_method_of_today() -> None:
    assert isinstance(create("optuna-random", CONFIG), RandomSearch)
    assert type(create("optuna-tpe", CONFIG)) is type(create("tpe", CONFIG))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("regularized-evolution", "regularized evolution"),
        ("gp-ei", "gp ei"),
        ("tpe", "optuna tpe"),
        ("optuna-tpe", "optuna tpe"),
        ("optuna-gp", "optuna gp"),
        ("gp", "optuna gp"),
        ("unheard-of", "unheard of"),
    ],
)
def test_algorithm_of__any_name__is_what_models_were_told_in_training(name: str, told: str) -> None:
    assert algorithm_of(name) == told


def test_import__methods__loads_no_other_library() -> None:
    code = (
        "import sys, optformer.data.methods as methods\n"
        "methods.METHODS.names(); methods.METHODS.describe('smac')\n"
        "print(any(name in sys.modules for name in ('optuna', 'botorch', 'smac', 'torch')))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "False"
