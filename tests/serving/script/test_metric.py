from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from optformer.data.studies.errors import ConfigError, MetricError
from optformer.data.studies.parameters import Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig, Weighted
from optformer.serving.script.metric import create_reader

SPACE = SearchSpace(lr=Float(0, 1))


def read(
    stdout: str,
    tmp_path: Path,
    metric: str | Weighted = "accuracy",
    pattern: str | None = None,
    file: str | None = None,
) -> dict[str, float]:
    config = StudyConfig(SPACE, metric, "maximize")
    path = tmp_path / "stdout.txt"
    path.write_bytes(stdout.encode())
    return create_reader(config, pattern=pattern, file=file).read(path, number=0, out=tmp_path)


@pytest.mark.parametrize(
    ("stdout", "expected"),
    [
        ("accuracy: 0.93\n", 0.93),
        ("accuracy=0.93", 0.93),
        ("Accuracy : 93%\n", 93.0),
        ("accuracy: 0.5\naccuracy: 0.7\nbye\n", 0.7),
        ("accuracy: 0.5, accuracy: 0.7\n", 0.7),
        ("epoch 3 - loss: 0.1 - accuracy: 0.8 - val_accuracy: 0.6\n", 0.8),
        ('{"loss": 1, "accuracy": 8.5e-1}\n', 0.85),
        ("{'accuracy': .5}\n", 0.5),
        ("accuracy: 0.93.\n", 0.93),
        ("accuracy: -1e3\n", -1000.0),
        ("accuracy: +5.\n", 5.0),
        ("10%\raccuracy: 0.4\r20%\raccuracy: 0.6\r", 0.6),
        ("accuracy: 0.5\naccuracy: unknown\n", 0.5),
        ("accuracy: -inf\n", -math.inf),
        ("\udce4 accuracy: 1\n".encode("utf-8", "surrogateescape").decode("latin-1"), 1.0),
    ],
)
def test_output_reader__line_with_metric__reads_the_last(
    stdout: str, expected: float, tmp_path: Path
) -> None:
    assert read(stdout, tmp_path) == {"accuracy": expected}


@pytest.mark.parametrize("text", ["nan", "NaN", "-nan"])
def test_output_reader__nan__is_read(text: str, tmp_path: Path) -> None:
    assert math.isnan(read(f"accuracy: {text}\n", tmp_path)["accuracy"])


@pytest.mark.parametrize(
    "stdout",
    [
        "",
        "done\n",
        "accuracy 0.93\n",
        "val_accuracy: 0.9\n",
        "val/accuracy: 0.9\n",
        "accuracy_top5: 0.9\n",
        "accuracy: 1,234.5\n",
        "accuracy: 12,345\n",
        "accuracy: 1.2.3\n",
        "accuracy: 5fold\n",
        "accuracy: nano\n",
        "accuracy:\n0.9\n",
    ],
)
def test_output_reader__no_metric__names_it(stdout: str, tmp_path: Path) -> None:
    with pytest.raises(MetricError, match=r"'accuracy' was not printed: .*'accuracy: 0.93'"):
        read(stdout, tmp_path)


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
    with pytest.raises(MetricError, match="no line of standard output matches"):
        read("accuracy: 1\n", tmp_path, pattern=pattern)


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
    ],
)
def test_file_reader__metric_in_file__reads_it(
    written: object, name: str, expected: float, tmp_path: Path
) -> None:
    (tmp_path / "r.json").write_text(json.dumps(written))
    assert read("", tmp_path, name, file="r.json") == {name: expected}


def test_file_reader__nan__is_read(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text('{"accuracy": NaN}')
    assert math.isnan(read("", tmp_path, file="{out}/r.json")["accuracy"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "r.json was not written"),
        ("{", "cannot be read"),
        ("[1]", "no 'val' in list"),
        ('{"val": 1}', "no 'acc' in int"),
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
