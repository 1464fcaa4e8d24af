"""Journals that survive their writers: Optuna's files of one operation a line."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from optuna.storages import JournalStorage
from optuna.storages.journal import (
    JournalFileBackend,
    JournalFileOpenLock,
    JournalFileSymlinkLock,
)

from optformer.data.studies.errors import StorageError

if sys.platform != "win32":
    import fcntl

_PATIENCE = 60.0  # seconds to wait for the others who write
_FOREIGN_GRACE = 30.0  # seconds after which Optuna, too, takes a writer for dead
_POLL_SECONDS = 0.005


class FileJournalStorage(JournalStorage):
    """A journal in a file.

    Args:
        path: The file, which is made when there is none.
    """

    def __init__(self, path: str) -> None:
        file = Path(path).absolute()  # neither file nor lock depend on the working directory
        super().__init__(JournalFileBackend(str(file), lock_obj=_journal_lock(file)))


class _SystemLock(JournalFileSymlinkLock):
    """The lock of a journal, which the system frees when its process ends.

    The journal itself is locked by the system, among all who use this class. Whoever has that lock
    also makes the link that Optuna's own writers heed, with a text of its own: a link with this
    text that is found under the system's lock was left by a process that has ended.

    Not for use by several threads at once; `JournalStorage` writes from one at a time.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(str(file))
        self._file = file
        self._link = Path(f"{file}.lock")
        self._text = f"{file.parent}/./{file.name}"  # Optuna never writes it so
        self._descriptor = -1

    def acquire(self) -> bool:
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            self._lock(descriptor)
            self._make_link()
            try:
                remove_cut_line(self._file)
            except OSError:
                self._link.unlink(missing_ok=True)
                raise
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        # Optuna removes the link of a process that was stopped for long; what it wrote is written.
        if self._is_mine():
            self._link.unlink(missing_ok=True)
        os.close(self._descriptor)

    def _lock(self, descriptor: int) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StorageError(
                        f"another process has been writing to {str(self._file)!r} for "
                        f"{_PATIENCE:.0f} s; find it and repeat the call"
                    ) from None
                time.sleep(_POLL_SECONDS)
            else:
                return

    def _make_link(self) -> None:
        seen, since = -1, time.monotonic()
        while True:
            try:
                self._link.symlink_to(self._text)
            except FileExistsError:
                if self._is_mine():
                    self._link.unlink(missing_ok=True)
                    continue
                made = self._made()
                if made != seen:
                    seen, since = made, time.monotonic()
                elif time.monotonic() - since > _FOREIGN_GRACE:
                    self._link.unlink(missing_ok=True)
                time.sleep(_POLL_SECONDS)
            else:
                return

    def _is_mine(self) -> bool:
        try:
            return os.readlink(self._link) == self._text
        except OSError:
            return False

    def _made(self) -> int:
        """When the link was made, 0 when there is none any more."""
        try:
            return self._link.lstat().st_mtime_ns
        except OSError:
            return 0


class _OpenLock(JournalFileOpenLock):
    """Optuna's lock, for systems without the other; it waits half a minute for a dead process."""

    def __init__(self, file: Path) -> None:
        super().__init__(str(file))
        self._file = file

    def acquire(self) -> bool:
        acquired = super().acquire()
        try:
            remove_cut_line(self._file)
        except OSError:
            self.release()
            raise
        return acquired


def _journal_lock(file: Path) -> JournalFileSymlinkLock | JournalFileOpenLock:
    return _OpenLock(file) if sys.platform == "win32" else _SystemLock(file)


def remove_cut_line(file: Path) -> None:
    """Remove a line that was cut short; whoever calls this holds the journal's lock.

    A full disk or a killed process can leave half a line; the next one, appended to it, would make
    the whole journal unreadable.
    """
    with file.open("rb+") as journal:
        end = journal.seek(0, os.SEEK_END)
        if end == 0:
            return
        journal.seek(end - 1)
        if journal.read(1) == b"\n":
            return
        journal.seek(0)
        journal.truncate(journal.read().rfind(b"\n") + 1)
