"""Locks of files between processes; the system frees those of a process that ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from optformer.data.studies.errors import StorageError

_POLL_SECONDS = 0.01  # how soon a freed lock is seen


@contextmanager
def locked(path: Path, *, patience: float, busy: str) -> Iterator[None]:
    """Hold the lock of a file, which is made when there is none and stays.

    Args:
        path: The file; nothing is written into it.
        patience: Seconds to wait for whoever holds the lock.
        busy: What the error says when that was not enough.

    Raises:
        StorageError: Another process kept the lock, or the file cannot be locked.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=patience, poll_interval=_POLL_SECONDS)
    except Timeout:
        raise StorageError(busy) from None
    except (NotImplementedError, OSError) as error:
        raise StorageError(f"cannot lock {str(path)!r}: {error}") from error
    try:
        yield
    finally:
        lock.release()
