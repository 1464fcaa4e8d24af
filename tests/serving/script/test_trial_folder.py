from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from optformer.data.studies.trials import Trial
from optformer.serving.script.trial_folder import TrialFolder, trial_folders


def test_create__new_folder__holds_its_record(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path / "new", 7)
    folder.create({"params": {"x": 0.1}})
    assert folder.path == tmp_path / "new" / "trial-0007"
    assert folder.load() == {"params": {"x": 0.1}}
    assert [path.name for path in folder.path.parent.iterdir()] == ["trial-0007"]


@pytest.mark.parametrize(
    "make",
    [
        lambda path: (path.mkdir(), (path / "x").touch()),
        lambda path: path.touch(),
        lambda path: path.symlink_to("/"),
        os.mkfifo,
    ],
)
def test_create__something_is_there__refused_and_left_alone(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    folder = TrialFolder(tmp_path, 0)
    make(folder.path)
    with pytest.raises(FileExistsError, match="is already there, made by another"):
        folder.create({})
    assert [path.name for path in tmp_path.iterdir()] == ["trial-0000"]


def test_create__empty_folder_is_there__is_used(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path, 0)
    folder.path.mkdir()
    folder.create({"a": 1})
    assert folder.load() == {"a": 1}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: path.write_text("{"),
        lambda path: path.write_text("[1]"),
        lambda path: path.write_text("[" * 100_000),
        lambda path: path.write_bytes(b"\xff"),
        lambda path: (path.unlink(), os.mkfifo(path)),
        lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
    ],
)
def test_load__spoiled_record__empty(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path, 0)
    folder.create({"a": 1})
    spoil(folder.record)
    assert folder.load() == {}


def test_lock__while_it_is_held__is_locked(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path, 0)
    assert not folder.is_locked()
    lock = folder.open_lock()
    copy = os.dup(lock)
    os.close(lock)
    assert folder.is_locked()
    with pytest.raises(BlockingIOError):
        folder.open_lock()
    os.close(copy)
    assert not folder.is_locked()
    folder.release()
    folder.release()
    assert list(tmp_path.iterdir()) == []


def test_holds__record_or_lock__says_whose_trial_it_is(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path, 0)
    trial, other = (Trial(number=0, params={"x": x}) for x in (0.5, 0.6))
    assert not folder.holds(trial)
    folder.path.mkdir()  # made by somebody's script
    assert not folder.holds(trial)
    folder.create({"params": {"x": 0.5}})
    assert folder.holds(trial)
    assert not folder.holds(other)
    folder.record.unlink()
    assert not folder.holds(trial)
    os.close(folder.open_lock())
    assert folder.holds(trial)


def test_trial_folders__other_files__left_out(tmp_path: Path) -> None:
    for name in ("trial-0003", "trial-12345", "trial-0003.lock", "trial-x", "study.db"):
        (tmp_path / name).mkdir()
    found = [(number, folder.path.name) for number, folder in trial_folders(tmp_path)]
    assert found == [(3, "trial-0003"), (12345, "trial-12345")]
