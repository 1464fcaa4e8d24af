"""The points in a table of trials: columns of cells as legal values of the parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from optformer.data.studies.encoding import encode_value
from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.parameters import Parameter, Value
from optformer.data.studies.spaces import SearchSpace, is_among
from optformer.data.studies.table_cells import Cell, is_empty, read_value

Array = NDArray[np.float64]


@dataclass(frozen=True)
class _Column:
    """N cells of one parameter; each of the C distinct ones is read once.

    Attributes:
        codes: Which distinct cell is in each row, int64, (N,).
        values: The legal value of each distinct cell, None where there is none.
        faults: What is wrong with each distinct cell, None where nothing is.
        empty: Distinct cells in which no value is written, bool, (C,).
    """

    codes: NDArray[np.int64]
    values: list[Value]
    faults: list[str | None]
    empty: NDArray[np.bool_]


class TablePoints:
    """N points of a space as they are written in the columns of a table.

    Args:
        space: The space.
        cells: Cells of each parameter, N of each.
    """

    def __init__(self, space: SearchSpace, cells: Mapping[str, Sequence[Cell]]) -> None:
        self.space = space
        self._columns = {name: _read_column(space[name], cells[name]) for name in space}
        self._active = _active(space, self._columns)

    def point(self, row: int) -> dict[str, Value]:
        """The active part of a row; legal where `fault` finds nothing."""
        return {
            name: column.values[column.codes[row]]
            for name, column in self._columns.items()
            if self._active[name][row]
        }

    def fault(self, row: int) -> str | None:
        """What keeps a row from being a legal point, None when nothing does."""
        for name, column in self._columns.items():
            fault = column.faults[column.codes[row]]
            if fault is not None and self._active[name][row]:
                return f"parameter {name!r}: {fault}"
        return None

    @cached_property
    def incomplete(self) -> NDArray[np.bool_]:
        """Rows that lack the value of an active parameter, (N,)."""
        lacking = [
            self._active[name] & column.empty[column.codes]
            for name, column in self._columns.items()
        ]
        rows: NDArray[np.bool_] = np.any(lacking, axis=0)
        return rows

    @cached_property
    def illegal(self) -> NDArray[np.bool_]:
        """Rows in which `fault` finds something, (N,)."""
        wrong = [
            self._active[name] & np.array([f is not None for f in column.faults])[column.codes]
            for name, column in self._columns.items()
        ]
        rows: NDArray[np.bool_] = np.any(wrong, axis=0)
        return rows

    @cached_property
    def encoded(self) -> Array:
        """All points as by `encode_point`, NaN where a value is not legal, too; (N, P)."""
        slots = []
        for name, column in self._columns.items():
            numbers = [
                math.nan if fault is not None else encode_value(self.space[name], value)
                for value, fault in zip(column.values, column.faults, strict=True)
            ]
            slots.append(np.where(self._active[name], np.array(numbers)[column.codes], np.nan))
        return np.stack(slots, -1)


def _read_column(parameter: Parameter, cells: Sequence[Cell]) -> _Column:
    distinct: dict[tuple[type, str], int] = {}  # text tells True from 1, and lists can be keys
    codes = np.empty(len(cells), dtype=np.int64)
    values: list[Value] = []
    faults: list[str | None] = []
    empty: list[bool] = []
    for row, cell in enumerate(cells):
        key = type(cell), cell if isinstance(cell, str) else repr(cell)
        code = distinct.setdefault(key, len(distinct))
        codes[row] = code
        if code < len(values):
            continue
        try:
            value, fault = read_value(parameter, cell), None
        except SearchSpaceError as error:
            value, fault = None, str(error)
        values.append(value)
        faults.append(fault)
        empty.append(fault is not None and is_empty(cell))
    return _Column(codes, values, faults, np.array(empty, dtype=np.bool_))


def _active(space: SearchSpace, columns: Mapping[str, _Column]) -> dict[str, NDArray[np.bool_]]:
    """Whether each parameter takes part in each row, (N,) each; parents come first."""
    active: dict[str, NDArray[np.bool_]] = {}
    for name, parameter in space.items():
        active[name] = np.ones(len(columns[name].codes), dtype=np.bool_)
        for parent, allowed in (parameter.when or {}).items():
            column = columns[parent]
            met = [
                fault is None and is_among(value, allowed)
                for value, fault in zip(column.values, column.faults, strict=True)
            ]
            active[name] &= active[parent] & np.array(met, dtype=np.bool_)[column.codes]
    return active
