"""Whose a pending trial is, and whether its owner is still there."""

from __future__ import annotations

import multiprocessing.util
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakSet

HEARTBEAT_SECONDS = 60.0
"""How often the owner of pending trials says that it is there."""

LEASE_SECONDS = 300.0
"""So long after its last sign an owner on another machine is taken for gone."""


def this_process(helper: int | None = None) -> dict[str, Any]:
    """What identifies this process: its machine, its number, and when it began.

    Args:
        helper: Number of another process of this machine, which stands for this one when it has
            ended.
    """
    owner = {"host": _machine(), **_identity(os.getpid())}
    return owner if helper is None else {**owner, "helper": _identity(helper)}


def _identity(process: int) -> dict[str, Any]:
    return {"process": process, "began": _began(process)}


@cache
def _machine() -> str:
    """Where the number of a process means the same: a machine since its start, or a container."""
    parts = [socket.gethostname()]  # images and containers may share their names
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def is_gone(owner: object, last_sign: float) -> bool:
    """Whether the owner of a trial has ended.

    Args:
        owner: What `this_process` gave there.
        last_sign: When it was last heard of, in seconds since 1970.
    """
    if not isinstance(owner, dict) or not isinstance(owner.get("process"), int):
        return False  # nothing is known
    if owner.get("host") == _machine() and os.name == "posix":
        return not (_lives(owner) or _lives(owner.get("helper")))
    return time.time() - last_sign > LEASE_SECONDS


def _lives(identity: object) -> bool:
    if not isinstance(identity, dict) or not isinstance(identity.get("process"), int):
        return False
    process = identity["process"]
    began = _began(process)
    told = began is not None and identity.get("began") is not None
    return _runs(process) and (not told or began == identity["began"])


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


def _began(process: int) -> str | None:
    """When a process began, in ticks since the start of the machine; empty when it has ended.

    Numbers of processes are used again. None where it is not told, as of other users' processes on
    machines that hide them.
    """
    try:
        told = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return None
    state, *fields = told.rpartition(")")[2].split()  # the name before it may have spaces
    return "" if state in "ZX" else fields[18]


class Heartbeat:
    """Says in the background, now and then, that pending trials still have their owner.

    A process that ends in order hands its pending trials over: whoever runs them may take longer.
    One that is killed, or that ends by an exception, cannot.

    Args:
        beat: Says so for one trial, by its id; what it raises is ignored.
        hand_over: Says of one trial that it has no owner any more; the same.
        seconds: How often; `HEARTBEAT_SECONDS` when absent.
    """

    def __init__(
        self,
        beat: Callable[[int], None],
        hand_over: Callable[[int], None],
        seconds: float | None = None,
    ) -> None:
        self._beat = beat
        self._hand_over = hand_over
        self._seconds = seconds
        self._forget()

    def _forget(self) -> None:
        self._process = os.getpid()
        self._trials: set[int] = set()
        self._lock = threading.Lock()
        self._ended: threading.Event | None = None  # ends the thread; None when there is none

    def add(self, trial: int) -> None:
        """Begin with a trial."""
        if self._process != os.getpid():  # a fork has neither the thread nor its trials
            self._forget()
        with self._lock:
            self._trials.add(trial)
            if self._ended is None:
                _at_end(self)
                self._ended = threading.Event()
                threading.Thread(
                    target=self._run, args=(self._ended,), name="optformer-heartbeat", daemon=True
                ).start()

    def remove(self, trial: int) -> None:
        """End with a trial."""
        if self._process != os.getpid():
            return
        with self._lock:
            self._trials.discard(trial)
            if not self._trials and self._ended is not None:
                self._ended.set()
                self._ended = None

    def hand_over(self) -> None:
        """End with all trials, which somebody else may observe."""
        for trial in sorted(self._trials):
            with suppress(Exception):
                self._hand_over(trial)
            self.remove(trial)

    def _run(self, ended: threading.Event) -> None:
        while not ended.wait(self._seconds or HEARTBEAT_SECONDS):
            with self._lock:
                trials = sorted(self._trials)
            for trial in trials:
                try:
                    self._beat(trial)
                except (KeyError, RuntimeError):  # Optuna's words: it is deleted, or finished
                    self.remove(trial)
                except Exception:  # noqa: BLE001 - the storage may be away for a while
                    continue


_heartbeats: WeakSet[Heartbeat] = WeakSet()
_finalized = -1  # the process whose end is prepared


def _at_end(heartbeat: Heartbeat) -> None:
    """Have the trials of a heartbeat handed over when this process ends in order."""
    global _finalized
    if _finalized != os.getpid():
        _finalized = os.getpid()
        _heartbeats.clear()
        # Unlike atexit this is also called in the processes of multiprocessing.
        multiprocessing.util.Finalize(None, _hand_over, exitpriority=100)
    _heartbeats.add(heartbeat)


def _hand_over() -> None:
    error = sys.exc_info()[0] or getattr(sys, "last_type", None)
    if error is None or issubclass(error, SystemExit):
        for heartbeat in list(_heartbeats):
            heartbeat.hand_over()
