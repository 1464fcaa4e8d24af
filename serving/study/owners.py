"""Whose a pending trial is, and whether its owner is still there."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

HEARTBEAT_SECONDS = 60.0
"""How often the owner of pending trials says that it is there."""

LEASE_SECONDS = 300.0
"""So long after its last sign an owner on another machine is taken for gone."""


def this_process() -> dict[str, Any]:
    """What identifies this process: its machine, its number, and when it began."""
    return {"host": socket.gethostname(), "process": os.getpid(), "began": _began(os.getpid())}


def is_gone(owner: object, last_sign: float) -> bool:
    """Whether the owner of a trial has ended.

    Args:
        owner: What `this_process` gave there.
        last_sign: When it was last heard of, in seconds since 1970.
    """
    if not isinstance(owner, dict) or not isinstance(owner.get("process"), int):
        return False  # nothing is known
    if owner.get("host") == socket.gethostname():
        began = _began(owner["process"])
        if began is not None or os.name == "posix":
            return not _runs(owner["process"]) or began != owner.get("began")
    return time.time() - last_sign > LEASE_SECONDS


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


def _began(process: int) -> str | None:
    """When a process began, in ticks since the start of the machine; None where it is not told.

    Numbers of processes are used again.
    """
    try:
        told = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return None
    state, *fields = told.rpartition(")")[2].split()  # the name before it may have spaces
    return None if state in "ZX" else fields[18]


class Heartbeat:
    """Says in the background, now and then, that pending trials still have their owner.

    Args:
        beat: Says so for one trial, by its id; what it raises is ignored.
    """

    def __init__(self, beat: Callable[[int], None]) -> None:
        self._beat = beat
        self._trials: set[int] = set()
        self._lock = threading.Lock()
        self._ended: threading.Event | None = None  # ends the thread; None when there is none

    def add(self, trial: int) -> None:
        """Begin with a trial."""
        with self._lock:
            self._trials.add(trial)
            if self._ended is None:
                self._ended = threading.Event()
                threading.Thread(
                    target=self._run, args=(self._ended,), name="optformer-heartbeat", daemon=True
                ).start()

    def remove(self, trial: int) -> None:
        """End with a trial."""
        with self._lock:
            self._trials.discard(trial)
            if not self._trials and self._ended is not None:
                self._ended.set()
                self._ended = None

    def _run(self, ended: threading.Event) -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            with self._lock:
                trials = sorted(self._trials)
            for trial in trials:
                with suppress(Exception):  # the storage may be away for a while
                    self._beat(trial)
