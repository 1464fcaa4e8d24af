"""Storages to keep studies in."""

from __future__ import annotations

import shutil
from pathlib import Path

import optuna
import pytest

from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.serving.study import optuna_access
from optformer.serving.study.trial_store import StudyRecord

optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture
def record(space: SearchSpace) -> StudyRecord:
    return StudyRecord(config=StudyConfig(space, metric="accuracy", goal="maximize"), seed=1)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with Optuna's tables, which take half a second to make."""
    path = tmp_path_factory.mktemp("empty") / "s.db"
    optuna_access.open_storage(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite(empty_database: Path, tmp_path: Path) -> str:
    """Address of an SQLite file without studies."""
    return f"sqlite:///{shutil.copy(empty_database, tmp_path / 's.db')}"


@pytest.fixture(params=["sqlite", "journal"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of a file storage without studies."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite"))
    return f"journal:///{tmp_path}/studies.journal"
