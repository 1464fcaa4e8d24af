"""Tables of real evaluations: many data sets on one search space."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from optformer.data.studies.encoding import encode_value
from optformer.data.studies.errors import DatasetError
from optformer.data.studies.parameters import Float, Parameter
from optformer.data.studies.space_files import load_space
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import Goal

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class EvaluationTable:
    """N evaluations of a model on D data sets, all points of one space.

    Attributes:
        space: The search space.
        values: Unit-interval numbers or choice indices, 0 where inactive, (N, P).
        active: Which parameters take part, bool, (N, P).
        dataset: Number of each row's data set, int64, (N,).
        datasets: Names of the data sets.
        gains: Metric name to its values with the goal's sign, larger is better, NaN on data sets
            where it was not measured, (N,) each.
        goals: Metric name to its goal.
        texts: Metadata of each data set's study, where they are known.
    """

    space: SearchSpace
    values: Numbers
    active: NDArray[np.bool_]
    dataset: NDArray[np.int64]
    datasets: tuple[str, ...]
    gains: Mapping[str, Numbers]
    goals: Mapping[str, Goal]
    texts: tuple[Mapping[str, str], ...] = ()

    @property
    def measured(self) -> NDArray[np.bool_]:
        """Which metrics M were measured on which data sets, (D, M)."""
        measured = np.zeros((len(self.datasets), len(self.gains)), dtype=np.bool_)
        for column, gains in enumerate(self.gains.values()):
            measured[self.dataset[np.isfinite(gains)], column] = True
        return measured

    def split(self, held_out: float) -> tuple[EvaluationTable, EvaluationTable]:
        """Divide the data sets by a hash of their names, about `held_out` of them to the second."""
        late = [is_held_out(name, held_out) for name in self.datasets]
        return self._only([not there for there in late]), self._only(late)

    def _only(self, kept: list[bool]) -> EvaluationTable:
        rows = np.array(kept)[self.dataset]
        number = np.cumsum(kept) - 1
        return replace(
            self,
            values=self.values[rows],
            active=self.active[rows],
            dataset=number[self.dataset[rows]],
            datasets=tuple(name for name, keep in zip(self.datasets, kept, strict=True) if keep),
            gains={metric: gains[rows] for metric, gains in self.gains.items()},
            texts=tuple(text for text, keep in zip(self.texts, kept, strict=False) if keep),
        )


def is_held_out(dataset: str, share: float) -> bool:
    """Whether a data set is among about `share` of all, chosen by a hash of their names."""
    return zlib.crc32(dataset.encode()) % 1000 < 1000 * share


def load_table(path: str | Path, goals: Mapping[str, Goal]) -> EvaluationTable:
    """Read a Parquet table and the space beside it.

    The table has a column `dataset`, one a parameter (empty where a condition is off) and
    `metric.<name>` for each metric; the space of `studies.parquet` is in `studies.space.yaml`.

    Args:
        path: The Parquet file.
        goals: The metrics to read, with their goals.

    Raises:
        DatasetError: The file cannot be read, lacks a column or holds an illegal value.
        SearchSpaceError: The space cannot be read.
    """
    path = Path(path)
    space = load_space(path.with_suffix(".space.yaml"))
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DatasetError(f"cannot read the table {path}: {error}") from error
    wanted = ["dataset", *space.names, *(f"metric.{name}" for name in goals)]
    missing = [name for name in wanted if name not in frame]
    if missing:
        raise DatasetError(f"{path} lacks the column {missing[0]!r}; it has {list(frame.columns)}")
    columns = [_unit_values(path, name, space[name], frame[name]) for name in space.names]
    values = np.stack(columns, -1)
    gains = {
        name: (1 if goal == "maximize" else -1) * frame[f"metric.{name}"].to_numpy(np.float64)
        for name, goal in goals.items()
    }
    codes, names = pd.factorize(frame["dataset"].astype(str), sort=True)
    finite = np.all([np.isfinite(gain) for gain in gains.values()], axis=0)
    return EvaluationTable(
        space=space,
        values=np.nan_to_num(values)[finite],
        active=~np.isnan(values)[finite],
        dataset=codes.astype(np.int64)[finite],
        datasets=tuple(str(name) for name in names),
        gains={name: gain[finite] for name, gain in gains.items()},
        goals=dict(goals),
    )


def _unit_values(path: Path, name: str, parameter: Parameter, column: pd.Series) -> Numbers:
    """Scaled values of a column, NaN where it is empty."""
    scaled = {}
    for value in column.dropna().unique():
        plain = value.item() if hasattr(value, "item") else value
        if isinstance(parameter, Float):  # single precision in a file rounds past a bound
            nearest = min(max(plain, parameter.low), parameter.high)
            plain = nearest if np.isclose(plain, nearest, rtol=1e-6, atol=0) else plain
        try:
            legal = parameter.validate(plain)
        except ValueError as error:
            raise DatasetError(f"{path}, column {name!r}: {error}") from error
        scaled[value] = encode_value(parameter, legal)
    return column.map(scaled).to_numpy(np.float64)
