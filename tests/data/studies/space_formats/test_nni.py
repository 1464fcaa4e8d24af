"""Search spaces of NNI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal
from optformer.data.studies.space_files import load_space
from optformer.data.studies.space_formats.reading import read_space

SPACE = """{
  "dropout_rate": {"_type": "uniform", "_value": [0.5, 0.9]},
  "conv_size": {"_type": "choice", "_value": [2, 3, 5, 7]},
  "hidden_size": {"_type": "qloguniform", "_value": [16, 1024, 1]},
  "batch_size": {"_type": "quniform", "_value": [32, 256, 32]},
  "layers": {"_type": "randint", "_value": [1, 6]},
  "learning_rate": {"_type": "loguniform", "_value": [0.0001, 0.1]},
  "activation": {"_type": "choice", "_value": ["relu", "tanh"]}
}"""
EXPERIMENT = """
experimentName: layers
trialCommand: python train.py
maxTrialNumber: 20
searchSpace:
  layer:
    _type: choice
    _value:
      - _name: Empty
      - _name: Conv
        kernel_size: {_type: choice, _value: [1, 3, 5]}
        scale: {_type: uniform, _value: [0, 1]}
  momentum: {_type: uniform, _value: [0, 1]}
"""


def test_load_space__json_file__is_read(tmp_path: Path) -> None:
    (tmp_path / "search_space.json").write_text(SPACE)
    assert dict(load_space(tmp_path / "search_space.json")) == {
        "dropout_rate": Float(0.5, 0.9),
        "conv_size": Ordinal([2, 3, 5, 7]),
        "hidden_size": Int(16, 1024, log=True),
        "batch_size": Int(32, 256, step=32),
        "layers": Int(1, 5),  # the upper bound is not drawn
        "learning_rate": Float(1e-4, 0.1, log=True),
        "activation": Categorical(["relu", "tanh"]),
    }


def test_load_space__nested_choice_in_an_experiment__becomes_conditions(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text(EXPERIMENT)
    assert dict(load_space(tmp_path / "config.yml")) == {
        "layer": Categorical(["Empty", "Conv"]),
        "layer.Conv.kernel_size": Ordinal([1, 3, 5], when={"layer": ["Conv"]}),
        "layer.Conv.scale": Float(0, 1, when={"layer": ["Conv"]}),
        "momentum": Float(0, 1),
    }


@pytest.mark.parametrize(
    ("kind", "value", "expected", "word"),
    [
        ("quniform", [1, 11, 2.5], Ordinal([1, 2.5, 5.0, 7.5, 10.0]), None),
        ("quniform", [2, 10, 5], Ordinal([2, 5, 10]), None),
        ("quniform", [4, 10, 5], Ordinal([5, 10]), None),  # 4 is rounded to 5
        ("quniform", [1, 1000, 5], Int(5, 1000, step=5), "multiples of 5 within"),
        ("normal", [0, 1], Float(-2.58, 2.58), "not uniform"),
        ("qnormal", [10, 2, 1], Int(5, 15), "not uniform"),
        ("lognormal", [0, 1], Float(0.0761, 13.1, log=True), "logarithmic"),
        ("randint", [5], Int(0, 4), None),
    ],
)
def test_read__other_types__are_exact_or_told(
    kind: str, value: list[float], expected: Any, word: str | None
) -> None:
    read = read_space({"x": {"_type": kind, "_value": value}})
    assert read.space["x"] == expected
    if word is None:
        assert read.notes == ()
    else:
        assert read.notes[0].startswith("x: ")
        assert word in read.notes[0]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"_type": "mutable_layer", "_value": [1]}, r"^x\._type: expected one of"),
        ({"_type": "uniform", "_value": [1]}, r"^x: uniform takes \['low', 'high'\]"),
        ({"_type": "uniform", "_value": 1}, "^x: expected a list"),
        ({"_type": "uniform"}, "^x: expected _type and _value"),
        ({"_type": "qloguniform", "_value": [1, 3, 8]}, "no multiple of 8 between 1 and 3"),
        ({"_type": "quniform", "_value": [0, 1, 0]}, "a step must be above 0"),
        ({"_type": "choice", "_value": [{"_name": "a", "b": 3}]}, r"^x\.a\.b: expected a mapping"),
        ({"_type": "choice", "_value": [{"_name": "a"}, {"_name": "a"}]}, "given twice"),
    ],
)
def test_read__what_cannot_be_read__is_named_with_its_path(entry: Any, message: str) -> None:
    with pytest.raises(SearchSpaceError, match=message):
        read_space({"y": {"_type": "uniform", "_value": [0, 1]}, "x": entry})
