"""Run one process to its end, its time limit, or a request to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_POLL_SECONDS = 0.1  # how soon a request to stop is seen
_GRACE_SECONDS = 5.0  # between the polite signal and the final one


class StopRequest:
    """Asks running scripts to end; a second request kills those that hesitate."""

    def __init__(self) -> None:
        self._requested = threading.Event()
        self._forced = threading.Event()

    @property
    def requested(self) -> bool:
        """Whether to stop."""
        return self._requested.is_set()

    @property
    def forced(self) -> bool:
        """Whether to stop without waiting for anyone."""
        return self._forced.is_set()

    def request(self) -> None:
        """Ask to stop; asking again takes the patience away."""
        (self._forced if self.requested else self._requested).set()


@dataclass(frozen=True)
class Ending:
    """How a process ended.

    Attributes:
        code: Exit status, negative for a signal.
        seconds: Wall-clock time it took.
        timed_out: Whether it was killed at its time limit.
        stopped: Whether it was killed because of a `StopRequest`.
    """

    code: int
    seconds: float
    timed_out: bool = False
    stopped: bool = False


def run_process(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    stdout: Path,
    stderr: Path,
    timeout: float | None,
    stop: StopRequest,
) -> Ending:
    """Run a command without a shell, in a process group of its own, and wait for it.

    The group keeps a terminal's Ctrl-C away from the script, so that ending it is up to `stop`,
    and lets the whole family be ended together.

    Args:
        command: Program and arguments.
        environment: Variables the script sees.
        stdout: File for its standard output; replaced.
        stderr: File for its standard error; replaced.
        timeout: Seconds after which the group is ended, None for no limit.
        stop: Looked at all the time; ends the group when requested.

    Raises:
        OSError: The program cannot be started.
    """
    started = time.monotonic()
    with stdout.open("wb") as output, stderr.open("wb") as errors:
        process = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
    timed_out = stopped = False
    while process.poll() is None:
        timed_out = timeout is not None and time.monotonic() - started >= timeout
        stopped = stop.requested and not timed_out
        if timed_out or stopped:
            _end_group(process, stop)
            break
        left = _POLL_SECONDS
        if timeout is not None:
            left = min(left, max(started + timeout - time.monotonic(), 0.001))
        try:
            process.wait(left)
        except subprocess.TimeoutExpired:
            continue
    return Ending(process.wait(), time.monotonic() - started, timed_out, stopped)


def _end_group(process: subprocess.Popen[bytes], stop: StopRequest) -> None:
    """Ask a process and all its descendants to end, and kill those still there after a while."""
    if sys.platform == "win32":  # no process groups to signal
        process.kill()
        return
    deadline = time.monotonic() + _GRACE_SECONDS
    alive = _signal_group(process.pid, signal.SIGTERM)
    while alive and time.monotonic() < deadline and not stop.forced:
        process.poll()  # reaps the leader, which would count as alive otherwise
        time.sleep(0.02)
        alive = _signal_group(process.pid, 0)
    if alive:
        _signal_group(process.pid, signal.SIGKILL)


def _signal_group(group: int, number: int) -> bool:
    """Send a signal (0 only looks) to a process group; False when nobody is left in it."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # the latter for a group of zombies on macOS
        return False
    return True
