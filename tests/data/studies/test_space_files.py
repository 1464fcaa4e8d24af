"""Search spaces in YAML and JSON files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal
from optformer.data.studies.space_files import load_space, save_space
from optformer.data.studies.spaces import SearchSpace

TRICKY = SearchSpace(
    {
        "num.impute": Categorical(["on", "yes", "1e-6", "010", "2020-01-01", "~", "null", "größe"]),
        "flag": Categorical([True, False, None, 1.5, -3]),
        "lr": Float(1e-6, 1e-1, log=True, description="learning rate: log scale # not a comment"),
        "drop": Float(0.0, 1.0, step=0.1, when={"flag": [True], "num.impute": ["on", "1e-6"]}),
        "layers": Int(1, 8),
        "size": Ordinal([16, 32, 64]),
    }
)


@pytest.mark.parametrize("name", ["space.yaml", "space.yml", "space.json", "SPACE.YAML"])
def test_save_space__tricky_texts__read_back_equal(tmp_path: Path, name: str) -> None:
    save_space(TRICKY, tmp_path / name)
    assert load_space(str(tmp_path / name)) == TRICKY


def test_load_space__yaml_as_people_write_it__reads_numbers_as_numbers(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(
        """
# a comment
lr: {type: float, low: 1e-6, high: 1E-1, log: true}
decay: {type: float, low: .5, high: 1.}
width: {type: int, low: -2, high: +08}
switch: {type: categorical, choices: [on, off, no, true, 1e3, null, 12:30:45]}
momentum:
  type: float
  low: 0
  high: 0.99
  when:
    switch:
    - on
"""
    )
    space = load_space(path)
    assert space["lr"] == Float(1e-6, 0.1, log=True)
    assert space["decay"] == Float(0.5, 1.0)
    assert space["width"] == Int(-2, 8)
    assert space["switch"] == Categorical(["on", "off", "no", True, 1000.0, None, "12:30:45"])
    assert space["momentum"].when == {"switch": ("on",)}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("s.yaml", "lr: {type: float, low: abc, high: 1}", r"s\.yaml: parameter 'lr': low must be"),
        ("s.yaml", "lr: {type: float, low: '1e-6', high: 1}", "'lr': low must be a number"),
        ("s.yaml", "lr: {type: float, low: 0}", "'lr': field 'high' is missing"),
        ("s.yaml", "lr: {type: float, low: 0, high: .inf}", "'lr': high must be a number"),
        ("s.yaml", "lr: {type: float, low: 0, high: 1}\nlr: {type: int}", "'lr' is given twice"),
        ("s.yaml", "1: {type: float, low: 0, high: 1}", "name must be text, got 1; quote it"),
        ("s.yaml", "? [a]\n: {type: float}", "a key must be text"),
        ("s.yaml", "- a\n- b", "must map names to parameters, got list"),
        ("s.yaml", "", "must map names to parameters, got NoneType"),
        ("s.yaml", "lr: {type: float", r"s\.yaml is not a readable \.yaml file"),
        ("s.yaml", "lr: !!python/name:os.system {}", r"not a readable \.yaml file"),
        ("s.json", '{"lr": {"type": "float", "low": 0}', r"not a readable \.json file"),
        ("s.json", '{"lr": {"type": "float", "low": 0, "low": 1}}', "'low' is given twice"),
        ("s.json", '{"lr": {"type": "float", "low": NaN, "high": 1}}', "'lr': low must be finite"),
        ("s.toml", "", r"must end in one of .*got 's\.toml'"),
    ],
)
def test_load_space__wrong_file__names_file_parameter_and_field(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(SearchSpaceError, match=message):
        load_space(path)


def test_load_space__no_file_or_not_text__is_refused(tmp_path: Path) -> None:
    with pytest.raises(SearchSpaceError, match="cannot read search space"):
        load_space(tmp_path / "absent.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"lr: \xff")
    with pytest.raises(SearchSpaceError, match="not a readable"):
        load_space(tmp_path / "latin.yaml")


def test_save_space__no_such_folder__is_refused(tmp_path: Path) -> None:
    with pytest.raises(SearchSpaceError, match="cannot write search space"):
        save_space(TRICKY, tmp_path / "absent" / "space.yaml")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are of POSIX")
def test_load_space__pipe__is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "space.yaml")
    with pytest.raises(SearchSpaceError, match="no regular file"):
        load_space(tmp_path / "space.yaml")
