"""Search methods by name."""

from __future__ import annotations

import pytest

from optformer.data.methods import create, names, register, registry
from optformer.data.methods.random_search import RandomSearch
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig

CONFIG = StudyConfig(SearchSpace(x=Float(0, 1)), "score", "maximize")


def test_names__built_in_methods__are_listed_in_order() -> None:
    assert names() == sorted(names())
    assert {"grid", "hill-climbing", "quasi-random", "random", "shuffled-grid"} <= set(names())


def test_create__unknown_name__lists_the_known() -> None:
    with pytest.raises(ConfigError, match=r"unknown search method 'rnd'; known are \[.*'random'"):
        create("rnd", CONFIG)


def test_register__new_name__is_created_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_FACTORIES", dict(registry._FACTORIES))
    register("mine", RandomSearch)
    assert isinstance(create("mine", CONFIG), RandomSearch)
    assert "mine" in names()


def test_register__taken_name__is_refused() -> None:
    with pytest.raises(ConfigError, match="'random' is registered already"):
        register("random", RandomSearch)
