"""The folder of one trial: what its script wrote, and a record of what was run and what came of it.

The record, `optformer.json`, is written before the script starts, again by its supervisor when the
script has ended, and once more when its metrics are read: `--resume` takes a trial's outcome from
there when the search could not store it. Beside the folder lies a lock, which the supervisor holds
as long as it lives and which is removed when the outcome is stored.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from optformer.data.runtime.bounded_files import read_file
from optformer.data.runtime.files import write_text
from optformer.data.studies.trials import Trial

STDOUT, STDERR = "stdout.txt", "stderr.txt"
"""Files of a trial's output, in its folder."""

_RECORD = "optformer.json"
_RECORD_BYTES = 64 << 20
_NAME = re.compile(r"trial-(\d+)")


class TrialFolder:
    """The folder of one trial.

    Args:
        out: The folder of the search.
        number: The trial's number.
    """

    def __init__(self, out: Path, number: int) -> None:
        self.path = out / f"trial-{number:04d}"
        self.lock = out / f"trial-{number:04d}.lock"
        self.record = self.path / _RECORD

    def create(self, record: Mapping[str, Any]) -> None:
        """Make the folder, with its record in it from the first moment on.

        Raises:
            OSError: It cannot be made, or something is there already.
        """
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            _write_record(beside / _RECORD, record)
            beside.rename(self.path)  # takes the place of an empty one
        except OSError as error:
            shutil.rmtree(beside, ignore_errors=True)
            if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.ENOTEMPTY):
                raise FileExistsError(
                    f"{self.path} is already there, made by another script or search"
                ) from None
            raise

    def open_lock(self) -> int:
        """Take the lock, which is made where there is none.

        Returns:
            A descriptor; whoever holds it or a copy of it holds the lock.

        Raises:
            OSError: Another process has it, or that is not possible.
        """
        lock = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise
        return lock

    def is_locked(self) -> bool:
        """Whether a supervisor is at work."""
        try:
            lock = os.open(self.lock, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def load(self) -> dict[str, Any]:
        """The record; empty when there is none that can be read."""
        try:
            record = json.loads(read_file(self.record, limit=_RECORD_BYTES))
        except (OSError, ValueError, RecursionError):
            return {}
        return record if isinstance(record, dict) else {}

    @property
    def started(self) -> float:
        """When its script was started, in seconds since 1970; now where the record does not say."""
        started = self.load().get("started")
        return started if isinstance(started, float) else time.time()

    def save(self, record: Mapping[str, Any]) -> None:
        """Write the record.

        Raises:
            OSError: It cannot be written.
        """
        _write_record(self.record, record)

    def holds(self, trial: Trial) -> bool:
        """Whether a trial was run here: its record says so, or is gone and the lock is there."""
        record = self.load()
        return record["params"] == dict(trial.params) if "params" in record else self.lock.exists()

    def release(self) -> None:
        """Remove the lock: what became of the trial is stored."""
        with suppress(OSError):
            self.lock.unlink(missing_ok=True)


def _write_record(path: Path, record: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(record, indent=1))


def trial_folders(out: Path) -> Iterator[tuple[int, TrialFolder]]:
    """The folders of trials in the folder of a search, with the trials' numbers."""
    for path in sorted(out.glob("trial-*")):
        match = _NAME.fullmatch(path.name)
        if match is not None:
            yield int(match[1]), TrialFolder(out, int(match[1]))
