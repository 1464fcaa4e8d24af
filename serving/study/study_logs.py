"""A team's finished studies, wherever they lie: databases of Optuna, tables of trials."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from optformer.data.objectives.logged import LoggedStudies
from optformer.data.studies.errors import ConfigError, StudyError
from optformer.data.studies.recorded_study import RecordedStudy
from optformer.data.studies.study_config import Goal
from optformer.data.studies.study_files import SUFFIX, read_studies
from optformer.serving.study import optuna_access
from optformer.serving.study.storage import open_store


def read_study_logs(
    source: str, *, metric: str | None = None, goal: Goal | None = None
) -> tuple[list[RecordedStudy], dict[str, str]]:
    """Read all studies of a source.

    Args:
        source: Address of a storage as in `create_study`; a table (`.csv`, `.jsonl`, `.parquet`)
            with its space beside it, or a folder of such tables; or a file of recorded studies.
        metric: Column of the tables' metric; studies in a storage know theirs.
        goal: Its direction.

    Returns:
        The studies, and the names of those that cannot be used with the reasons.

    Raises:
        ConfigError: Metric or goal of a table are missing, or it cannot be read.
        StorageError: The storage cannot be opened or read.
        DatasetError: A file of recorded studies cannot be read.
    """
    if optuna_access.is_address(source):
        return _stored(source)
    if source.endswith(SUFFIX):
        return list(read_studies(Path(source))), {}
    if metric is None or goal is None:
        raise ConfigError(f"{source} holds tables: say what they measure with --metric and --goal")
    return list(_logged(Path(source), metric, goal)), {}


def _stored(address: str) -> tuple[list[RecordedStudy], dict[str, str]]:
    optuna_access.check_file(address)
    storage = optuna_access.open_storage(address)
    studies, refused = [], {}
    for name in optuna_access.study_names(storage):
        try:
            store, _, record = open_store(storage, name)
        except StudyError as error:
            refused[name] = str(error)
            continue
        studies.append(RecordedStudy(name, record.config, tuple(store.all())))
    return studies, refused


def _logged(path: Path, metric: str, goal: Goal) -> Iterator[RecordedStudy]:
    tables = LoggedStudies(path, metric=metric, goal=goal)
    for name in tables.names:
        config, trials = tables.study(name)
        yield RecordedStudy(name, config, tuple(trials))
