from __future__ import annotations

import os
from pathlib import Path

import pytest

from optformer.data.studies.errors import ConfigError, MetricError
from optformer.data.studies.parameters import Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig, Weighted
from optformer.serving.script import curve as curve_module
from optformer.serving.script import output
from optformer.serving.script.curve import Curve, CurveReader, create_curve_reader

SPACE = SearchSpace(x=Float(0, 1))
CONFIG = StudyConfig(space=SPACE, metric="loss", goal="minimize")


def opened(
    folder: Path, text: str | bytes = "", *, errors: str = "", steps: str | None = None
) -> Curve:
    """The curve of a script that has written so much."""
    (folder / "stdout.txt").write_bytes(text.encode() if isinstance(text, str) else text)
    (folder / "stderr.txt").write_text(errors)
    return create_curve_reader(CONFIG, step_pattern=steps).open(folder)


@pytest.mark.parametrize(
    ("text", "steps", "expected"),
    [
        ("loss: 3\nloss: 2\nloss: 1\n", None, {0: 3.0, 1: 2.0, 2: 1.0}),
        ("begin\nloss: nothing\nval_loss: 7\nloss=2\n", None, {0: 2.0}),
        ("train loss: 9\nloss: 3\ntrain loss: 8\nloss: 2\n", None, {0: 3.0, 1: 2.0}),
        ("train loss: 9\nval loss: 3\n", None, {}),  # nobody knows which is meant
        ("loss: nan\nloss: inf\nloss: -1e-3\n", None, {1: float("inf"), 2: -0.001}),
        ("\x1b[1mloss: 3\x1b[0m\rloss: 2\rloss: 1\n", None, {0: 3.0, 1: 2.0, 2: 1.0}),
        ("epoch 5 loss: 3\nepoch 7 loss: 2\n", r"epoch (\d+)", {5: 3.0, 7: 2.0}),
        (
            "loss: 9\nEpoch 1/3\n...\nloss: 3\nEpoch 2/3\nloss: 2\n",
            r"Epoch (\d+)",
            {1: 3.0, 2: 2.0},
        ),
        ("e1 loss: 3\ne1 loss: 2\ne2 loss: 1\ne1 loss: 0\n", r"e(\d)", {1: 3.0, 2: 1.0}),
        ("s=1.5 loss: 3\ns=-2 loss: 2\ns=1e2 loss: 1\ns=x loss: 0\n", r"s=(\S+)", {100: 1.0}),
        ("0 loss: 3\n", r"(?:(\d) loss|never)", {0: 3.0}),
    ],
)
def test_curve__what_is_printed__is_read_by_its_steps(
    text: str, steps: str | None, expected: dict[int, float], tmp_path: Path
) -> None:
    curve = opened(tmp_path, text, steps=steps).read()
    if "nan" in text:
        assert curve.pop(0) != 0
    assert curve == expected


def test_curve__unfinished_line__is_read_when_it_has_ended(tmp_path: Path) -> None:
    curve = opened(tmp_path, "loss: 3\nloss: 2")
    assert curve.read() == {0: 3.0}
    with (tmp_path / "stdout.txt").open("a") as file:
        file.write("5\nloss: 1")
    assert curve.read() == {0: 3.0, 1: 25.0}
    assert curve.read(to_end=True) == {0: 3.0, 1: 25.0, 2: 1.0}


def test_curve__metric_on_standard_error__read_there_unless_the_other_has_it(
    tmp_path: Path,
) -> None:
    assert opened(tmp_path, "hello\n", errors="loss: 5\n").read() == {0: 5.0}
    assert opened(tmp_path, "loss: 4\n", errors="loss: 5\n").read() == {0: 4.0}


def test_curve__output_in_pieces__is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "".join(f"epoch {i} größe, loss: {i / 8}\n" for i in range(99)) + "loss: 7"
    whole = opened(tmp_path, text).read(to_end=True)
    monkeypatch.setattr(curve_module, "_PIECE_BYTES", 64)
    pieces = opened(tmp_path, text)
    assert len(pieces.read()) < 10
    assert pieces.read(to_end=True) == whole
    assert len(whole) == 100


def test_curve__long__two_significant_figures_of_steps_are_kept(tmp_path: Path) -> None:
    steps = list(opened(tmp_path, "loss: 1\n" * 20_000).read(to_end=True))
    assert steps == [
        *range(100),
        *range(100, 1000, 10),
        *range(1000, 10_000, 100),
        *range(10_000, 20_000, 1000),
    ]


def test_curve__output_whose_middle_is_left_out__goes_on_at_its_end(tmp_path: Path) -> None:
    curve = opened(tmp_path, "loss: 3\n" * 9)
    assert len(curve.read()) == 9
    (tmp_path / "stdout.txt").write_text("loss: 3\n[... left out ...]\n")
    assert len(curve.read()) == 9
    with (tmp_path / "stdout.txt").open("a") as file:
        file.write("loss: 2\n")
    assert curve.read()[9] == 2.0


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_curve__output_made_into_something_else__says_nothing(make: object, tmp_path: Path) -> None:
    curve = opened(tmp_path, "loss: 3\n")
    (tmp_path / "stdout.txt").unlink()
    make(tmp_path / "stdout.txt")  # type: ignore[operator]
    assert curve.read() == {}
    assert curve.read(to_end=True) == {}


def test_curve__pattern_that_backtracks__is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "PATTERN_SECONDS", 0.2)
    (tmp_path / "stdout.txt").write_text("a" * 60 + "\n")
    for reader in (
        create_curve_reader(CONFIG, pattern=r"(a|a|aa)+b"),
        create_curve_reader(CONFIG, step_pattern=r"(a|a|aa)+b"),
    ):
        with pytest.raises(MetricError, match=r"pattern '\(a\|a\|aa\)\+b' took longer than 0.2 s"):
            reader.open(tmp_path).read()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step_pattern": "epoch"}, "step pattern 'epoch' must have one group, around the number"),
        ({"step_pattern": "("}, r"step pattern '\(' is no regular expression"),
        ({"pattern": "x"}, "metric pattern 'x' must have one group"),
        ({"file": "r.json"}, "give no metric file"),
    ],
)
def test_create_curve_reader__no_good__says_what_is(options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create_curve_reader(CONFIG, **options)


def test_create_curve_reader__several_metrics__refused() -> None:
    weighted = StudyConfig(space=SPACE, metric=Weighted({"a": 1.0, "b": 2.0}), goal="minimize")
    with pytest.raises(
        ConfigError, match=r"compares one metric, but the study weighs \['a', 'b'\]"
    ):
        create_curve_reader(weighted)


def test_create_curve_reader__metric_pattern__is_the_curve(tmp_path: Path) -> None:
    (tmp_path / "stdout.txt").write_text("3 -> 0.5, 4 -> 0.25\nx -> y\n")
    reader = create_curve_reader(CONFIG, pattern=r"-> (\S+?),?(?:\s|$)")
    assert isinstance(reader, CurveReader)
    assert reader.open(tmp_path).read() == {0: 0.5, 1: 0.25}
