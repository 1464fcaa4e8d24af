"""Tables of finished trials as objectives: a point's value is that of the nearest logged point.

Tables are read by `optformer.data.studies.study_tables`; all studies of one task are one objective.

The distance between two points is Gower's (1971), summed over the parameters: for numbers and
ordinals the difference on the unit interval (of logarithms where the space says so), for
categoricals 0 or 1, for a parameter that is active in one point only 1, and in neither 0. Of points
equally near the first in the table counts; repeated points are averaged.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from optformer.data.objectives.base import Objective
from optformer.data.studies.encoding import encode_point
from optformer.data.studies.errors import ConfigError, DatasetError, ObjectiveError
from optformer.data.studies.parameters import Categorical, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import Goal
from optformer.data.studies.study_tables import StudyTable, find_tables

Array = NDArray[np.float64]


@dataclass(frozen=True)
class NearestTrial:
    """The value of the nearest logged point.

    Attributes:
        space: What was searched.
        points: Distinct points as by `encode_point`, shape (N, P).
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
        point = encode_point(self.space, params)
        gap = np.abs(self.points - point)
        choice = [isinstance(parameter, Categorical) for parameter in self.space.values()]
        gap[:, choice] = gap[:, choice] > 0
        off, off_here = np.isnan(self.points), np.isnan(point)
        gap = np.where(off & off_here, 0.0, np.where(off ^ off_here, 1.0, gap))
        total: Array = gap.sum(axis=1)
        return total


class LoggedStudies:
    """The tasks that one's own study tables hold.

    A task is called `<table>-<task>-<metric>`, with `-` for characters that no file name should
    have; a table without a task column is one task, `<table>-<metric>`.

    Args:
        path: A table, or a folder of them.
        metric: Name of the metric.
        goal: Its direction.
        task_column: Column that tells the tasks of a table apart; None takes `dataset` or `task`
            where a table has it.

    Raises:
        ConfigError: There is no table, or two tasks would have one name.
        DatasetError: A table cannot be read, or a column is missing.
        SearchSpaceError: A space file cannot be read.
        MissingExtraError: Parquet needs a package that is not installed.
    """

    def __init__(
        self, path: Path, *, metric: str, goal: Goal, task_column: str | None = None
    ) -> None:
        self._metric, self._goal = metric, goal
        self._tasks: dict[str, tuple[StudyTable, Array, str | None]] = {}
        for file in find_tables(path):
            table = StudyTable(file, task_column)
            values = table.values(metric)
            for task in table.tasks:
                parts = [file.stem, *([] if task is None else [task]), metric]
                name = re.sub(r"[^A-Za-z0-9._]+", "-", "-".join(parts)).strip("-.")
                if name in self._tasks:
                    raise ConfigError(f"{path}: two tasks would be called {name!r}; rename one")
                self._tasks[name] = table, values, task

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tasks."""
        return tuple(self._tasks)

    def objective(self, name: str) -> Objective:
        """One task; its optimum is the best logged value.

        Raises:
            ConfigError: There is no such task.
            DatasetError: None of its trials has a value, or a row is not a legal point; the message
                names file, row and parameter.
        """
        if name not in self._tasks:
            raise ConfigError(f"unknown logged task {name!r}; known are {list(self._tasks)}")
        table, values, task = self._tasks[name]
        rows = table.legal_rows(table.task_rows(task), values)
        if np.isnan(values[rows]).all():
            raise DatasetError(
                f"{table.path}: no trial of task {name!r} has a value of {self._metric!r}"
            )
        trials = _nearest_trial(table.space, table.points.encoded[rows], values[rows])
        best = np.nanmax if self._goal == "maximize" else np.nanmin
        return Objective(
            name=name,
            config=table.config(task, self._metric, self._goal),
            function=trials,
            reserved=False,
            optimum=float(best(trials.values)),
        )


def _nearest_trial(space: SearchSpace, points: Array, values: Array) -> NearestTrial:
    """Repeated points as one, with the mean of the trials that did not fail."""
    distinct: dict[bytes, tuple[Array, list[float]]] = {}
    for point, value in zip(points, values.tolist(), strict=True):
        distinct.setdefault(point.tobytes(), (point, []))[1].append(value)
    return NearestTrial(
        space,
        np.stack([point for point, _ in distinct.values()]),
        np.array([_mean(repeats) for _, repeats in distinct.values()]),
    )


def _mean(values: list[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan
