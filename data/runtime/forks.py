"""Locks across a fork: a child has none of the threads that hold its parent's."""

from __future__ import annotations

import os
from threading import Lock
from typing import Any, TypeVar
from weakref import WeakSet

_AnyLock = TypeVar("_AnyLock", bound=Any)
_locks: WeakSet[Any] = WeakSet()


def freed_by_fork(lock: _AnyLock) -> _AnyLock:
    """Have a lock of threads free in every process that is forked from this one.

    Otherwise it would stay locked there for ever if another thread held it at the fork.

    Args:
        lock: A `Lock` or an `RLock`, which nobody holds who forks.

    Returns:
        The same lock.
    """
    _locks.add(lock)
    return lock


def _free() -> None:
    for lock in list(_locks):
        lock._at_fork_reinit()  # what the standard library does with its own


if hasattr(os, "register_at_fork") and hasattr(Lock(), "_at_fork_reinit"):
    os.register_at_fork(after_in_child=_free)
