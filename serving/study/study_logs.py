"""A team's finished studies, wherever they lie: databases of Optuna, tables of trials."""

from __future__ import annotations

from pathlib import Path

from optformer.data.studies.errors import (
    ConfigError,
    DatasetError,
    OptFormerError,
    SearchSpaceError,
)
from optformer.data.studies.recorded_study import RecordedStudy
from optformer.data.studies.study_config import Goal
from optformer.data.studies.study_files import SUFFIX, read_studies
from optformer.data.studies.study_tables import StudyTable, find_tables
from optformer.serving.study import optuna_access
from optformer.serving.study.storage import open_store

Found = tuple[list[RecordedStudy], dict[str, str]]
"""Studies, and the names of those that cannot be used to the reasons."""

_DATABASE = b"SQLite format 3"  # how such a file begins


def read_study_logs(
    source: str,
    *,
    metric: str | None = None,
    goal: Goal | None = None,
    training: bool = False,
) -> Found:
    """Read all studies of a source, and say which studies or tables of it cannot be used.

    Args:
        source: Address of a storage as in `create_study`; a table (`.csv`, `.jsonl`, `.parquet`)
            with its space beside it, or a folder of such tables; or a file of recorded studies.
        metric: The tables' metric; studies in a storage know theirs, an index those of a corpus.
        goal: Its direction.
        training: Whether they are to be learned from, which not all tables of a corpus may be.

    Returns:
        The studies, and the names of studies and tables that cannot be used to the reasons.

    Raises:
        ConfigError: There is no such source, or metric or goal of a table are missing.
        StorageError: The storage cannot be opened or read.
        DatasetError: A table that is not in a folder, or a file of recorded studies, cannot be
            read.
        SearchSpaceError: The space of such a table cannot be read.
    """
    if optuna_access.is_address(source):
        return _stored(source)
    path = Path(source)
    if path.name.endswith(SUFFIX):
        return list(read_studies(path)), {}
    if path.is_file() and path.open("rb").read(len(_DATABASE)) == _DATABASE:
        address = optuna_access.sqlite_address(path)
        raise ConfigError(f"{source} is a database: write {address}")
    studies: list[RecordedStudy] = []
    refused: dict[str, str] = {}
    for file in find_tables(path):
        try:
            found, illegal = _tabled(file, metric, goal, training)
        except (DatasetError, SearchSpaceError) as error:
            if path.is_file():
                raise
            refused[file.name] = str(error)
            continue
        studies += found
        refused |= illegal
    return studies, refused


def _tabled(file: Path, metric: str | None, goal: Goal | None, training: bool) -> Found:
    table = StudyTable(file)
    if training:
        table.check_trainable()
    return table.studies(metric, goal)


def _stored(address: str) -> Found:
    storage = optuna_access.open_storage(address, create=False)
    studies: list[RecordedStudy] = []
    refused: dict[str, str] = {}
    for name in optuna_access.study_names(storage):
        try:
            store, _, record = open_store(storage, name)
            trials = tuple(store.all())
        except OptFormerError as error:
            refused[name] = str(error)
            continue
        task = record.config.metadata.get("dataset", name)
        for view in record.config.views:  # a study of each metric, where there are several
            alone = f"{name}/{view.metric_name}" if record.config.several else name
            history = tuple(record.config.view_history(view, trials))
            studies.append(RecordedStudy(alone, view, history, address, task))
    return studies, refused
