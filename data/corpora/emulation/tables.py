"""Tables of real evaluations: many data sets on one search space."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from optformer.data.studies.corpus_index import CorpusEntry
from optformer.data.studies.errors import DatasetError
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import Goal
from optformer.data.studies.study_tables import StudyTable

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
    return _place(dataset) < 1000 * share


def share_held_out(datasets: Sequence[str], share: float) -> float:
    """A share that holds out about as many of few data sets, and at least one of two or more.

    Args:
        datasets: Their names.
        share: The share of many; 0 stays 0.
    """
    places = sorted(map(_place, datasets))
    wanted = min(max(1, round(share * len(places))), len(places) - 1) if share else 0
    return (places[wanted - 1] + 0.5) / 1000 if wanted > 0 else 0.0


def _place(dataset: str) -> int:
    return zlib.crc32(dataset.encode()) % 1000


def load_table(path: str | Path, goals: Mapping[str, Goal]) -> EvaluationTable:
    """Read a table of trials, see `optformer.data.studies.study_tables`.

    Rows in which a metric has no value are left out.

    Args:
        path: The table, which tells its data sets.
        goals: The metrics to read, with their goals.

    Raises:
        DatasetError: The file cannot be read, lacks a column, holds an illegal value, or is there
            to choose by.
        SearchSpaceError: The space cannot be read.
    """
    table = StudyTable(Path(path))
    table.check_trainable()
    if table.tasks == (None,):
        raise DatasetError(f"{path} has no column that tells its data sets, such as 'dataset'")
    gains = {
        name: (1 if goal == "maximize" else -1) * table.values(name) for name, goal in goals.items()
    }
    finite = np.flatnonzero(np.all([np.isfinite(gain) for gain in gains.values()], axis=0))
    rows = table.legal_rows(finite.tolist(), next(iter(gains.values())))
    points = table.points.encoded[rows]
    datasets = sorted(map(str, table.tasks))
    dataset = np.full(len(table.points.encoded), -1)
    for number, name in enumerate(datasets):
        dataset[table.task_rows(name)] = number
    return EvaluationTable(
        space=table.space,
        values=np.nan_to_num(points),
        active=~np.isnan(points),
        dataset=dataset[finite],
        datasets=tuple(datasets),
        gains={name: gain[finite] for name, gain in gains.items()},
        goals=dict(goals),
        texts=tuple(_told(table.entry, name) for name in datasets),
    )


def _told(entry: CorpusEntry | None, dataset: str) -> dict[str, str]:
    """What an index says of a data set."""
    about = {} if entry is None else entry.metadata.get(dataset, {})
    return {key: text for key, text in about.items() if key == "dataset"}
