"""Tables of trials, one row a trial, beside a file of their search space: the one convention.

The space of `name.csv`, `name.jsonl` or `name.parquet` is in `name.space.yaml`. A table may hold
many studies on that space.

| Column | Meaning | Also read |
|---|---|---|
| `params.NAME` | a parameter's value, empty where inactive | `NAME`, `params_NAME`, `config/NAME` |
| `metrics.NAME` | a metric, empty where the trial failed | `metric.NAME`, `NAME` |
| `value` | the metric whatever its name, in a table without columns of metrics | |
| `status` | completed, failed, stopped or pending; by the value where it is absent | `state` |
| `reason` | why a trial failed | |
| `number` | order of the trials of a study; that of the rows where it is absent | `step`, `trial` |
| `dataset` | what was tuned | `task` |
| `study` | name of the study | `study_name` |
| `source`, `method`, `run`, `seed` | tell studies apart whose numbers repeat | |

In CSV an apostrophe stands before a text that a spreadsheet would compute, such as `=1+1`; it is
taken away when the table is read.

What else a table holds is ignored. So are the cells of inactive parameters, empty rows, and trials
without a value that lack a parameter: they failed before they had it. The column of a conditional
parameter may be absent. Metric and goal of the tables of a corpus are in its `corpus.yaml`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optformer.data.studies.corpus_index import find_entry
from optformer.data.studies.errors import ConfigError, DatasetError
from optformer.data.studies.parameters import Float, Int
from optformer.data.studies.recorded_study import RecordedStudy
from optformer.data.studies.space_files import load_space, save_space
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import Goal, StudyConfig
from optformer.data.studies.study_files import SUFFIX as STUDIES_SUFFIX
from optformer.data.studies.table_cells import Cell, is_empty, read_number, written_choices
from optformer.data.studies.table_files import SUFFIXES, Columns, read_columns, write_columns
from optformer.data.studies.table_outcomes import TableOutcomes
from optformer.data.studies.table_points import TablePoints
from optformer.data.studies.trials import Trial, TrialStatus

Array = NDArray[np.float64]

_SPACE_SUFFIXES = (".space.yaml", ".space.yml", ".space.json")
_PARAMETER = ("params.{}", "{}", "params_{}", "config/{}")
_TASK = ("dataset", "task")
_STUDY = ("study", "study_name")
_NUMBER = ("number", "step", "trial")
_REPEATS = ("source", "method", "run", "seed")

_Key = tuple[str | None, ...]  # task and names of a study


class StudyTable:
    """The trials of one table of N rows.

    Args:
        path: The table.
        task_column: Column that tells what was tuned; None takes `dataset` or `task` where there is
            one.

    Raises:
        DatasetError: It cannot be read, has no space, lacks a column, or holds no row.
        SearchSpaceError: The space cannot be read.
        MissingExtraError: Parquet needs a package that is not installed.
    """

    def __init__(self, path: Path, task_column: str | None = None) -> None:
        self.path = path
        self.space = _space_beside(path)
        self.entry = find_entry(path)
        columns = read_columns(path)
        rows = enumerate(zip(*columns.values(), strict=True))
        self._rows = [row for row, cells in rows if not all(map(is_empty, cells))]
        if not self._rows:
            raise DatasetError(f"{path} holds no row")
        names = self._parameter_columns(columns)
        absent = [None] * len(next(iter(columns.values())))
        self.points = TablePoints(
            self.space, {name: columns.get(column, absent) for name, column in names.items()}
        )
        taken = set(names.values())
        self._columns = {name: cells for name, cells in columns.items() if name not in taken}
        self._tasks = self._read_tasks(task_column)

    @property
    def tasks(self) -> tuple[str | None, ...]:
        """What was tuned, in the order of the rows; one None where the table does not tell it."""
        return tuple(dict.fromkeys(self._tasks[row] for row in self._rows))

    def task_rows(self, task: str | None) -> list[int]:
        """Rows of a task, in their order."""
        return [row for row in self._rows if self._tasks[row] == task]

    def config(
        self, task: str | None, metric: str | None = None, goal: Goal | None = None
    ) -> StudyConfig:
        """The study of a task; metric and goal may be left out where an index tells them.

        Raises:
            ConfigError: Metric or goal are missing.
        """
        if self.entry is not None:
            metric, goal = metric or self.entry.metric, goal or self.entry.goal
        if metric is None or goal is None:
            raise ConfigError(
                f"{self.path} is a table: say what it measures with --metric and --goal"
            )
        metadata = {"model": self.path.stem, **({} if task is None else {"dataset": task})}
        if self.entry is not None and task is not None:
            metadata |= self.entry.metadata.get(task, {})
        return StudyConfig(self.space, metric, goal, metadata)

    def check_trainable(self) -> None:
        """Raise `DatasetError` when an index keeps the table for other uses than training."""
        if self.entry is not None and self.entry.role != "train":
            raise DatasetError(
                f"{self.path} is there to choose by (role {self.entry.role!r} in its corpus.yaml), "
                "and nothing may be trained on it"
            )

    def values(self, metric: str) -> Array:
        """A metric of all rows, NaN where a trial has no value, (N,).

        Raises:
            DatasetError: There is no such metric, or a cell is no number.
        """
        outcomes = self._outcomes(metric)
        values = np.full(len(outcomes), np.nan)
        for row in self._rows:
            _, values[row] = self._outcome(outcomes, row)
        return values

    def legal_rows(self, rows: Sequence[int], values: Array) -> list[int]:
        """Rows that are points: without trials that failed before they had a parameter.

        Args:
            rows: Rows.
            values: The metric of all rows, NaN where a trial has no value, (N,).

        Raises:
            DatasetError: One of the others is not legal; the message names row and parameter.
        """
        return [row for row in rows if self._is_point(row, float(values[row]))]

    def studies(
        self, metric: str | None = None, goal: Goal | None = None
    ) -> tuple[list[RecordedStudy], dict[str, str]]:
        """All studies of the table.

        Args:
            metric: Name of the metric; None takes that of an index.
            goal: Its direction.

        Returns:
            The studies, and the names of those with an illegal row to what is wrong with it.

        Raises:
            ConfigError: Metric or goal are missing.
            DatasetError: There is no such metric.
        """
        outcomes = self._outcomes(self.config(None, metric, goal).metric_name)
        studies: list[RecordedStudy] = []
        refused: dict[str, str] = {}
        for name, rows in self._study_rows().items():
            try:
                trials = self._trials(name, rows, outcomes)
            except DatasetError as error:
                refused[name] = str(error).removeprefix(f"{self.path}, ")
                continue
            task = self._tasks[rows[0]]
            studies.append(
                RecordedStudy(
                    name=name,
                    config=self.config(task, metric, goal),
                    trials=tuple(trials),
                    source=self.path.stem,
                    task=task or self.path.stem,
                    method=self._text(rows[0], ("method",)),
                )
            )
        return studies, refused

    def _trials(self, study: str, rows: Sequence[int], outcomes: TableOutcomes) -> list[Trial]:
        trials: list[Trial] = []
        for row in rows:
            status, value = self._outcome(outcomes, row)
            if not self._is_point(row, value):
                continue
            measured = not math.isnan(value)
            trial = Trial(
                number=len(trials),
                params=self.points.point(row),
                status=status,
                value=value if measured else None,
                reason=outcomes.reason(row) if status is TrialStatus.FAILED else None,
                metrics=outcomes.metrics(row) if measured else {},
                study=study,
            )
            trials.append(trial)
        return trials

    def _is_point(self, row: int, value: float) -> bool:
        """Whether a row is a legal point; False where it failed before it had its parameters."""
        if math.isnan(value) and self.points.incomplete[row]:
            return False
        if self.points.illegal[row]:
            raise self._error(row, str(self.points.fault(row)))
        return True

    def _outcomes(self, metric: str) -> TableOutcomes:
        named = metric not in self.space if self.entry is None else metric == self.entry.metric
        try:
            return TableOutcomes(self._columns, metric, value=named)
        except DatasetError as error:
            raise DatasetError(f"{self.path}: {error}") from None

    def _outcome(self, outcomes: TableOutcomes, row: int) -> tuple[TrialStatus, float]:
        try:
            return outcomes.outcome(row)
        except ValueError as error:
            raise self._error(row, str(error)) from None

    def _study_rows(self) -> dict[str, list[int]]:
        """Names of the studies to their rows, in the order of the trials."""
        number = self._column(_NUMBER)
        for names in (_STUDY, (*_STUDY, *_REPEATS)) if number is not None else ():
            groups = self._grouped(names)
            ordered = {key: _ordered(rows, number or ()) for key, rows in groups.items()}
            if None not in ordered.values():
                return self._named({key: rows or [] for key, rows in ordered.items()})
        return self._named(self._grouped(_STUDY))  # no numbers, or such as a budget's, which repeat

    def _grouped(self, names: Sequence[str]) -> dict[_Key, list[int]]:
        present = [name for name in names if name in self._columns]
        groups: dict[_Key, list[int]] = {}
        for row in self._rows:
            key = self._tasks[row], *(self._text(row, (name,)) for name in present)
            groups.setdefault(key, []).append(row)
        return groups

    def _named(self, groups: Mapping[_Key, list[int]]) -> dict[str, list[int]]:
        own = [self._text(rows[0], _STUDY) for rows in groups.values()]
        if None not in own and len(set(own)) == len(own):
            return {str(name): rows for name, rows in zip(own, groups.values(), strict=True)}
        first = 1 if self.tasks == (None,) else 0  # the task says nothing
        names = (
            "/".join([self.path.stem, *(part or "-" for part in key[first:])]) for key in groups
        )
        return dict(zip(names, groups.values(), strict=True))

    def _parameter_columns(self, columns: Columns) -> dict[str, str]:
        """The column of each parameter, in the first form that has all unconditional ones."""
        needed = [name for name, parameter in self.space.items() if not parameter.when]
        for form in _PARAMETER:
            if all(form.format(name) in columns for name in needed):
                return {name: form.format(name) for name in self.space}
        missing = next((name for name in needed if name not in columns), needed[0])
        raise DatasetError(f"{self.path} lacks the column {missing!r}; it has {list(columns)}")

    def _read_tasks(self, task_column: str | None) -> list[str | None]:
        """The task of each row, None where the table does not tell it."""
        names = _TASK if task_column is None else (task_column,)
        if self._column(names) is None:
            if task_column is not None:
                raise DatasetError(
                    f"{self.path} lacks the column {task_column!r}; it has {list(self._columns)}"
                )
            return [None] * (self._rows[-1] + 1)
        tasks = [self._text(row, names) for row in range(self._rows[-1] + 1)]
        for row in self._rows:
            if tasks[row] is None:
                raise self._error(row, f"the task column {' or '.join(names)} is empty")
        return tasks

    def _column(self, names: Sequence[str]) -> Sequence[Cell] | None:
        """The first of these columns that is there."""
        return next((self._columns[name] for name in names if name in self._columns), None)

    def _text(self, row: int, names: Sequence[str]) -> str | None:
        """The text in the first of these columns, None where it is empty or missing."""
        column = self._column(names)
        if column is None or is_empty(column[row]):
            return None
        cell = column[row]
        return str(int(cell) if isinstance(cell, float) and cell.is_integer() else cell)

    def _error(self, row: int, what: str) -> DatasetError:
        return DatasetError(f"{self.path}, row {row}: {what}")


def find_tables(path: Path) -> list[Path]:
    """The table of a path, or the tables of a folder.

    Raises:
        ConfigError: There is none.
    """
    if path.is_file():
        files = [path]
    elif path.is_dir():
        files = sorted(file for file in path.iterdir() if is_table(file))
    else:
        raise ConfigError(f"no file or folder {path}; give a study table or a folder of them")
    if not files or not is_table(files[0]):
        raise ConfigError(f"{path} holds no study table; expected files ending in {SUFFIXES}")
    return files


def is_table(path: Path) -> bool:
    """Whether a file's name is that of a table of trials."""
    return path.suffix in SUFFIXES and not path.name.endswith(STUDIES_SUFFIX)


def trial_columns(config: StudyConfig, trials: Sequence[Trial]) -> dict[str, list[Any]]:
    """Trials as columns of built-in values, None where there is nothing, one row a trial.

    Args:
        config: The study.
        trials: Its trials.

    Returns:
        `number`, `status`, `value` and `reason`, then `params.<name>` for every parameter of the
        space and `metrics.<name>` for every metric, the study's own among them.
    """
    columns: dict[str, list[Any]] = {
        "number": [trial.number for trial in trials],
        "status": [trial.status.value for trial in trials],
        "value": [trial.value for trial in trials],
        "reason": [trial.reason for trial in trials],
    }
    for name in config.space:
        columns[f"params.{name}"] = [trial.params.get(name) for trial in trials]
    own = {config.metric: "value"} if isinstance(config.metric, str) else {}
    measured = [{**{metric: t.value for metric in own if t.has_value}, **t.metrics} for t in trials]
    for name in dict.fromkeys([*own, *(name for metrics in measured for name in metrics)]):
        columns[f"metrics.{name}"] = [metrics.get(name) for metrics in measured]
    return columns


def written_columns(config: StudyConfig, trials: Sequence[Trial]) -> dict[str, list[Any]]:
    """Trials as columns, like `trial_columns`, with choices as the texts that a table spells."""
    columns = trial_columns(config, trials)
    for name, parameter in config.space.items():
        if not isinstance(parameter, Float | Int):
            texts = written_choices(parameter.choices)
            columns[f"params.{name}"] = [
                texts[parameter.index(trial.params[name])] if name in trial.params else None
                for trial in trials
            ]
    return columns


def write_trials(path: Path, config: StudyConfig, trials: Sequence[Trial]) -> None:
    """Write a study's trials as a table, and its space beside it, for `StudyTable` to read.

    Args:
        path: The table; its suffix says the format.
        config: The study.
        trials: Its trials.

    Raises:
        ConfigError: The suffix is of no table.
        DatasetError: The table cannot be written.
        SearchSpaceError: The space cannot be written.
        MissingExtraError: Parquet needs a package that is not installed.
    """
    if not is_table(path):
        raise ConfigError(f"a study table must end in one of {SUFFIXES}, got {path.name!r}")
    write_columns(path, written_columns(config, trials))
    save_space(config.space, path.with_suffix(_SPACE_SUFFIXES[0]))


def _space_beside(path: Path) -> SearchSpace:
    files = [path.with_suffix(suffix) for suffix in _SPACE_SUFFIXES]
    found = [file for file in files if file.is_file()]
    if not found:
        raise DatasetError(f"{path} has no search space beside it; write {files[0].name}")
    return load_space(found[0])


def _ordered(rows: Sequence[int], cells: Sequence[Cell]) -> list[int] | None:
    """Rows by their numbers, None when those repeat or are none."""
    try:
        numbers = {read_number(cells[row]): row for row in rows}
    except ValueError:
        return None
    if None in numbers or len(numbers) < len(rows):
        return None
    return [row for _, row in sorted(numbers.items(), key=lambda pair: pair[0] or 0)]
