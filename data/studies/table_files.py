"""Files of tables: CSV, Parquet and JSON lines, read to columns of cells and written from them."""

from __future__ import annotations

import csv
import json
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from optformer.data.runtime.files import write_atomically
from optformer.data.studies.errors import DatasetError
from optformer.data.studies.extras import missing_extra
from optformer.data.studies.table_cells import Cell
from optformer.data.studies.yaml_json import parse_json

Columns = Mapping[str, Sequence[Cell]]
"""Name to the cells of a column, one a row."""

SUFFIXES = (".csv", ".jsonl", ".parquet")
"""How the names of tables end."""

_NESTED = ("params", "metrics", "config")  # objects of JSON lines that hold columns
_FORMULA = re.compile(r"'*[=+\-@\t\r]")  # how texts begin that a spreadsheet would compute
_GUARDED = re.compile(r"'+[=+\-@\t\r]")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")


def read_columns(path: Path) -> Columns:
    """Read a table; cells of CSV stay text, because "none" and "nan" may be choices.

    Raises:
        DatasetError: It cannot be read, or a row does not fit the header; the message names it.
        MissingExtraError: Parquet needs a package that is not installed.
    """
    try:
        if path.suffix == ".parquet":
            return _parquet(path)
        text = _decoded(path.read_bytes())
        return _json_lines(text) if path.suffix == ".jsonl" else _csv(text)
    except ImportError as error:
        raise missing_extra(str(path), "pyarrow") from error
    except (OSError, ValueError, csv.Error) as error:
        raise DatasetError(f"cannot read the study table {path}: {error}") from error


def write_columns(path: Path, columns: Columns) -> None:
    """Write a table in the format of its suffix.

    Raises:
        DatasetError: It cannot be written.
        MissingExtraError: Parquet needs a package that is not installed.
    """
    try:
        with write_atomically(path) as temporary:
            if path.suffix == ".parquet":
                import pyarrow as pa
                from pyarrow import parquet

                parquet.write_table(pa.table(dict(columns)), temporary)
            else:
                write = _to_json if path.suffix == ".jsonl" else to_csv
                temporary.write_text(write(columns), encoding="utf-8", newline="")
    except ImportError as error:
        raise missing_extra(str(path), "pyarrow") from error
    except OSError as error:
        raise DatasetError(f"cannot write {path}: {error.strerror}") from error


def _parquet(path: Path) -> Columns:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path, partitioning=None)
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error
    _check_names(table.column_names)
    return {name: table.column(name).to_pylist() for name in table.column_names}


def _decoded(content: bytes) -> str:
    """UTF-8, or the UTF-16 of spreadsheets, which has a mark in front."""
    encoding = "utf-16" if content[:2] in (BOM_UTF16_LE, BOM_UTF16_BE) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not in UTF-8: {error.reason}; save it in UTF-8") from None


def _json_lines(text: str) -> Columns:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f"line {number} holds no object but {line[:40]!r}")
        rows.append(dict(_flat(row)))
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _flat(row: Mapping[str, Any]) -> Iterable[tuple[str, Cell]]:
    for name, cell in row.items():
        if name in _NESTED and isinstance(cell, dict):
            yield from ((f"{name}.{key}", inner) for key, inner in cell.items())
        else:
            yield name, cell


def _csv(text: str) -> Columns:
    header = text.lstrip().partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    first: list[str] = next((row for row in reader if any(map(str.strip, row))), [])
    names = [_unguarded(name.strip()) for name in first]
    while names and not names[-1]:
        names.pop()
    _check_names([name for name in names if name])
    rows = []
    for row in reader:
        if not row:
            continue
        while len(row) > len(names) and not row[-1].strip():
            row.pop()
        if len(row) != len(names):
            raise ValueError(f"line {reader.line_num} has {len(row)} cells, not {len(names)}")
        if delimiter == ";":
            row = [c.replace(",", ".") if _DECIMAL_COMMA.fullmatch(c.strip()) else c for c in row]
        rows.append(row)
    return {name: [_unguarded(row[i]) for row in rows] for i, name in enumerate(names) if name}


def _check_names(names: Sequence[str]) -> None:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"there are two columns {twice[0]!r}")


def _to_json(columns: Columns) -> str:
    rows = zip(*columns.values(), strict=True)
    return "".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows)


def to_csv(columns: Columns) -> str:
    """A table as CSV.

    A text that a spreadsheet would compute gets an apostrophe in front, which `read_columns` takes
    away.
    """
    text = StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_guarded, columns))
    writer.writerows(map(_guarded, row) for row in zip(*columns.values(), strict=True))
    return text.getvalue()


def _guarded(cell: Cell) -> Cell:
    if not isinstance(cell, str) or not _FORMULA.match(cell):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell  # a number with its sign


def _unguarded(cell: str) -> str:
    return cell[1:] if _GUARDED.match(cell) else cell
