"""`corpus.yaml`: what the tables of a corpus measure, and what they may be used for.

A list with an entry for each table: `file` (without its suffix, relative to the index), `metric`,
`goal`, `role` and `licence`; `tasks` describes each cell of its column `dataset` in words: `task`,
`model` and `dataset`. What else it says, such as the origin, is for readers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
        metric: Name of the metric, in the column `value`.
        goal: Its direction.
        role: "train" for data to learn from, "dev" for data to choose by.
        licence: Name of its licence, where it is told.
        metadata: Metadata of each task, by its cell in the column `dataset`.
    """

    metric: str
    goal: Goal
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
        name = table.relative_to(folder).with_suffix("").as_posix()
        try:
            entries = parse_yaml(index.read_text(encoding="utf-8"))
            found = [entry for entry in entries if entry["file"] == name]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DatasetError(f"cannot read the index {index}: {error}") from error
        return _read_entry(index, found[0]) if found else None
    return None


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
    licence = entry.get("licence")
    return CorpusEntry(
        metric, entry["goal"], entry["role"], None if licence is None else str(licence), metadata
    )
