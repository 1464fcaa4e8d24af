"""Finished studies that a command is given, with a remark about each that it cannot use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from optformer.serving.cli import console

if TYPE_CHECKING:
    from optformer.data.studies.recorded_study import RecordedStudy
    from optformer.data.studies.study_config import Goal


def read_logs(
    sources: Sequence[str],
    *,
    metric: str | None = None,
    goal: Goal | None = None,
    training: bool = False,
) -> list[RecordedStudy]:
    """Read the studies of all sources.

    Args:
        sources: Storages, tables, folders of tables, files of recorded studies.
        metric: The tables' metric.
        goal: Its direction.
        training: Whether the studies are to be learned from.

    Raises:
        ConfigError: There is no such source, or metric or goal of a table are missing.
        StorageError: A storage cannot be opened or read.
    """
    from optformer.data.studies.errors import DatasetError, SearchSpaceError
    from optformer.data.studies.study_tables import is_table
    from optformer.serving.study.study_logs import read_study_logs

    studies = []
    for source in sources:
        try:
            found, refused = read_study_logs(source, metric=metric, goal=goal, training=training)
        except (DatasetError, SearchSpaceError) as error:
            console.note(f"left out: {error}")
            continue
        studies += found
        for name, reason in refused.items():
            kind = "table" if is_table(Path(name)) else "study"
            console.note(f"left out: {kind} {name!r} of {source}: {reason}")
    return studies
