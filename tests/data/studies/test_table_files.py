"""Files of tables: what is read of them, and what is refused rather than read wrongly."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pandas as pd
import pytest

from optformer.data.studies.errors import DatasetError
from optformer.data.studies.table_files import read_columns, write_columns

PLAIN = {"x": ["0.1", "0.4"], "y": ["0.2", ""], "loss": ["0.3", "0.6"]}


@pytest.mark.parametrize(
    "text",
    [
        "x,y,loss\n0.1,0.2,0.3\n0.4,,0.6\n",
        "x,y,loss\n0.1,0.2,0.3,\n0.4,,0.6,\n",  # a comma at the end of each row
        "x,y,loss,\n0.1,0.2,0.3,\n0.4,,0.6,\n",
        "x,y,loss,,\r\n0.1,0.2,0.3\r\n\r\n0.4,,0.6\r\n",
        "\ufeffx, y,loss\n0.1,0.2,0.3\n0.4,,0.6",
        'x,"y",loss\n"0.1",0.2,0.3\n0.4,"",0.6\n',
        "x;y;loss\n0,1;0,2;0,3\n0,4;;0,6\n",  # a decimal comma
        "x\ty\tloss\n0.1\t0.2\t0.3\n0.4\t\t0.6\n",
        ",x,y,loss\n0,0.1,0.2,0.3\n1,0.4,,0.6\n",  # an index without a name
    ],
)
def test_read_columns__csv_of_any_dialect__gives_the_same_cells(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode())
    assert dict(read_columns(path)) == PLAIN


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,y,loss\n0.1,0.2,0.3,0.9\n", "line 2 has 4 cells, not 3"),  # would shift all columns
        ("x,y,loss\n0.1,0.2,0.3\n0.1,0.2\n", "line 3 has 2 cells, not 3"),  # cut short
        ("x,x,loss\n1,2,3\n", "two columns 'x'"),
        ('x,y,loss\n0.1,"0.2,0.3\n', "t.csv"),
        ("\xff\xfex", "t.csv"),
    ],
)
def test_read_columns__csv_that_does_not_fit__is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DatasetError, match=message):
        read_columns(path)


def test_read_columns__json_lines__keep_values_and_flatten_groups(tmp_path: Path) -> None:
    rows = [
        {"params": {"lr": 0.1, "layers": [64, 64]}, "metrics": {"acc": 0.5}, "note": None},
        {"params": {"lr": 1e-3}, "ok": True},
    ]
    path = tmp_path / "t.jsonl"
    path.write_text("\n\n".join(json.dumps(row) for row in rows))
    assert dict(read_columns(path)) == {
        "params.lr": [0.1, 1e-3],
        "params.layers": [[64, 64], None],
        "metrics.acc": [0.5, None],
        "note": [None, None],
        "ok": [None, True],
    }


TEXTS = ["=1+1", "+cmd|' /C calc'!A0", "-relu", "@SUM(A1)", "\t=1", "'=1", "''@x", "'plain", "a=b"]


def test_write_columns__texts_that_a_spreadsheet_would_compute__are_guarded_and_read_back(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t.csv"
    write_columns(path, {"=x": TEXTS, "n": ["-1", "+2", "-1e-3", *"abcdef"], "v": [-0.5] * 9})
    with path.open(newline="") as file:
        written = list(csv.reader(file))
    cells = [
        cell for row in written for cell in row if not cell.lstrip("+-").startswith(tuple("123.0"))
    ]
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)
    read = read_columns(path)
    assert read["=x"] == TEXTS
    assert read["n"][:3] == ["-1", "+2", "-1e-3"]
    assert read["v"] == ["-0.5"] * 9


@pytest.mark.parametrize("line", ["{broken", "5", "[1]"])
def test_read_columns__json_that_is_no_object__names_the_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(f'{{"x": 1}}\n{line}\n')
    with pytest.raises(DatasetError, match=r"cannot read the study table .*t\.jsonl: line 2"):
        read_columns(path)


def test_read_columns__parquet__gives_built_in_values(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame(
        {"x": [0.5, None], "n": [1, None], "kind": ["a", None], "on": [True, None]}
    )
    frame["n"] = frame["n"].astype("Int32")
    frame["kind"] = frame["kind"].astype("category")
    frame.to_parquet(tmp_path / "t.parquet")
    columns = read_columns(tmp_path / "t.parquet")
    assert dict(columns) == {
        "x": [0.5, None],
        "n": [1, None],
        "kind": ["a", None],
        "on": [True, None],
    }


def test_read_columns__damaged_or_missing__is_named(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    for name in ("t.parquet", "none.csv"):
        with pytest.raises(DatasetError, match=name):
            read_columns(tmp_path / name)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_write_columns__any_format__replaces_the_file_whole(tmp_path: Path, suffix: str) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"t{suffix}"
    path.write_text("before")
    write_columns(path, {"a": ["x\r\ny", 'q"'], "b": [0.1, None]})
    columns = read_columns(path)
    assert columns["a"] == ["x\r\ny", 'q"']
    assert columns["b"] in ([0.1, None], ["0.1", ""])
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    with pytest.raises(DatasetError, match="cannot write"):
        write_columns(path / "inside.csv", {"a": [1]})
