"""What processes that share a storage take turns at, by the kind of the storage.

There are two locks. The turn is held while a trial is suggested, which may take a while. The other
is held for one write of several steps, so that whoever observes a trial waits for nobody's turn.
Both are freed when their process ends, whichever way.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from weakref import WeakKeyDictionary

from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from optformer.data.runtime.forks import freed_by_fork
from optformer.data.studies.errors import StorageError
from optformer.serving.study.locks import locked
from optformer.serving.study.optuna_access import file_of, retry_while_locked, without_cache

TURN_PATIENCE = 300.0
"""Seconds to wait for the others who suggest."""

WRITE_PATIENCE = 60.0
"""Seconds to wait for the others who write."""

_AWAIT_SECONDS = 5.0  # as long as a study may take to be written
_POLL_SECONDS = 0.02  # how soon a freed lock of a server is seen

_thread_locks: WeakKeyDictionary[BaseStorage, dict[str, threading.Lock]] = WeakKeyDictionary()
_registering = freed_by_fork(threading.Lock())


class StudyLocks:
    """The locks of one study in a storage.

    A storage in a file has locks beside it (`NAME.turn`, `NAME.write`), one of PostgreSQL, MySQL or
    MariaDB has advisory locks. Any other is shared by threads alone, as far as is known here.

    Args:
        storage: The storage.
        name: The study's name.
    """

    def __init__(self, storage: BaseStorage, name: str) -> None:
        self._storage = storage
        self._name = name
        file = file_of(storage)
        file = None if file is None else file.resolve()  # the same, whichever link leads there
        self._paths = {
            kind: None if file is None else file.with_name(f"{file.name}.{kind}")
            for kind in ("turn", "write")
        }
        self._turn: Connection | None = None  # of a server that gave it to us

    @contextmanager
    def turn(self) -> Iterator[None]:
        """The lock that one process at a time holds while it suggests.

        Raises:
            StorageError: Somebody keeps it for `TURN_PATIENCE` seconds, or it cannot be locked.
        """
        with self._lock("turn", TURN_PATIENCE, "suggesting trials") as connection:
            self._turn = connection
            try:
                yield
            finally:
                self._turn = None

    def check_turn(self) -> None:
        """Make sure that whoever has the turn still has it.

        Raises:
            StorageError: The server was away meanwhile, and somebody else may have got it.
        """
        turn = self._turn
        if turn is not None:
            retry_while_locked("keep the turn", lambda: turn.execute(text("SELECT 1")))

    def write(self) -> AbstractContextManager[object]:
        """The lock of a write of several steps.

        Raises:
            StorageError: Somebody keeps it for `WRITE_PATIENCE` seconds, or it cannot be locked.
        """
        return self._lock("write", WRITE_PATIENCE, "writing")

    def await_writers(self) -> None:
        """Let a write that is under way come to its end; makes no lock where there is none."""
        path = self._paths["write"]
        if path is None or path.exists():
            with suppress(StorageError), self._lock("write", _AWAIT_SECONDS, "writing"):
                pass

    def _lock(
        self, kind: str, patience: float, doing: str
    ) -> AbstractContextManager[Connection | None]:
        path = self._paths[kind]
        where = repr(self._name) if path is None else repr(str(path.with_suffix("")))
        busy = (
            f"another process has been {doing} in {where} for {patience:.0f} s; "
            "find it and repeat the call"
        )
        if path is not None:
            return locked(path, patience=patience, busy=busy)
        storage, name = without_cache(self._storage), f"{kind} {self._name}"
        if isinstance(storage, RDBStorage) and storage.engine.dialect.name in _ADVISORY:
            return _advisory(storage, name, patience, busy)
        return _between_threads(storage, name, patience, busy)


@contextmanager
def _between_threads(storage: BaseStorage, name: str, patience: float, busy: str) -> Iterator[None]:
    with _registering:
        locks = _thread_locks.setdefault(storage, {})
        lock = locks.setdefault(name, freed_by_fork(threading.Lock()))
    if not lock.acquire(timeout=patience):
        raise StorageError(busy)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _advisory(storage: RDBStorage, name: str, patience: float, busy: str) -> Iterator[Connection]:
    """An advisory lock of a database server, which frees it when the connection ends."""
    engine = storage.engine
    lock, unlock = _ADVISORY[engine.dialect.name]
    digest = hashlib.sha256(f"optformer {engine.url.database} {name}".encode())
    key: dict[str, int | str] = (
        {"key": int.from_bytes(digest.digest()[:8], "big", signed=True)}
        if engine.dialect.name == "postgresql"
        else {"key": digest.hexdigest()[:60]}
    )

    def connect() -> Connection:
        return engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    with retry_while_locked("reach the storage", connect) as connection:
        started = time.monotonic()
        while not retry_while_locked(
            "lock the storage", lambda: connection.execute(text(lock), key).scalar()
        ):
            if time.monotonic() - started > patience:
                raise StorageError(busy)
            time.sleep(_POLL_SECONDS)
        try:
            yield connection
        finally:
            try:
                connection.execute(text(unlock), key)
            except SQLAlchemyError:  # the server is away, and the lock with it
                connection.invalidate()


_MYSQL = ("SELECT GET_LOCK(:key, 0)", "SELECT RELEASE_LOCK(:key)")
_ADVISORY = {  # by dialect: how to try to lock, how to unlock
    "postgresql": ("SELECT pg_try_advisory_lock(:key)", "SELECT pg_advisory_unlock(:key)"),
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
}
