"""Whose space it is, and damaged spaces of every tool."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.parameters import Float
from optformer.data.studies.space_files import load_space
from optformer.data.studies.space_formats.reading import read_space
from optformer.data.studies.spaces import SearchSpace

SPACES: dict[str, dict[str, Any]] = {
    "W&B sweep": {
        "method": "random",
        "parameters": {
            "a": {"distribution": "q_log_normal", "mu": 1, "sigma": 2, "q": 0.5},
            "b": {"parameters": {"c": {"values": [1, 2]}, "d": {"min": 0.0, "max": 1}}},
        },
    },
    "NNI": {
        "a": {"_type": "qloguniform", "_value": [1, 100, 5]},
        "b": {"_type": "choice", "_value": [
            {"_name": "c", "d": {"_type": "randint", "_value": [1, 5]}}]},
        "e": {"_type": "lognormal", "_value": [0, 1]},
    },
    "Hydra's Optuna sweeper": {
        "hydra": {"sweeper": {"params": {
            "a": "tag(log, interval(1, 8))", "b": "choice(c, [d])", "e": "int(interval(1, 9))"}}}
    },
    "ConfigSpace": {
        "hyperparameters": [
            {"name": "a", "type": "uniform_int", "lower": 1, "upper": 64, "q": 9, "log": True},
            {"name": "b", "type": "categorical", "choices": ["c", "d"], "weights": [1, 2]},
            {"name": "e", "type": "normal_float", "mu": 1, "sigma": 2},
        ],
        "conditions": [
            {"type": "AND", "child": "e", "conditions": [
                {"type": "NEQ", "child": "e", "parent": "b", "value": "c"},
                {"type": "GT", "child": "e", "parent": "a", "value": 10}]},
        ],
    },
    "Optuna": {
        "a": {"name": "FloatDistribution",
              "attributes": {"low": 0, "high": 1, "step": 0.1, "log": False}},
        "b": {"name": "CategoricalDistribution", "attributes": {"choices": ["c", None]}},
    },
    "OptFormer": {"a": {"type": "float", "low": 0, "high": 1}},
}  # fmt: skip
JUNK = (
    *(None, True, 0, -1, 2**60, 10**400, 1e308, -1e308, 1e-320, float("nan"), float("inf"), 0.5),
    *("", "a", "interval(", "interval(a, inf)", "tag(log)", "range(1, 9, -1)", "normal", "AND"),
    *([], [[]], [None, True, "a"], {}, {"a": 1}, {"_name": []}, "x" * 500),
)  # fmt: skip


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place inside nested values."""
    if place:
        yield place
    for key in (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    ):
        yield from places(value[key], (*place, key))


def damaged(value: Any, rng: np.random.Generator) -> Any:
    """A copy in which something is missing or replaced by junk."""
    value = copy.deepcopy(value)
    for _ in range(int(rng.integers(1, 4))):
        found = list(places(value))
        if not found:
            break
        *path, last = found[int(rng.integers(len(found)))]
        inside = value
        for key in path:
            inside = inside[key]
        if rng.random() < 0.2:
            del inside[last]
        else:
            inside[last] = copy.deepcopy(JUNK[int(rng.integers(len(JUNK)))])
    return value


@pytest.mark.parametrize("tool", SPACES)
def test_read_space__by_its_content__knows_the_tool(tool: str) -> None:
    assert read_space(SPACES[tool]).tool == tool


@pytest.mark.parametrize("tool", SPACES)
def test_read_space__damaged__reads_a_legal_space_or_says_what_is_wrong(tool: str) -> None:
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        try:
            space = read_space(damaged(SPACES[tool], rng)).space
        except SearchSpaceError:
            refused += 1
        else:
            space.validate(space.sample(rng))
    assert refused > 20


def test_load_space__parameters_with_the_names_of_other_tools__are_ours() -> None:
    space = SearchSpace(parameters=Float(0, 1), hydra=Float(0, 1), hyperparameters=Float(0, 1))
    assert load_space(space.to_dict()) == space
    assert load_space(space) is space
    assert list(load_space({"parameters": ["a", "b"], "hyperparameters": [1, 2]})) == [
        "parameters",
        "hyperparameters",
    ]


@pytest.mark.parametrize("described", [None, 3, [], ["a"], {}, {"a": {"b": 1}}])
def test_load_space__nothing_that_is_known__is_refused(described: Any) -> None:
    with pytest.raises(SearchSpaceError):
        load_space(described)
