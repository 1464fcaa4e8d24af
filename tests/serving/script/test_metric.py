from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from optformer.data.studies.errors import ConfigError, MetricError
from optformer.data.studies.parameters import Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig, Weighted
from optformer.serving.script.metric import Reading, create_reader

SPACE = SearchSpace(lr=Float(0, 1))


def read_all(
    out: Path,
    metric: str | Weighted = "accuracy",
    pattern: str | None = None,
    file: str | None = None,
) -> dict[str, Reading]:
    config = StudyConfig(SPACE, metric, "maximize")
    return create_reader(config, pattern=pattern, file=file).read(out, 0)


def read(
    stdout: str,
    tmp_path: Path,
    metric: str | Weighted = "accuracy",
    pattern: str | None = None,
    file: str | None = None,
    stderr: str = "",
) -> dict[str, float]:
    (tmp_path / "stdout.txt").write_bytes(stdout.encode("utf-8", "surrogateescape"))
    (tmp_path / "stderr.txt").write_bytes(stderr.encode())
    readings = read_all(tmp_path, metric, pattern, file)
    return {name: reading.value for name, reading in readings.items()}


def test_output_reader__metric__read_with_its_source(tmp_path: Path) -> None:
    stdout = "epoch 1 - accuracy: 0.5\nepoch 2 - accuracy: 0.6\nfinal: accuracy: \x1b[1m0.7\x1b[0m"
    assert read(stdout, tmp_path) == {"accuracy": 0.7}
    (reading,) = read_all(tmp_path).values()
    assert reading.source == (
        "line 3 of stdout.txt: 'final: accuracy: 0.7' (line 2 reports it in another way: "
        "'epoch 2 - accuracy: 0.6')"
    )


@pytest.mark.parametrize(
    ("stdout", "expected"),
    [
        ("\udce4 accuracy: 1\n", 1.0),
        ("accuracy: \u22120.5", -0.5),
        ("accuracy: -inf", -math.inf),
        ("accuracy: " + "9" * 400, math.inf),
    ],
)
def test_output_reader__odd_output__read(stdout: str, expected: float, tmp_path: Path) -> None:
    assert read(stdout, tmp_path) == {"accuracy": expected}


@pytest.mark.parametrize("text", ["nan", "NaN", "-nan"])
def test_output_reader__nan__is_read(text: str, tmp_path: Path) -> None:
    assert math.isnan(read(f"accuracy: {text}\n", tmp_path)["accuracy"])


def test_output_reader__on_standard_error_alone__read_there(tmp_path: Path) -> None:
    assert read("hello", tmp_path, stderr="INFO:root:accuracy: 0.8\n") == {"accuracy": 0.8}
    (reading,) = read_all(tmp_path).values()
    assert reading.source == "line 1 of stderr.txt: 'INFO:root:accuracy: 0.8'"
    assert read("accuracy: 0.7", tmp_path, stderr="accuracy: 0.8\n") == {"accuracy": 0.7}


@pytest.mark.parametrize("stdout", ["", "done\n", "accuracy 0.93\n", "val_accuracy: 0.9\n"])
def test_output_reader__no_metric__names_it(stdout: str, tmp_path: Path) -> None:
    with pytest.raises(MetricError, match=r"'accuracy' was not printed: .*'accuracy: 0.93'"):
        read(stdout, tmp_path)


@pytest.mark.parametrize("printed", ["1,234.5", "2024-05-06", "12:30", "93/100", "5fold"])
def test_output_reader__no_plain_number__quotes_the_line(printed: str, tmp_path: Path) -> None:
    with pytest.raises(
        MetricError, match=rf"not printed as a plain number: line 2 of .* is 'accuracy: {printed}'"
    ):
        read(f"accuracy: 0.5\naccuracy: {printed}\n", tmp_path)


def test_output_reader__name_with_special_characters__taken_literally(tmp_path: Path) -> None:
    assert read("valXacc@1: 1\nval.acc@1 = 2\n", tmp_path, "val.acc@1") == {"val.acc@1": 2.0}


def test_output_reader__weighted__reads_every_metric(tmp_path: Path) -> None:
    metric = Weighted(accuracy=1.0, seconds=-0.1)
    stdout = "seconds: 3\naccuracy: 0.5\nseconds: 4\n"
    assert read(stdout, tmp_path, metric) == {"accuracy": 0.5, "seconds": 4.0}
    with pytest.raises(MetricError, match="'seconds' was not printed"):
        read("accuracy: 0.5\n", tmp_path, metric)


def test_output_reader__pattern__reads_its_group(tmp_path: Path) -> None:
    pattern = r"test score is (\S+)"
    assert read("test score is 5\ntest score is 7\n", tmp_path, pattern=pattern) == {
        "accuracy": 7.0
    }
    with pytest.raises(MetricError, match="must be a number, got 'good'"):
        read("test score is good\n", tmp_path, pattern=pattern)
    with pytest.raises(MetricError, match="no line matches"):
        read("accuracy: 1\n", tmp_path, pattern=pattern)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_output_reader__output_made_into_something_else__an_error_at_once(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    make(tmp_path / "stdout.txt")
    with pytest.raises(MetricError, match=r"stdout.txt cannot be read: "):
        read_all(tmp_path)


@pytest.mark.parametrize(
    ("metric", "pattern", "file", "message"),
    [
        ("a", "(", None, "no regular expression"),
        ("a", "x", None, "one group.*got 0"),
        ("a", "(x)(y)", None, "one group.*got 2"),
        ("a", "(x)", "r.json", "leave one out"),
        (Weighted(a=1, b=1), "(x)", None, "reads one metric"),
        ("a", None, "/tmp/r.json", "shared by all trials"),
        ("a", None, "../r.json", "shared by all trials"),
        ("a", None, "{lr}.json", "unknown placeholder"),
    ],
)
def test_create_reader__bad_options__refused(
    metric: str | Weighted, pattern: str | None, file: str | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        create_reader(StudyConfig(SPACE, metric, "maximize"), pattern=pattern, file=file)


@pytest.mark.parametrize(
    ("written", "name", "expected"),
    [
        ({"accuracy": 0.5, "loss": 2}, "accuracy", 0.5),
        ({"val": {"acc": {"top1": 1}}}, "val.acc.top1", 1.0),
        ({"val.acc": 3, "val": {"acc": 4}}, "val.acc", 3.0),
        ({"accuracy": "0.25"}, "accuracy", 0.25),
        ({"accuracy": 10**400}, "accuracy", math.inf),
        ({"accuracy": -(10**5000)}, "accuracy", -math.inf),
    ],
)
def test_file_reader__metric_in_file__reads_it(
    written: object, name: str, expected: float, tmp_path: Path
) -> None:
    sys.set_int_max_str_digits(0)
    (tmp_path / "r.json").write_text(json.dumps(written))
    sys.set_int_max_str_digits(sys.int_info.default_max_str_digits)
    assert read("", tmp_path, name, file="r.json") == {name: expected}


def test_file_reader__nan__is_read(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text('{"accuracy": NaN}')
    assert math.isnan(read("", tmp_path, file="{out}/r.json")["accuracy"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "r.json was not written"),
        ('{"val": {"acc": 1}, "val": {"acc": 2}}', "holds 'val' twice"),
        ('{"val": {"acc": 1, "acc": 1}}', "holds 'acc' twice"),
        ("[" * 100_000, "nested too deep"),
        ('{"val": {"acc": ' + "[" * 300 + "]" * 300 + "}}", r"must be a number, got \[\["),
        ('{"val": {"acc": "' + "x" * 100_000 + '"}}', r"got 'xxx.* \(\d+ characters\) .*xxx'$"),
        ('{"val": {"acc": "\\u001b[2J"}}', r"got '\\x1b\[2J'"),
        ('{"\\u0000": 1}', "no 'val' in"),
        ("{", "cannot be read"),
        ("[1]", "no 'val' in list"),
        ('{"val": 1}', "no 'acc' in float"),
        ('{"val": {"loss": 1}}', r"'val.acc' is not in .*: no 'acc' in \['loss'\]"),
        ('{"val": {"acc": true}}', "must be a number, got True"),
        ('{"val": {"acc": null}}', "must be a number, got None"),
        ('{"val": {"acc": "high"}}', "must be a number, got 'high'"),
    ],
)
def test_file_reader__no_metric__says_why(text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "r.json").write_text(text)
    with pytest.raises(MetricError, match=message):
        read("", tmp_path, "val.acc", file="r.json")


def test_file_reader__weighted__needs_every_metric(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text('{"a": 1, "b": {"c": 2}}')
    assert read("", tmp_path, Weighted({"a": 1, "b.c": 2}), file="r.json") == {"a": 1.0, "b.c": 2.0}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkfifo, "is no regular file"),
        (os.mkdir, "Is a directory"),
        (lambda path: os.symlink("/dev/zero", path), "is no regular file"),
        (lambda path: os.symlink(path, path), "symbolic links"),
        (lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_RDWR), 1 << 40), "holds more"),
    ],
)
def test_file_reader__no_ordinary_file__an_error_at_once(
    make: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    make(tmp_path / "r.json")
    with pytest.raises(MetricError, match=rf"r.json cannot be read: .*{message}"):
        read_all(tmp_path, file="r.json")


def test_file_reader__link_to_a_file__is_followed(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text('{"accuracy": 0.5}')
    (tmp_path / "r.json").symlink_to(tmp_path / "real.json")
    (reading,) = read_all(tmp_path, file="r.json").values()
    assert reading == Reading(0.5, f"file {tmp_path / 'r.json'}")
