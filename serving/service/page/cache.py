"""What was computed of a study is kept while the study stays as it is."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

_Result = TypeVar("_Result")

_KEPT = 256


class Cache:
    """The results that were used last; what several ask for at once is computed once.

    Threads may share it. A computation that raises is repeated by whoever asks next.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._running: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, compute: Callable[[], _Result]) -> _Result:
        """The result of a key, computed if it is not there."""
        with self._lock:
            running = self._running.setdefault(key, threading.Lock())
        with running:
            with self._lock:
                if key in self._kept:
                    self._kept.move_to_end(key)
                    found: _Result = self._kept[key]
                    return found
            try:
                result = compute()
                with self._lock:
                    self._kept[key] = result
                    while len(self._kept) > _KEPT:
                        self._kept.popitem(last=False)
            finally:
                with self._lock:
                    self._running.pop(key, None)
        return result
