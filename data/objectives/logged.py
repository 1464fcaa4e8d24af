"""Tables of finished trials as objectives: a point's value is that of the nearest logged point.

A table is a Parquet, CSV (`.csv`) or JSON lines (`.jsonl`) file with one row a trial, beside a file
of its search space: `name.csv` and `name.space.yaml`. A column is a parameter's when it has its
name; further columns are the metric, empty where the trial failed, and optionally the task, so that
one table may hold many. What else a table holds is ignored, and so is a parameter's cell where its
condition is off.

The distance between two points is Gower's (1971), summed over the parameters: for numbers and
ordinals the difference on the unit interval (of logarithms where the space says so), for
categoricals 0 or 1, for a parameter that is active in one point only 1, and in neither 0. Of points
equally near the first in the table counts; repeated points are averaged.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optformer.data.objectives.base import Objective
from optformer.data.studies.encoding import encode_point
from optformer.data.studies.errors import (
    ConfigError,
    MissingExtraError,
    ObjectiveError,
    SearchSpaceError,
)
from optformer.data.studies.parameters import Categorical, Float, Int, Value
from optformer.data.studies.space_files import load_space
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import Goal, StudyConfig
from optformer.data.studies.trials import Trial

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
_Row = tuple[dict[str, Value], float]  # a point and its value

_SUFFIXES = (".parquet", ".csv", ".jsonl")
_SPACE_SUFFIXES = (".space.yaml", ".space.yml", ".space.json")
_TASK_COLUMNS = ("dataset", "task")
_SINGLE = 1e-6  # single precision may move a value past its bound by this share


@dataclass(frozen=True)
class NearestTrial:
    """The value of the nearest logged point.

    Attributes:
        space: What was searched.
        points: Distinct points, shape (N, P): place on the unit interval, index of the choice, or
            NaN where inactive.
        values: Mean metric of each, NaN where all its trials failed; shape (N,).
    """

    space: SearchSpace
    points: Array
    values: Array

    def __call__(self, params: Mapping[str, Value]) -> float:
        """Value at a legal point.

        Raises:
            ObjectiveError: The nearest logged trial failed.
        """
        nearest = int(np.argmin(self.distances(params)))
        if math.isnan(self.values[nearest]):
            raise ObjectiveError("the nearest logged trial failed")
        return float(self.values[nearest])

    def distances(self, params: Mapping[str, Value]) -> Array:
        """Distance of a legal point to every logged one, shape (N,)."""
        place = encode_point(self.space, params)
        gap = np.abs(self.points - place)
        choice = [isinstance(parameter, Categorical) for parameter in self.space.values()]
        gap[:, choice] = gap[:, choice] > 0
        off, off_here = np.isnan(self.points), np.isnan(place)
        gap = np.where(off & off_here, 0.0, np.where(off ^ off_here, 1.0, gap))
        total: Array = gap.sum(axis=1)
        return total


@dataclass(frozen=True)
class _Table:
    path: Path
    space: SearchSpace
    frame: pd.DataFrame
    task_column: str | None

    @property
    def cells(self) -> list[Any]:
        """The distinct cells of the task column; one None where there is none."""
        if self.task_column is None:
            return [None]
        distinct: list[Any] = self.frame[self.task_column].unique().tolist()
        return distinct


class LoggedStudies:
    """The tasks that one's own study tables hold.

    A task is called `<table>-<task>-<metric>`, with `-` for characters that no file name should
    have; a table without a task column is one task, `<table>-<metric>`.

    Args:
        path: A table, or a folder of them.
        metric: Column of the metric.
        goal: Its direction.
        task_column: Column that tells the tasks of a table apart; None takes `dataset` or `task`
            where a table has it.

    Raises:
        ConfigError: There is no table, one cannot be read, or a column is missing.
        SearchSpaceError: A space file cannot be read.
        MissingExtraError: Parquet needs a package that is not installed.
    """

    def __init__(
        self, path: Path, *, metric: str, goal: Goal, task_column: str | None = None
    ) -> None:
        self._metric, self._goal = metric, goal
        self._tasks: dict[str, tuple[_Table, Any]] = {}
        for file in _find(path):
            table = _open(file, metric, task_column)
            for cell in table.cells:
                parts = [file.stem, metric] if cell is None else [file.stem, str(cell), metric]
                name = re.sub(r"[^A-Za-z0-9._]+", "-", "-".join(parts)).strip("-.")
                if name in self._tasks:
                    raise ConfigError(f"{path}: two tasks would be called {name!r}; rename one")
                self._tasks[name] = table, cell

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tasks."""
        return tuple(self._tasks)

    def objective(self, name: str) -> Objective:
        """One task; its optimum is the best logged value.

        Raises:
            ConfigError: There is no such task, none of its trials has a value, or a row is not a
                legal point; the message names file, row and parameter.
        """
        table, config, rows = self._rows(name)
        trials = _nearest_trial(table.space, rows)
        if np.isnan(trials.values).all():
            raise ConfigError(
                f"{table.path}: no trial of task {name!r} has a value of {self._metric!r}"
            )
        best = np.nanmax if self._goal == "maximize" else np.nanmin
        return Objective(
            name=name,
            config=config,
            function=trials,
            reserved=False,
            optimum=float(best(trials.values)),
        )

    def study(self, name: str) -> tuple[StudyConfig, list[Trial]]:
        """One task as the study that was logged: its rows in their order, failed without a value.

        Raises:
            ConfigError: As for `objective`.
        """
        _, config, rows = self._rows(name)
        trials = [Trial(number, point, study=name) for number, (point, _) in enumerate(rows)]
        return config, [
            trial.finish(value) if math.isfinite(value) else trial.fail("no value was logged")
            for trial, (_, value) in zip(trials, rows, strict=True)
        ]

    def _rows(self, name: str) -> tuple[_Table, StudyConfig, list[_Row]]:
        """The table, the study and the rows of a task."""
        if name not in self._tasks:
            raise ConfigError(f"unknown logged task {name!r}; known are {list(self._tasks)}")
        table, cell = self._tasks[name]
        frame = table.frame
        if table.task_column is not None:
            frame = frame[frame[table.task_column] == cell]
        metadata = {"model": table.path.stem}
        if cell is not None:
            metadata["dataset"] = str(cell)
        config = StudyConfig(table.space, self._metric, self._goal, metadata)
        return table, config, _read_rows(table, frame, self._metric)


def _find(path: Path) -> list[Path]:
    if path.is_file():
        files = [path]
    elif path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES)
    else:
        raise ConfigError(f"no file or folder {path}; give a study table or a folder of them")
    if not files or files[0].suffix not in _SUFFIXES:
        raise ConfigError(f"{path} holds no study table; expected files ending in {_SUFFIXES}")
    return files


def _open(path: Path, metric: str, task_column: str | None) -> _Table:
    space_files = [path.with_suffix(suffix) for suffix in _SPACE_SUFFIXES]
    found = [file for file in space_files if file.is_file()]
    if not found:
        raise ConfigError(f"{path} has no search space beside it; write {space_files[0].name}")
    space = load_space(found[0])
    frame = _read(path)
    columns = [str(column) for column in frame.columns]
    if task_column is None:
        usual = [column for column in _TASK_COLUMNS if column in columns and column not in space]
        task_column = usual[0] if usual else None
    needed = [*space, metric, *([task_column] if task_column is not None else [])]
    missing = [column for column in needed if column not in columns]
    if missing or metric in space:
        others = [column for column in columns if column not in space and column != task_column]
        raise ConfigError(
            f"{path} lacks the column {missing[0]!r}; beside parameters it has {others}"
            if missing
            else f"{path}: {metric!r} is a parameter and cannot be the metric; choose of {others}"
        )
    if frame.empty:
        raise ConfigError(f"{path} holds no row")
    if task_column is not None and frame[task_column].isna().any():
        row = int(np.argmax(frame[task_column].isna()))
        raise ConfigError(f"{path}, row {row}: the task column {task_column!r} is empty")
    return _Table(path, space, frame, task_column)


def _read(path: Path) -> pd.DataFrame:
    """Read a table; the cells of CSV stay text, because "none" and "nan" may be choices."""
    import pandas as pd

    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        if path.suffix == ".jsonl":
            lines = path.read_text(encoding="utf-8").splitlines()
            return pd.DataFrame([json.loads(line) for line in lines if line.strip()])
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except ImportError as error:
        raise MissingExtraError(
            f'{path} needs pyarrow; install it with: pip install "optformer[benchmark]"'
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read the study table {path}: {error}") from error
    return frame.mask(frame == "")


def _read_rows(table: _Table, frame: pd.DataFrame, metric: str) -> list[_Row]:
    """Points and their values, NaN where a cell is empty."""
    rows = frame.index.tolist()
    columns = {
        name: _column(table, name, frame[name].astype(object).tolist(), rows)
        for name in table.space
    }
    values = [
        _float(table.path, metric, cell, row)
        for cell, row in zip(frame[metric].astype(object).tolist(), rows, strict=True)
    ]
    points = [
        _point(table, {name: cells[i] for name, cells in columns.items()}, row)
        for i, row in enumerate(rows)
    ]
    return list(zip(points, values, strict=True))


def _nearest_trial(space: SearchSpace, rows: Sequence[_Row]) -> NearestTrial:
    distinct: dict[bytes, tuple[Array, list[float]]] = {}
    for point, value in rows:
        place = encode_point(space, point)
        distinct.setdefault(place.tobytes(), (place, []))[1].append(value)
    return NearestTrial(
        space,
        np.stack([place for place, _ in distinct.values()]),
        np.array([_mean(repeats) for _, repeats in distinct.values()]),
    )


def _mean(values: list[float]) -> float:
    """Mean of the trials that did not fail."""
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def _point(table: _Table, cells: Mapping[str, Value], row: int) -> dict[str, Value]:
    """The active part of a row."""
    point: dict[str, Value] = {}
    for name in table.space:
        if table.space.is_active(name, point):
            try:
                point[name] = table.space.validate_value(name, cells[name])
            except SearchSpaceError as error:
                raise ConfigError(f"{table.path}, row {row}: {error}") from error
    return point


def _column(table: _Table, name: str, cells: list[Any], rows: list[int]) -> list[Value]:
    """Values of one parameter, None where a cell is empty."""
    parameter = table.space[name]
    if isinstance(parameter, Float | Int):
        numbers = [
            _float(table.path, name, cell, row) for cell, row in zip(cells, rows, strict=True)
        ]
        return [None if math.isnan(number) else _bounded(parameter, number) for number in numbers]
    texts = {str(choice): choice for choice in parameter.choices}
    return [None if _is_empty(cell) else texts.get(str(cell), cell) for cell in cells]


def _bounded(parameter: Float | Int, number: float) -> float:
    """Undo what single precision did at a bound."""
    slack = _SINGLE * max(abs(parameter.low), abs(parameter.high))
    if parameter.low - slack <= number <= parameter.high + slack:
        return min(max(number, parameter.low), parameter.high)
    return number


def _float(path: Path, column: str, cell: Any, row: int) -> float:
    try:
        return math.nan if _is_empty(cell) else float(cell)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{path}, row {row}: {column!r} must be a number, got {cell!r}"
        ) from error


def _is_empty(cell: Any) -> bool:
    import pandas as pd

    return bool(pd.isna(cell))
