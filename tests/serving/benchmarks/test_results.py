"""Result shards: what is written is read, and what is broken is named."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest

from optformer.data.studies.errors import MissingExtraError, StorageError
from optformer.serving.benchmarks import results
from optformer.serving.benchmarks.results import (
    Reference,
    Row,
    RunKey,
    find_runs,
    has_reference,
    read_reference,
    read_run,
    write_reference,
    write_run,
)

REFERENCE = Reference("minimize", 0.5, None, 0.1, False)
KEY = RunKey("own-start", "toy", "line", "tpe", 3)
ROWS = [
    Row(0, {"x": 1e-300, "kind": "a", "on": True, "none": None}, 0.1 + 0.2, "completed", None, 0.5),
    Row(1, {"x": 2.0}, None, "failed", "out of memory", None),
    Row(2, {}, None, "method-failed", "ValueError: no", None),
]


def test_run__written__is_read_back_exactly(tmp_path: Path) -> None:
    write_run(tmp_path, KEY, "v1", ROWS)
    run = read_run(tmp_path, KEY)
    assert (run.key, run.version, list(run.rows)) == (KEY, "v1", ROWS)
    assert run.method_failed
    assert len(run.trials) == 2
    assert find_runs(tmp_path) == [KEY]


def test_run__written_again__leaves_one_file(tmp_path: Path) -> None:
    write_run(tmp_path, KEY, "v1", ROWS)
    write_run(tmp_path, KEY, "v1", ROWS[:1])
    assert len(read_run(tmp_path, KEY).rows) == 1
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["seed-3.parquet"]


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_run__cut_file__is_named(tmp_path: Path, keep: int) -> None:
    write_run(tmp_path, KEY, "v1", ROWS)
    path = KEY.path(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(StorageError, match=r"line/tpe/seed-3\.parquet: .*delete this file"):
        read_run(tmp_path, KEY)


def test_run__in_the_wrong_place__is_named(tmp_path: Path) -> None:
    write_run(tmp_path, KEY, "v1", ROWS)
    moved = RunKey("own-start", "toy", "line", "tpe", 4)
    KEY.path(tmp_path).rename(moved.path(tmp_path))
    with pytest.raises(StorageError, match=r"seed-4\.parquet: it holds a row of .*'line', 3"):
        read_run(tmp_path, moved)


def test_run__missing_trial__is_named(tmp_path: Path) -> None:
    write_run(tmp_path, KEY, "v1", [ROWS[0], ROWS[2]])
    with pytest.raises(StorageError, match="row 1 is trial 2"):
        read_run(tmp_path, KEY)


def test_run__no_trial__is_named(tmp_path: Path) -> None:
    write_run(tmp_path, KEY, "v1", [])
    with pytest.raises(StorageError, match="holds no trial"):
        read_run(tmp_path, KEY)


def test_run__other_columns__are_named(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    KEY.path(tmp_path).parent.mkdir(parents=True)
    parquet.write_table(pyarrow.table({"a": [1]}), KEY.path(tmp_path))
    with pytest.raises(
        StorageError, match=r"seed-3\.parquet: its format version is none.* reads 1"
    ):
        read_run(tmp_path, KEY)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({results._FORMAT_KEY: "2"}, r"seed-3\.parquet: its format version is 2.* reads 1"),
        ({results._FORMAT_KEY: "1"}, r"seed-3\.parquet: it has the columns \['suite', 'task'"),
    ],
)
def test_run__other_format__is_named(
    tmp_path: Path, metadata: dict[bytes, str], message: str
) -> None:
    from pyarrow import parquet

    write_run(tmp_path, KEY, "v1", ROWS)
    table = parquet.read_table(KEY.path(tmp_path)).drop_columns(["protocol"])
    parquet.write_table(table.replace_schema_metadata(metadata), KEY.path(tmp_path))
    with pytest.raises(StorageError, match=message):
        read_run(tmp_path, KEY)


@pytest.mark.parametrize("text", ["{", "[1, 2]", "3"])
def test_run__parameters_that_are_none__are_named(tmp_path: Path, text: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    write_run(tmp_path, KEY, "v1", ROWS[:1])
    table = parquet.read_table(KEY.path(tmp_path))
    place = table.column_names.index("params")
    parquet.write_table(
        table.set_column(place, table.schema.field("params"), pyarrow.array([text])),
        KEY.path(tmp_path),
    )
    with pytest.raises(StorageError, match=r"seed-3\.parquet: it holds no parameters of a trial"):
        read_run(tmp_path, KEY)


def test_run__all_shards_of_a_folder__read_as_one_table(tmp_path: Path) -> None:
    batches = RunKey("own-start-batch-4", "toy", "line", "tpe", 0)
    for key in (KEY, batches):
        write_run(tmp_path, key, "v1", ROWS[:2])
    table = pd.read_parquet(tmp_path)
    assert sorted(table["protocol"]) == ["own-start"] * 2 + ["own-start-batch-4"] * 2
    assert set(table["seed"]) == {0, 3}


def test_find_runs__strange_name__is_named(tmp_path: Path) -> None:
    path = tmp_path / "own-start" / "toy" / "line" / "tpe" / "copy.parquet"
    path.parent.mkdir(parents=True)
    path.touch()
    with pytest.raises(StorageError, match=r"copy\.parquet: its name is not seed-"):
        find_runs(tmp_path)


def test_results__pyarrow_missing__name_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"optformer\[benchmark\]"):
        write_run(tmp_path, KEY, "v1", ROWS)


def test_reference__written__is_read_back(tmp_path: Path) -> None:
    reference = replace(REFERENCE, best_random=0.1 + 0.2)
    assert not has_reference(tmp_path, "toy", "live")
    write_reference(tmp_path, "toy", "live", reference)
    assert has_reference(tmp_path, "toy", "live")
    assert read_reference(tmp_path, "toy", "live") == reference


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"goal": "minimize"}',
        json.dumps({**asdict(REFERENCE), "goal": "min"}),
        json.dumps(asdict(replace(REFERENCE, median=math.nan))),
    ],
)
def test_reference__broken__is_named(tmp_path: Path, text: str) -> None:
    write_reference(tmp_path, "toy", "live", REFERENCE)
    (tmp_path / "references" / "toy" / "live.json").write_text(text)
    with pytest.raises(StorageError, match=r"references/toy/live\.json"):
        read_reference(tmp_path, "toy", "live")
