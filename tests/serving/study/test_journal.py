"""Journals outlive their writers, ours and Optuna's own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from optformer.data.studies.errors import StorageError
from optformer.data.studies.parameters import Value
from optformer.serving.study import journal
from optformer.serving.study.study import Study

_DIE_WRITING = """
import os, signal, sys
from optformer.serving.study.journal import FileJournalStorage
FileJournalStorage(sys.argv[1])._backend._lock.acquire()
os.kill(os.getpid(), signal.SIGKILL)
"""


def _die_writing(path: str) -> None:
    done = subprocess.run([sys.executable, "-P", "-c", _DIE_WRITING, path], check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform == "win32", reason="the system does not free this lock there")
@pytest.mark.parametrize("relative", [True, False])
def test_lock__process_killed_while_it_writes__is_free_at_once(
    tmp_path: Path,
    make_study: Callable[..., Study],
    point: dict[str, Value],
    monkeypatch: pytest.MonkeyPatch,
    relative: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    path = "runs/s.journal" if relative else str(tmp_path / "runs/s.journal")
    study = make_study(storage=path)
    _die_writing(path)
    assert os.path.lexists("runs/s.journal.lock")
    started = time.monotonic()
    study.observe(point, 0.5)
    assert time.monotonic() - started < 2.0
    assert not os.path.lexists("runs/s.journal.lock")


def test_journal__working_directory_changes__is_the_same_file(
    tmp_path: Path,
    make_study: Callable[..., Study],
    point: dict[str, Value],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    study = make_study(storage="s.journal")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    study.observe(point, 0.5)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert len(study.trials) == 1


def test_lock__optuna_writes__is_waited_for(
    tmp_path: Path, make_study: Callable[..., Study], point: dict[str, Value]
) -> None:
    path = str(tmp_path / "s.journal")
    study = make_study(storage=path)
    theirs = JournalFileSymlinkLock(path)
    theirs.acquire()
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        study.observe(point, 0.5)
        os.write(writer, b"observed")
        os._exit(0)
    os.set_blocking(reader, False)
    time.sleep(0.3)
    with pytest.raises(BlockingIOError):
        os.read(reader, 8)
    theirs.release()
    os.waitpid(child, 0)
    assert os.read(reader, 8) == b"observed"


def test_lock__left_by_a_process_of_optuna__is_taken_after_a_while(
    tmp_path: Path,
    make_study: Callable[..., Study],
    point: dict[str, Value],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal, "_FOREIGN_GRACE", 0.2)
    path = tmp_path / "s.journal"
    study = make_study(storage=str(path))
    (tmp_path / "s.journal.lock").symlink_to("runs/s.journal")  # dangles, as a relative one does
    started = time.monotonic()
    study.observe(point, 0.5)
    assert 0.2 < time.monotonic() - started < 2.0


def test_lock__held_by_us__keeps_optuna_out(tmp_path: Path) -> None:
    path = str(tmp_path / "s.journal")
    storage = journal.FileJournalStorage(path)
    lock = storage._backend._lock  # type: ignore[attr-defined]
    lock.acquire()
    with pytest.raises(FileExistsError):
        os.symlink(path, f"{path}.lock")
    lock.release()
    theirs = optuna.storages.JournalStorage(JournalFileBackend(path))
    optuna.create_study(storage=theirs, study_name="theirs")
    assert optuna.get_all_study_names(storage) == ["theirs"]


def test_release__optuna_took_the_lock_of_a_stopped_process__keeps_theirs(tmp_path: Path) -> None:
    path = str(tmp_path / "s.journal")
    lock = journal.FileJournalStorage(path)._backend._lock  # type: ignore[attr-defined]
    lock.acquire()
    os.unlink(f"{path}.lock")
    os.symlink(path, f"{path}.lock")
    lock.release()
    assert os.readlink(f"{path}.lock") == path


def test_lock__kept_by_a_stopped_process__is_a_storage_error(
    tmp_path: Path,
    make_study: Callable[..., Study],
    point: dict[str, Value],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal, "_PATIENCE", 0.1)
    path = str(tmp_path / "s.journal")
    study = make_study(storage=path)
    other = journal.FileJournalStorage(path)._backend._lock  # type: ignore[attr-defined]
    other.acquire()
    with pytest.raises(StorageError, match="another process has been writing"):
        study.observe(point, 0.5)
    other.release()
    assert study.observe(point, 0.5).value == 0.5
