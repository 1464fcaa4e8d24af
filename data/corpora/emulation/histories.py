"""Tables from generated histories: all studies of one model and kind of data make one."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from optformer.data.corpora.emulation.tables import EvaluationTable, Numbers
from optformer.data.corpora.generation import load_histories
from optformer.data.corpora.generation.sources import suite_of
from optformer.data.studies.encoding import encode_point
from optformer.data.studies.errors import DatasetError
from optformer.data.studies.recorded_study import RecordedStudy
from optformer.data.studies.study_config import Goal, StudyConfig

DATASET_KEYS = ("dataset", "dataset size")
"""Entries of metadata in which the studies of one table may differ."""

MIN_TRIALS = 40
"""A data set with fewer finished trials is left out: its ranks would be mostly chance."""


@dataclass
class _Rows:
    """What was tried on one data set."""

    config: StudyConfig
    points: list[Numbers] = field(default_factory=list)  # see `encode_point`, (P,) each
    gains: list[float] = field(default_factory=list)


def load_history_tables(path: str | Path) -> dict[str, EvaluationTable]:
    """Read histories as tables.

    Studies share a table when space and metadata are equal but for the data set. Whatever method
    tried a point, it is a row; failed trials are left out.

    Args:
        path: A folder that `optformer generate` wrote, or one that holds such folders.

    Returns:
        Tables by name, the words of the metadata joined by hyphens.

    Raises:
        DatasetError: There are no histories or too short ones, a file is damaged, a study is of a
            reserved objective, or studies of one data set differ in their metric.
    """
    groups: dict[tuple[str, str], dict[str, _Rows]] = defaultdict(dict)
    for history in training_histories(Path(path)):
        config = history.config
        about = "-".join(text for key, text in config.metadata.items() if key not in DATASET_KEYS)
        name = re.sub(r"[^a-z0-9]+", "-", about.lower()).strip("-")
        data = json.dumps([config.metadata.get(key) for key in DATASET_KEYS])
        datasets = groups[name, json.dumps(config.space.to_dict())]
        rows = datasets.setdefault(data, _Rows(config))
        if (rows.config.metric, rows.config.goal) != (config.metric, config.goal):
            raise DatasetError(
                f"{path}: study {history.name} measures {config.metric_name!r}, others of its "
                f"data set {rows.config.metric_name!r}"
            )
        _add(rows, history)
    names = [name for name, _ in groups]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DatasetError(f"{path}: studies called {twice[0]!r} search different spaces")
    tables = {}
    for (name, _), datasets in sorted(groups.items()):
        kept = [rows for rows in datasets.values() if len(rows.gains) >= MIN_TRIALS]
        if kept:
            tables[name] = _table(kept)
    if not tables:
        raise DatasetError(f"{path} holds no data set with {MIN_TRIALS} finished trials")
    return tables


def training_histories(folder: Path) -> Iterator[RecordedStudy]:
    """Histories of a folder that `optformer generate` wrote, or of those in it.

    Raises:
        DatasetError: There are none, a file is damaged, or a study is of a reserved objective.
    """
    parts = sorted(manifest.parent for manifest in folder.glob("*/manifest.json"))
    for part in parts or [folder]:
        for history in load_histories(part):
            if suite_of(history.task) == "dev":
                raise DatasetError(
                    f"{part} holds {history.name}, which is reserved for evaluation; train on "
                    "histories that were generated without --allow-reserved"
                )
            yield history


def dataset_name(config: StudyConfig) -> str:
    """What a study's metadata tell of its data set, in one line."""
    return "; ".join(config.metadata.get(key, "") for key in DATASET_KEYS)


def _add(rows: _Rows, history: RecordedStudy) -> None:
    space, sign = history.config.space, history.config.sign
    for trial in history.trials:
        if trial.value is None:
            continue
        rows.gains.append(sign * trial.value)
        rows.points.append(encode_point(space, trial.params))


def _table(datasets: list[_Rows]) -> EvaluationTable:
    values = np.stack([point for rows in datasets for point in rows.points])
    number = np.repeat(np.arange(len(datasets)), [len(rows.gains) for rows in datasets])
    gain = np.concatenate([rows.gains for rows in datasets])
    goals: dict[str, Goal] = {rows.config.metric_name: rows.config.goal for rows in datasets}
    measured = np.array([rows.config.metric_name for rows in datasets])[number]
    return EvaluationTable(
        space=datasets[0].config.space,
        values=np.nan_to_num(values),
        active=~np.isnan(values),
        dataset=number,
        datasets=tuple(dataset_name(rows.config) for rows in datasets),
        gains={metric: np.where(measured == metric, gain, np.nan) for metric in sorted(goals)},
        goals=dict(sorted(goals.items())),
        texts=tuple(rows.config.metadata for rows in datasets),
    )
