"""Open Optuna's storages, and explain what goes wrong in them."""

from __future__ import annotations

import errno
import os
import random
import re
import sqlite3
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, unquote
from weakref import WeakSet

from optuna import get_all_study_names
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from sqlalchemy import Engine, NullPool, create_engine, inspect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError

from optformer.data.runtime.text import hide_passwords, shorten
from optformer.data.studies.errors import OptFormerError, StorageError
from optformer.serving.study.journal import FileJournalStorage

_Result = TypeVar("_Result")

_JOURNALS = (".journal", ".log")

_TABLES = {"studies", "trials", "version_info"}  # some of those that Optuna makes
_FOREIGN = "is a database without Optuna's tables: no storage of studies"
_MAKING = 1.0  # seconds that another process may take to make the tables
_NAME_CHARACTERS = 512  # of Optuna's columns
_CONNECT_SECONDS = 10  # for a server to answer
_CONNECT_TIMEOUT = ("postgresql", "postgresql+psycopg", "postgresql+psycopg2")  # know of that
_DRIVERS = {  # by how an address begins: with the driver that our extra installs
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}
_PATIENCE = 20.0  # seconds to wait for a locked database, on top of the driver's own waiting


def open_storage(storage: str | BaseStorage, *, create: bool = True) -> BaseStorage:
    """An Optuna storage from its address, or the one given.

    Args:
        storage: The address or the storage.
        create: Whether to make what is not there yet. Otherwise opening writes nothing.

    Raises:
        StorageError: The address is not understood, or what it names cannot be opened, or is no
            storage of studies.
    """
    if isinstance(storage, BaseStorage):
        return storage
    address = os.fspath(storage) if isinstance(storage, os.PathLike) else storage
    if not isinstance(address, str):
        raise StorageError(
            f"storage must be an address or an Optuna storage, got {type(storage).__name__}"
        )
    if not is_address(address):
        raise StorageError(
            f"storage {hide_passwords(address)!r} is not understood; expected an SQL URL such as "
            f"'sqlite:///studies.db', or a path ending in .journal or .log"
        )
    if address.startswith(("http://", "https://")):
        raise StorageError(
            f"{hide_passwords(address)!r} is the address of a server, not of a storage; open its "
            "studies with optformer.connect(...)"
        )
    if not create:
        check_file(address)
    try:
        if address.startswith("journal:///") or "://" not in address:
            return FileJournalStorage(address.removeprefix("journal:///"))
        return _open_database(address, create=create)
    # AssertionError, AttributeError, TypeError: lines of a journal that are no operations;
    # LookupError: braces, which Optuna fills in; RuntimeError: its word for tables of another
    # version; ValueError: a broken journal.
    except (
        AssertionError,
        AttributeError,
        ImportError,
        LookupError,
        OSError,
        RuntimeError,
        SQLAlchemyError,
        StorageInternalError,
        TypeError,
        ValueError,
    ) as error:
        if isinstance(error, OptFormerError):
            raise
        raise StorageError(
            f"cannot open storage {hide_passwords(address)!r}: {_driver_advice(address, error)}"
        ) from error


def _driver_advice(address: str, error: Exception) -> str:
    begins = address.partition("://")[0]
    ours = _DRIVERS.get(begins.partition("+")[0])
    if ours is None or not isinstance(error, ImportError | NoSuchModuleError):
        return _first_line(error)
    if begins == ours:
        return "its driver is not installed; run: pip install 'optformer[servers]'"
    return (
        f"there is no driver for {begins}://; write {ours}://..., whose driver comes with: "
        "pip install 'optformer[servers]'"
    )


def _open_database(address: str, *, create: bool) -> RDBStorage:
    """Open a database, maybe while others do so who also find it empty."""
    started = time.monotonic()
    while True:
        waited = time.monotonic() - started
        fault = _table_fault(address, create=create)
        if fault is not None:
            if waited > _MAKING:
                raise StorageError(f"storage {hide_passwords(address)!r} {fault}")
            time.sleep(_MAKING / 10)
            continue
        try:
            return RDBStorage(
                # Optuna fills in braces, which a folder or a password may have.
                address.replace("{", "{{").replace("}", "}}"),
                engine_kwargs=_engine_options(address),
                skip_table_creation=not create,
            )
        except (AssertionError, SQLAlchemyError, StorageInternalError) as error:
            text = _first_line(error)
            raced = isinstance(error, AssertionError) or _is_locked(text) or _is_made_twice(text)
            if not raced or waited > _PATIENCE:
                raise
            time.sleep(random.uniform(0.01, 0.1))  # so that those who collide part


def _engine_options(address: str) -> dict[str, Any]:
    """How to connect: a server may have gone away, or ended a connection that was long silent."""
    url = make_url(address)
    if url.drivername.startswith("sqlite"):
        return {}
    wait = url.drivername in _CONNECT_TIMEOUT and "connect_timeout" not in url.query
    arguments = {"connect_timeout": _CONNECT_SECONDS} if wait else {}
    return {"pool_pre_ping": True, "connect_args": arguments}


def _table_fault(address: str, *, create: bool) -> str | None:
    """What is wrong with the tables of an SQLite file, None if nothing or if it is another kind."""
    file = file_at(address)
    if file is None or not file.is_file() or "://" not in address:
        return None
    # Not mode=ro: what a killed process has left half-written is undone by whoever reads next.
    uri = f"file:{quote(str(file.absolute()))}?mode=rw"
    engine = create_engine(
        "sqlite://", creator=lambda: sqlite3.connect(uri, uri=True), poolclass=NullPool
    )
    tables = set(retry_while_locked(f"read {file}", lambda: inspect(engine).get_table_names()))
    if create:
        foreign = tables and "studies" not in tables
        return f"{_FOREIGN}; choose another file" if foreign else None
    return None if tables >= _TABLES else _FOREIGN


def is_address(text: str) -> bool:
    """Whether a text is understood as the address of a storage."""
    return "://" in text or text.endswith(_JOURNALS)


def study_names(storage: BaseStorage) -> list[str]:
    """Names of the studies in a storage, sorted.

    Raises:
        StorageError: It cannot be read.
    """
    return sorted(retry_while_locked("list studies", lambda: get_all_study_names(storage)))


def has_study(storage: BaseStorage, name: str) -> bool:
    """Whether a storage holds a study; it reads no other one.

    Raises:
        StorageError: It cannot be read.
    """
    try:
        retry_while_locked(f"find study {name!r}", lambda: storage.get_study_id_from_name(name))
    except KeyError:
        return False
    return True


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
        raise StorageError(
            f"storage {hide_passwords(address)!r} cannot be opened: there is no file {file}"
        )


def file_of(storage: BaseStorage) -> Path | None:
    """The file that a storage is in, by its full path; None for one on a server or in memory."""
    storage = without_cache(storage)
    if isinstance(storage, RDBStorage):
        file = file_at(storage.url)
        return None if file is None else file.absolute()
    if isinstance(storage, JournalStorage):
        path = getattr(storage._backend, "_file_path", None)  # Optuna does not tell otherwise
        return None if path is None else Path(path).absolute()
    return None


def address_of(storage: BaseStorage) -> str | None:
    """The address of a storage from any folder, None for one in memory or of another kind."""
    storage = without_cache(storage)
    file = file_of(storage)
    if isinstance(storage, RDBStorage):
        if file is not None:
            return sqlite_address(file)
        return None if storage.engine.dialect.name == "sqlite" else storage.url
    return None if file is None else f"journal:///{file}"


def without_cache(storage: BaseStorage) -> BaseStorage:
    """The storage itself, of one that Optuna's `get_storage` has wrapped into a cache."""
    backend = getattr(storage, "_backend", None)
    return backend if isinstance(backend, BaseStorage) else storage


def check_names(storage: BaseStorage, names: Iterable[str]) -> None:
    """Raise `StorageError` when a storage is a server that does not take a name."""
    storage = without_cache(storage)
    if not isinstance(storage, RDBStorage) or storage.engine.dialect.name == "sqlite":
        return
    for name in names:
        if len(name) > _NAME_CHARACTERS or "\0" in name:
            raise StorageError(
                f"the name {shorten(name, 60)!r} cannot be stored in a database server: it has "
                f"{len(name)} characters; use at most {_NAME_CHARACTERS}, none of them NUL"
            )


def part_after_fork(storage: BaseStorage) -> None:
    """Have a process that is forked from this one open connections of its own."""
    storage = without_cache(storage)
    if isinstance(storage, RDBStorage):
        _engines.add(storage.engine)


def _part() -> None:
    for engine in list(_engines):
        engine.dispose(close=False)  # the parent goes on with them


_engines: WeakSet[Engine] = WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_part)


def retry_while_locked(what: str, call: Callable[[], _Result]) -> _Result:
    """Run a storage operation, again while the database is locked, and explain its failure."""
    started, pause = time.monotonic(), 0.1
    while True:
        try:
            return call()
        except OptFormerError:
            raise
        except (StorageInternalError, SQLAlchemyError, OSError, ValueError) as error:
            text = _first_line(error)
            waited = time.monotonic() - started
            if not _is_locked(text) or waited + pause > _PATIENCE:
                raise StorageError(f"cannot {what}: {_advice(error, text, waited)}") from error
            time.sleep(pause)
            pause *= 2


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


def _is_made_twice(text: str) -> bool:
    """Whether two have made the same table or row, in the words of the same databases."""
    return any(words in text.lower() for words in ("already exists", "unique", "duplicate"))


def _first_line(error: BaseException) -> str:
    """What the database or operating system said, without the statement that made it say so."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    cause = cause or error
    said = str(getattr(cause, "orig", None) or cause)
    return hide_passwords(said.splitlines()[0]) if said else type(cause).__name__
