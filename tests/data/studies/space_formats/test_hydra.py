"""Spaces of Hydra's Optuna sweeper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal
from optformer.data.studies.space_files import load_space
from optformer.data.studies.space_formats.reading import read_space

CONFIG = """
defaults:
  - override hydra/sweeper: optuna
  - override hydra/sweeper/sampler: tpe
hydra:
  sweeper:
    sampler: {seed: 123}
    direction: minimize
    study_name: sphere
    n_trials: 20
    params:
      model.lr: tag(log, interval(1e-5, 1e-1))
      model.dropout: interval(0.0, 0.5)
      model.layers: int(interval(1, 8))
      model.width: range(16, 256, step=16)
      model.act: choice(relu, 'leaky relu', null)
      data.batch_size: 64, 32, 128
      data.size: choice([64, 64], [128, 128])
      trainer.seed: 7
model: {lr: 0.1}
"""
OLD = """
_target_: hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper
search_space:
  x: {type: float, low: -5.5, high: 5.5, step: 0.5}
  y: {type: int, low: 1, high: 64, log: true}
  z: {type: categorical, choices: [a, b]}
"""


def override(text: Any) -> Any:
    return read_space({"hydra": {"sweeper": {"params": {"x": text}}}}).space["x"]


def test_load_space__configuration__is_read(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    with pytest.warns(UserWarning, match=r"data\.size: choices that are lists"):
        space = load_space(tmp_path / "config.yaml")
    assert dict(space) == {
        "model.lr": Float(1e-5, 1e-1, log=True),
        "model.dropout": Float(0.0, 0.5),
        "model.layers": Int(1, 8),
        "model.width": Int(16, 256, step=16),
        "model.act": Categorical(["relu", "leaky relu", None]),
        "data.batch_size": Ordinal([32, 64, 128]),
        "data.size": Categorical(["[64, 64]", "[128, 128]"]),
        "trainer.seed": Categorical([7]),
    }


def test_load_space__older_search_space__is_read(tmp_path: Path) -> None:
    (tmp_path / "optuna.yaml").write_text(OLD)
    assert dict(load_space(tmp_path / "optuna.yaml")) == {
        "x": Float(-5.5, 5.5, step=0.5),
        "y": Int(1, 64, log=True),
        "z": Categorical(["a", "b"]),
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("interval(start=1, end=4)", Float(1, 4)),
        ("int(interval(1.0, 4.0))", Int(1, 4)),
        ("float(interval(1, 4))", Float(1, 4)),
        ("tag(log, interval(1, 64))", Float(1, 64, log=True)),
        ("tag(log, int(interval(1, 64)))", Int(1, 64, log=True)),
        ("tag(a, tag(log, interval(0.1, 10)))", Float(0.1, 10, log=True)),
        ("range(4)", Int(0, 4)),
        ("range(0.5, 2, 0.5)", Float(0.5, 2.0, step=0.5)),
        ("shuffle(range(1, 4))", Ordinal([1, 2, 3])),
        ("shuffle(choice(a, b))", Categorical(["a", "b"])),
        ("sort(3, 1, 2)", Ordinal([1, 2, 3])),
        ('choice("a,b", "c(d")', Categorical(["a,b", "c(d"])),
        ("choice(true, False)", Categorical([True, False])),
        ("choice(db/mysql, ${other})", Categorical(["db/mysql", "${other}"])),
        ("adam", Categorical(["adam"])),
    ],
)
def test_read__overrides__mean_what_the_sweeper_makes_of_them(text: str, expected: Any) -> None:
    assert override(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("glob(*)", r"^hydra\.sweeper\.params\.x: cannot read glob"),
        ("interval(1)", "interval takes start, end, got 1"),
        ("interval(a, b)", "expected a number, got 'a'"),
        ("interval(2, 1)", r"^hydra\.sweeper\.params\.x: low must be below high"),
        ("range(1, 8, 0)", "a step must be above 0"),
        ("choice(a, b", r"has no closing '\)'"),
        ("choice()", r"^hydra\.sweeper\.params\.x: choices must hold"),
    ],
)
def test_read__what_cannot_be_read__is_named_with_its_path(text: str, message: str) -> None:
    with pytest.raises(SearchSpaceError, match=message):
        override(text)


def test_load_space__file_of_params__is_read(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(
        "params:\n  +model.eta: tag(log, interval(0.001, 1))\n  model.rounds: range(100, 1000)\n"
    )
    assert dict(load_space(tmp_path / "params.yaml")) == {
        "+model.eta": Float(0.001, 1, log=True),
        "model.rounds": Int(100, 1000),
    }


def test_read__range_with_a_log_tag__is_logarithmic_with_a_word() -> None:
    read = read_space({"hydra": {"sweeper": {"params": {"x": "tag(log, range(10, 100000))"}}}})
    assert read.space["x"] == Int(10, 100_000, log=True)
    assert "draws this range evenly" in read.notes[0]


def test_read__function_that_suggests__is_refused_by_name() -> None:
    sweeper = {"params": {"x": "interval(0, 1)"}, "custom_search_space": "module.configure"}
    with pytest.raises(SearchSpaceError, match=r"^hydra\.sweeper\.custom_search_space: a function"):
        read_space({"hydra": {"sweeper": sweeper}})
