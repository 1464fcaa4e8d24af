"""Sweeps of Weights & Biases."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from optformer.data.studies.errors import OptFormerWarning, SearchSpaceError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal
from optformer.data.studies.space_files import load_space
from optformer.data.studies.space_formats.reading import read_space

SWEEP = """
program: train.py
method: bayes
metric: {name: val_loss, goal: minimize}
parameters:
  learning_rate: {distribution: log_uniform_values, min: 1e-5, max: 1e-1}
  batch_size: {values: [128, 32, 64]}
  epochs: {value: 20}
  layers: {min: 1, max: 8}
  dropout: {min: 0.0, max: 0.5}
  hidden: {distribution: q_uniform, min: 16, max: 250, q: 16}
  optimizer:
    parameters:
      name: {values: [adam, sgd]}
      nesterov: {values: [true, false]}
early_terminate: {type: hyperband, min_iter: 3}
"""


def read_one(**fields: Any) -> tuple[Any, tuple[str, ...]]:
    read = read_space({"method": "random", "parameters": {"x": fields}})
    return read.space["x"], read.notes


def test_load_space__sweep_file__is_read_with_nested_names(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    assert dict(load_space(tmp_path / "sweep.yaml")) == {
        "learning_rate": Float(1e-5, 1e-1, log=True),
        "batch_size": Ordinal([32, 64, 128]),
        "epochs": Categorical([20]),
        "layers": Int(1, 8),
        "dropout": Float(0.0, 0.5),
        "hidden": Int(16, 256, step=16),  # 250 / 16 is rounded to 16
        "optimizer.name": Categorical(["adam", "sgd"]),
        "optimizer.nesterov": Categorical([True, False]),
    }


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"distribution": "uniform", "min": 1, "max": 2}, Float(1, 2)),
        ({"distribution": "int_uniform", "min": 1, "max": 2}, Int(1, 2)),
        ({"distribution": "constant", "value": "a"}, Categorical(["a"])),
        ({"min": 3, "max": 3}, Ordinal([3])),
        (
            {"distribution": "log_uniform", "min": math.log(0.25), "max": math.log(4)},
            Float(0.25, 4.0, log=True),
        ),
        (
            {"distribution": "inv_log_uniform", "min": -math.log(4), "max": math.log(4)},
            Float(0.25, 4.0, log=True),
        ),
        (
            {"distribution": "inv_log_uniform_values", "min": 1e-3, "max": 1.0},
            Float(1e-3, 1.0, log=True),
        ),
        ({"distribution": "q_uniform", "min": 0.1, "max": 1.0, "q": 0.5}, Float(0, 1, step=0.5)),
        ({"distribution": "q_log_uniform_values", "min": 2, "max": 90}, Int(2, 90, log=True)),
        (
            {"distribution": "q_log_uniform_values", "min": 8, "max": 40, "q": 8},
            Ordinal([8, 16, 24, 32, 40]),
        ),
    ],
)
def test_read__distributions_with_bounds__are_exact(fields: dict[str, Any], expected: Any) -> None:
    parameter, notes = read_one(**fields)
    if isinstance(expected, Float) and expected.log:
        assert (parameter.low, parameter.high) == pytest.approx((expected.low, expected.high))
        assert parameter.log
    else:
        assert parameter == expected
    assert notes == ()


@pytest.mark.parametrize(
    ("fields", "expected", "word"),
    [
        ({"distribution": "normal", "mu": 1, "sigma": 0.1}, Float(0.742, 1.26), "not uniform"),
        ({"distribution": "log_normal"}, Float(0.0761, 13.1, log=True), "a logarithmic scale"),
        ({"distribution": "q_normal", "sigma": 2}, Int(-5, 5), "not uniform"),
        ({"distribution": "beta", "a": 2, "b": 2}, Float(0, 1), r"beta\(2, 2\)"),
        ({"values": ["a", "b"], "probabilities": [0.9, 0.1]}, Categorical(["a", "b"]), "left out"),
        ({"values": [1, 2, 2]}, Ordinal([1, 2]), "more than once"),
    ],
)
def test_read__what_is_not_exact__is_told(
    tmp_path: Path, fields: dict[str, Any], expected: Any, word: str
) -> None:
    with pytest.warns(OptFormerWarning, match=rf"^parameters\.x: .*{word}"):
        assert load_space({"parameters": {"x": fields}})["x"] == expected


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"distribution": "gumbel"}, r"^parameters\.x\.distribution: expected one of"),
        ({"distribution": "uniform", "min": 0}, r"^parameters\.x: uniform needs 'max'"),
        ({"min": 0}, r"^parameters\.x: expected value, values,"),
        ({"min": 1.0, "max": 0.0}, r"^parameters\.x: low must be below high"),
        ({"min": 0, "max": 1, "mu": 3}, r"^parameters\.x: unknown field 'mu'"),
        ({"distribution": "log_uniform", "min": 1e-5, "max": 1e5}, "log_uniform_values takes"),
        ({"distribution": "uniform", "values": [1]}, "has no 'values'"),
        ({"distribution": "normal", "sigma": 0}, "deviation must be above 0"),
        (
            {"parameters": {"y": {"min": "a", "max": 1}}},
            r"^parameters\.x\.parameters\.y: expected a",
        ),
        ({"values": []}, r"^parameters\.x: expected a list"),
        (3, r"^parameters\.x: expected a mapping"),
    ],
)
def test_read__what_cannot_be_read__is_named_with_its_path(fields: Any, message: str) -> None:
    with pytest.raises(SearchSpaceError, match=message):
        read_space({"method": "random", "parameters": {"x": fields}})


def test_read__choices_that_are_lists__are_written_as_text() -> None:
    with pytest.warns(OptFormerWarning, match="x: choices that are lists"):
        space = load_space({"parameters": {"x": {"values": [[64, 64], [128]]}}})
    assert space["x"] == Categorical(["[64, 64]", "[128]"])


def test_load_space__switches_in_yaml__are_text_with_a_word(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text("parameters: {amp: {values: [on, off]}}")
    with pytest.warns(OptFormerWarning, match="amp: 'o(n|ff)' is text here; W&B sweep reads it as"):
        assert load_space(tmp_path / "sweep.yaml")["amp"] == Categorical(["on", "off"])
