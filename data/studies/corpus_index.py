"""`corpus.yaml`: what the tables of a corpus measure, and what they may be used for.

A list with an entry for each table: `file` (without its suffix, relative to the index), `metric`,
`goal`, `role` and `licence`; `goals` where there are several metrics; `tasks` describes each cell
of its column `dataset` in words: `task`, `model` and `dataset`. What else it says, such as the
origin, is for readers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from optformer.data.studies.errors import DatasetError
from optformer.data.studies.study_config import Goal
from optformer.data.studies.yaml_json import parse_yaml

INDEX = "corpus.yaml"
"""Name of the file, in the folder of the tables or the one above."""

_WORDS = ("task", "model", "dataset")


@dataclass(frozen=True)
class CorpusEntry:
    """What the index says of one table.

    Attributes:
        metric: Name of the metric, in the column `value` or in one of its name.
        goal: Its direction.
        goals: All metrics with their goals, that one first.
        role: "train" for data to learn from, "dev" for data to choose by.
        licence: Name of its licence, where it is told.
        metadata: Metadata of each task, by its cell in the column `dataset`.
    """

    metric: str
    goal: Goal
    goals: Mapping[str, Goal]
    role: Literal["train", "dev"]
    licence: str | None = None
    metadata: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def find_entry(table: Path) -> CorpusEntry | None:
    """What an index says of a table, None where there is none, or it says nothing.

    Raises:
        DatasetError: The index cannot be read, or its entry is incomplete.
    """
    for folder in (table.parent, table.parent.parent):
        index = folder / INDEX
        if not index.is_file():
            continue
        return read_index(index).get(table.relative_to(folder).with_suffix("").as_posix())
    return None


def read_index(index: Path) -> dict[str, CorpusEntry]:
    """The entries of an index by their tables' names.

    Raises:
        DatasetError: It cannot be read, or an entry is incomplete.
    """
    # Every table of a folder asks for the same file.
    return _entries(index, index.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _entries(index: Path, written: int) -> dict[str, CorpusEntry]:
    del written
    try:
        entries = parse_yaml(index.read_text(encoding="utf-8"))
        return {str(entry["file"]): _read_entry(index, entry) for entry in entries}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DatasetError(f"cannot read the index {index}: {error}") from error


def _read_entry(index: Path, entry: Mapping[str, Any]) -> CorpusEntry:
    for key, known in (("goal", ("maximize", "minimize")), ("role", ("train", "dev"))):
        if entry.get(key) not in known:
            raise DatasetError(
                f"{index}, {entry['file']}: {key} must be one of {known}, got {entry.get(key)!r}"
            )
    metric, tasks = entry.get("metric"), entry.get("tasks", {})
    if not isinstance(metric, str) or not isinstance(tasks, Mapping):
        raise DatasetError(f"{index}, {entry['file']}: expected a metric and a mapping of tasks")
    metadata = {
        str(cell): {word: str(about[word]) for word in _WORDS if word in about}
        for cell, about in tasks.items()
    }
    goals = entry.get("goals", {metric: entry["goal"]})
    if not isinstance(goals, Mapping) or goals.get(metric) != entry["goal"]:
        raise DatasetError(
            f"{index}, {entry['file']}: goals must tell each metric's goal, {metric!r} among them"
        )
    licence = entry.get("licence")
    return CorpusEntry(
        metric=metric,
        goal=entry["goal"],
        goals=dict(goals),
        role=entry["role"],
        licence=None if licence is None else str(licence),
        metadata=metadata,
    )
