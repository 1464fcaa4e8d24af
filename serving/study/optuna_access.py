"""Open Optuna's storages, and explain what goes wrong in them."""

from __future__ import annotations

import errno
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, unquote

from optuna import get_all_study_names
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from optformer.data.runtime.text import hide_passwords
from optformer.data.studies.errors import StorageError

if sys.platform == "win32":  # symbolic links need a privilege there
    from optuna.storages.journal import JournalFileOpenLock as _FileLock
else:
    from optuna.storages.journal import JournalFileSymlinkLock as _FileLock

_Result = TypeVar("_Result")

_JOURNALS = (".journal", ".log")

_PATIENCE = 20.0  # seconds to wait for a locked database, on top of the driver's own waiting


def open_storage(storage: str | BaseStorage) -> BaseStorage:
    """An Optuna storage from its address, or the one given.

    Raises:
        StorageError: The address is not understood, or what it names cannot be opened.
    """
    if isinstance(storage, BaseStorage):
        return storage
    address = os.fspath(storage) if isinstance(storage, os.PathLike) else storage
    if not isinstance(address, str):
        raise StorageError(
            f"storage must be an address or an Optuna storage, got {type(storage).__name__}"
        )
    try:
        if address.startswith("journal:///"):
            return _JournalStorage(address.removeprefix("journal:///"))
        if "://" in address:
            return RDBStorage(address)
        if address.endswith(_JOURNALS):
            return _JournalStorage(address)
    # LookupError: braces, which Optuna fills in; RuntimeError: its word for tables of another
    # version; ValueError: a broken journal.
    except (
        ImportError,
        LookupError,
        OSError,
        RuntimeError,
        SQLAlchemyError,
        ValueError,
    ) as error:
        raise StorageError(
            f"cannot open storage {hide_passwords(address)!r}: {hide_passwords(_first_line(error))}"
        ) from error
    raise StorageError(
        f"storage {hide_passwords(address)!r} is not understood; expected an SQL URL such as "
        f"'sqlite:///studies.db', or a path ending in .journal or .log"
    )


def is_address(text: str) -> bool:
    """Whether a text is understood as the address of a storage."""
    return "://" in text or text.endswith(_JOURNALS)


def study_names(storage: BaseStorage) -> list[str]:
    """Names of the studies in a storage, sorted.

    Raises:
        StorageError: It cannot be read.
    """
    return sorted(retry_while_locked("list studies", lambda: get_all_study_names(storage)))


def file_at(address: str) -> Path | None:
    """The file that an address names, None for a database server or memory."""
    if address.startswith("journal:///"):
        return Path(address.removeprefix("journal:///"))
    if "://" not in address:
        return Path(address) if address.endswith(_JOURNALS) else None
    try:
        url = make_url(address)
    except (SQLAlchemyError, ValueError):
        return None
    if url.drivername.partition("+")[0] != "sqlite" or not url.database:
        return None
    path = url.database.partition("?")[0]
    if path.startswith("file:") and "uri" in url.query:  # SQLite's own kind of address
        in_memory = path == "file::memory:" or url.query.get("mode") == "memory"
        return (
            None
            if in_memory
            else Path(unquote(path.removeprefix("file:"), errors="surrogateescape"))
        )
    return None if url.database == ":memory:" else Path(url.database)


def sqlite_address(file: Path) -> str:
    """The address of an SQLite file, whatever characters its path has.

    Args:
        file: Where the database is or will be.
    """
    path = str(file)
    escaped = re.sub(r"[%?{}]", lambda match: quote(match.group()), path)
    # Not every release of SQLAlchemy reads escapes; SQLite itself does. Optuna fills in {braces}.
    for address in (path, escaped, f"file:{quote(os.fsencode(file))}?uri=true"):
        address = f"sqlite:///{address}"
        if "{" not in address and "}" not in address and file_at(address) == file:
            return address
    raise StorageError(f"no address can name the file {str(file)!r}; choose another folder")


def check_file(address: str) -> None:
    """Raise `StorageError` when an address names a file that is not there; opening would make it.

    Addresses that are not understood pass.
    """
    file = file_at(address)
    if file is not None and not file.exists():
        raise StorageError(f"storage {address!r} cannot be opened: there is no file {file}")


def file_of(storage: BaseStorage) -> Path | None:
    """The file that a storage is in, by its full path; None for one on a server or in memory."""
    if isinstance(storage, RDBStorage):
        file = file_at(storage.url)
        return None if file is None else file.absolute()
    if isinstance(storage, _JournalStorage):
        return storage.file
    return None


def retry_while_locked(what: str, call: Callable[[], _Result]) -> _Result:
    """Run a storage operation, again while the database is locked, and explain its failure."""
    started, pause = time.monotonic(), 0.1
    while True:
        try:
            return call()
        except (StorageInternalError, SQLAlchemyError, OSError, ValueError) as error:
            text = _first_line(error)
            waited = time.monotonic() - started
            if not _is_locked(text) or waited + pause > _PATIENCE:
                raise StorageError(f"cannot {what}: {_advice(error, text, waited)}") from error
            time.sleep(pause)
            pause *= 2


class _JournalStorage(JournalStorage):
    """A journal that knows its file."""

    def __init__(self, path: str) -> None:
        super().__init__(JournalFileBackend(path, lock_obj=_MendingLock(path)))
        self.file = Path(path).absolute()


class _MendingLock(_FileLock):
    """Optuna's lock of a journal file, which also removes a line that was cut short.

    A full disk or a killed process can leave half a line; the next one, appended to it, would make
    the whole journal unreadable. Nobody else writes while the lock is held.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._path = path

    def acquire(self) -> bool:
        acquired = super().acquire()
        try:
            _remove_cut_line(self._path)
        except OSError:
            self.release()
            raise
        return acquired


def _remove_cut_line(path: str) -> None:
    with open(path, "rb+") as journal:
        end = journal.seek(0, os.SEEK_END)
        if end == 0:
            return
        journal.seek(end - 1)
        if journal.read(1) == b"\n":
            return
        journal.seek(0)
        journal.truncate(journal.read().rfind(b"\n") + 1)


def _advice(error: Exception, text: str, waited: float) -> str:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or "disk is full" in text.lower() or "no space left" in text.lower():
        return f"the disk is full ({text}); free some space and repeat the call"
    if _is_locked(text):
        return (
            f"the database stayed locked for {waited:.1f} s ({text}); find the process that holds "
            "it and repeat the call"
        )
    return text


def _is_locked(text: str) -> bool:
    """Whether a database asks to try again, in the words of SQLite, PostgreSQL and MySQL."""
    return any(words in text.lower() for words in ("locked", "deadlock", "lock wait timeout"))


def _first_line(error: BaseException) -> str:
    """What the database or operating system said, without the statement that made it say so."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    cause = cause or error
    said = str(getattr(cause, "orig", None) or cause)
    return said.splitlines()[0] if said else type(cause).__name__
