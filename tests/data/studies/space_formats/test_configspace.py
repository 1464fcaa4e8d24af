"""Spaces of ConfigSpace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ConfigSpace as CS  # noqa: N817
import pytest

from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal
from optformer.data.studies.space_files import load_space
from optformer.data.studies.space_formats.reading import read_space

OLD: dict[str, Any] = {
    "hyperparameters": [
        {"name": "lr", "type": "uniform_float", "log": True, "lower": 1e-5, "upper": 0.1,
         "default": 0.001},
        {"name": "batch", "type": "uniform_int", "log": False, "lower": 16, "upper": 64, "q": 16,
         "default": 16},
        {"name": "depth", "type": "normal_int", "log": False, "mu": 5, "sigma": 1, "default": 5},
        {"name": "opt", "type": "categorical", "choices": ["sgd", "adam"], "default": "sgd",
         "probabilities": [0.5, 0.5]},
        {"name": "momentum", "type": "uniform_float", "log": False, "lower": 0.0, "upper": 0.9,
         "default": 0.5},
        {"name": "seed", "type": "constant", "value": 3},
    ],
    "conditions": [{"child": "momentum", "parent": "opt", "type": "EQ", "value": "sgd"}],
    "forbiddens": [],
    "python_module_version": "0.4.19",
    "json_format_version": 0.2,
}  # fmt: skip


@pytest.fixture
def space() -> CS.ConfigurationSpace:
    """Every type and condition that can be read."""
    space = CS.ConfigurationSpace(name="network", seed=1)
    opt = CS.Categorical("opt", ["sgd", "adam", "lamb"])
    layers = CS.Integer("layers", (1, 8))
    size = CS.OrdinalHyperparameter("size", ["s", "m", "l"])
    lr = CS.Float("lr", (1e-5, 1e-1), log=True)
    momentum, decay = CS.Float("momentum", (0.0, 0.99)), CS.Float("decay", (0.0, 1.0))
    warmup, width = CS.Integer("warmup", (1, 5)), CS.Integer("width", (16, 512), log=True)
    skip, norm = CS.Categorical("skip", [True, False]), CS.Categorical("norm", ["batch", "layer"])
    space.add(opt, layers, size, lr, momentum, decay, warmup, width, skip, norm)
    space.add(CS.Constant("epochs", 10))
    space.add(
        CS.EqualsCondition(momentum, opt, "sgd"),
        CS.NotEqualsCondition(decay, opt, "sgd"),
        CS.AndConjunction(
            CS.InCondition(skip, opt, ["sgd", "adam"]), CS.GreaterThanCondition(skip, layers, 3)
        ),
        CS.OrConjunction(
            CS.EqualsCondition(warmup, opt, "adam"), CS.EqualsCondition(warmup, opt, "lamb")
        ),
        CS.LessThanCondition(norm, size, "l"),
    )
    return space


def test_load_space__written_by_configspace__is_read_with_conditions(
    tmp_path: Path, space: CS.ConfigurationSpace
) -> None:
    space.to_json(tmp_path / "space.json")
    read = load_space(tmp_path / "space.json")
    assert read == load_space(space)
    assert read["lr"] == Float(1e-5, 1e-1, log=True)
    assert read["size"] == Ordinal(["s", "m", "l"])
    assert read["epochs"] == Categorical([10])
    assert read["momentum"] == Float(0.0, 0.99, when={"opt": ["sgd"]})
    assert read["decay"] == Float(0.0, 1.0, when={"opt": ["adam", "lamb"]})
    assert read["skip"] == Categorical(
        [True, False], when={"opt": ["sgd", "adam"], "layers": [4, 5, 6, 7, 8]}
    )
    assert read["warmup"] == Int(1, 5, when={"opt": ["adam", "lamb"]})
    assert read["norm"] == Categorical(["batch", "layer"], when={"size": ["s", "m"]})


def test_load_space__what_configspace_draws__is_legal(space: CS.ConfigurationSpace) -> None:
    read = load_space(space)
    for configuration in space.sample_configuration(100):
        read.validate(dict(configuration))


def test_load_space__older_form__is_read(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text(json.dumps(OLD))
    with pytest.warns(UserWarning, match=r"hyperparameters\.depth: normal with mean 5"):
        read = load_space(tmp_path / "old.json")
    assert dict(read) == {
        "lr": Float(1e-5, 0.1, log=True),
        "batch": Int(16, 64, step=16),
        "depth": Int(2, 8),
        "opt": Categorical(["sgd", "adam"]),
        "momentum": Float(0.0, 0.9, when={"opt": ["sgd"]}),
        "seed": Categorical([3]),
    }


def test_read__names_as_keys__are_those_of_the_parameters() -> None:
    entries = {entry["name"]: {**entry, "name": None} for entry in OLD["hyperparameters"]}
    assert read_space({"hyperparameters": entries}).space["lr"] == Float(1e-5, 0.1, log=True)


def test_read__priors__are_left_out_with_a_word() -> None:
    space = CS.ConfigurationSpace(seed=1)
    space.add(
        CS.Float("x", (0, 10), distribution=CS.Normal(5, 1)),
        CS.Float("y", (0, 1), distribution=CS.Beta(2, 3)),
        CS.Categorical("z", ["a", "b"], weights=[1, 3]),
    )
    read = read_space(space)
    assert dict(read.space) == {"x": Float(0, 10), "y": Float(0, 1), "z": Categorical(["a", "b"])}
    assert sorted(note.partition(":")[0] for note in read.notes) == [
        "hyperparameters.x", "hyperparameters.y", "hyperparameters.z",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"forbiddens": [{"type": "AND", "clauses": [
                {"type": "EQUALS", "name": "opt", "value": "sgd"},
                {"type": "IN", "name": "batch", "values": [16, 32]}]}]},
            r"^forbiddens\[0\]: cannot read .*: opt == 'sgd' and batch in \[16, 32\]",
        ),
        (
            {"forbiddens": [{"type": "RELATION", "left": "a", "right": "b", "lambda": "LESS"}]},
            "a LESS b",
        ),
        (
            {"conditions": [{"child": "momentum", "type": "OR", "conditions": [
                {"child": "momentum", "parent": "opt", "type": "EQ", "value": "sgd"},
                {"child": "momentum", "parent": "batch", "type": "EQ", "value": 16}]}]},
            r"^conditions\[0\]: cannot read OR over several parameters: \['batch', 'opt'\]",
        ),
        (
            {"conditions": [{"child": "momentum", "parent": "lr", "type": "GT", "value": 0.01}]},
            r"^conditions\[0\]: a condition on 'lr' needs a list",
        ),
        (
            {"conditions": [{"child": "momentum", "parent": "nope", "type": "EQ", "value": 1}]},
            r"^conditions\[0\]: expected one of .*, got 'nope'",
        ),
        ({"hyperparameters": [{"name": "x", "type": "cauchy"}]}, "^hyperparameters.x: expected"),
        ({"hyperparameters": [{"name": "x", "type": "ordinal"}]}, "x: field 'sequence' is missing"),
        ({"hyperparameters": [{"type": "constant"}]}, r"^hyperparameters\[0\]: a name must"),
    ],
)  # fmt: skip
def test_read__what_cannot_be_read__is_named_with_its_path(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SearchSpaceError, match=message):
        read_space({**OLD, **changes})
