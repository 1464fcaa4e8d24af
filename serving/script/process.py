"""Scripts under their supervisors: start one, look whether it has ended, ask it to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, Protocol

from optformer.data.runtime.bounded_files import read_file
from optformer.data.runtime.text import visible
from optformer.serving.script import supervisor
from optformer.serving.script.trial_folder import STDERR, STDOUT, TrialFolder

GRACE_SECONDS = 5.0
"""Time between the signal that asks a script to end and the one that ends it."""


class StopRequest:
    """Asks running scripts to end; a second request kills those that hesitate."""

    def __init__(self) -> None:
        self.requested = False
        """Whether to stop."""
        self.forced = False
        """Whether to stop without waiting for anyone."""

    def request(self) -> None:
        """Ask to stop; asking again takes the patience away."""
        self.forced = self.requested
        self.requested = True


class RunningScript(Protocol):
    """A script that runs somewhere."""

    @property
    def ended(self) -> bool:
        """Whether it has ended, and what is left of it is in its trial's folder."""

    @property
    def complaint(self) -> str | None:
        """Why an ended script has no outcome in its folder, though nobody asked it to end."""

    @property
    def supervisor(self) -> int | None:
        """The process on this machine that goes on with it should this one end, if there is one."""

    def end(self, *, kill: bool = False) -> None:
        """Ask it to end, or leave it no time to; once however often this is called."""

    def prune(self) -> None:
        """Ask it to end because other trials do better."""


class StartScript(Protocol):
    """What starts scripts: `start_script`, or a cluster."""

    def __call__(
        self,
        command: Sequence[str],
        folder: TrialFolder,
        *,
        record: Mapping[str, Any],
        environment: Mapping[str, str],
        timeout: float | None,
    ) -> RunningScript:
        """Start a script; arguments and errors as for `start_script`."""


class ScriptProcess:
    """A script that its supervisor runs, started here or found running.

    Args:
        folder: Its trial's folder; without a supervisor of ours, the lock tells whether one lives.
        supervisor: The supervisor's process, when it was started here.
    """

    def __init__(
        self, folder: TrialFolder, supervisor: subprocess.Popen[bytes] | None = None
    ) -> None:
        self._folder = folder
        self._supervisor = supervisor
        self._asked: set[signal.Signals] = set()

    @property
    def ended(self) -> bool:
        """Whether the script, all it started, and its supervisor have ended."""
        if self._supervisor is not None:
            return self._supervisor.poll() is not None
        return not self._folder.is_locked()

    @cached_property
    def complaint(self) -> str | None:
        """Why the supervisor of an ended script kept no outcome that nobody asked it to forget."""
        code = 0 if self._supervisor is None else self._supervisor.wait()
        if self._supervisor is None or code == 0 or (code < 0 and self._asked):
            return None
        if code < 0:
            return f"its supervisor was ended by signal {-code}"
        said = b"" if self._supervisor.stderr is None else self._supervisor.stderr.read(4096)
        lines = said.decode("utf-8", errors="replace").strip().splitlines()
        return f"its outcome could not be kept: {visible(lines[-1]) if lines else code}"

    def end(self, *, kill: bool = False) -> None:
        """Ask the script to end, once however often this is called.

        Args:
            kill: Leave it no time to do so.
        """
        self._ask(signal.SIGUSR1 if kill else signal.SIGTERM)

    def prune(self) -> None:
        """Ask the script to end because other trials do better; its record will say so."""
        self._ask(signal.SIGUSR2)

    def _ask(self, number: signal.Signals) -> None:
        pid = None if number in self._asked else self.supervisor
        if pid is not None:
            self._asked.add(number)
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)

    @property
    def supervisor(self) -> int | None:
        """Number of the supervisor's process, None when it has ended or is on another machine."""
        if self.ended:
            return None
        if self._supervisor is not None:
            return self._supervisor.pid
        with suppress(OSError, ValueError, KeyError, TypeError):
            told = json.loads(read_file(self._folder.lock, limit=4096))
            return int(told["pid"]) if told["host"] == os.uname().nodename else None
        return None


def start_script(
    command: Sequence[str],
    folder: TrialFolder,
    *,
    record: Mapping[str, Any],
    environment: Mapping[str, str],
    timeout: float | None,
    outlives: bool = True,
) -> ScriptProcess:
    """Run a command without a shell, under a supervisor.

    A terminal's Ctrl-C does not reach it, so that ending it is up to its supervisor.

    Args:
        command: Program and arguments.
        folder: Where its output and its ending go; its lock is held until both are there.
        record: What the trial's record holds besides the ending.
        environment: Variables the script sees.
        timeout: Seconds after which it is ended, None for no limit.
        outlives: Whether supervisor and script go on when this process ends.

    Raises:
        OSError: The supervisor cannot be started. A program that cannot be is told in the record.
    """
    lock = folder.open_lock()
    job = {
        "command": list(command),
        "stdout": str(folder.path / STDOUT),
        "stderr": str(folder.path / STDERR),
        "timeout": timeout,
        "grace": GRACE_SECONDS,
        "lock": lock,
        "record": dict(record),
        "file": str(folder.record),
    }
    try:
        process = subprocess.Popen(
            # The same encoding of paths as here, which -I would not read from the environment.
            [sys.executable, f"-Xutf8={sys.flags.utf8_mode}", "-I", "-S", supervisor.__file__],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=[lock],
            start_new_session=True,
            preexec_fn=None if outlives else supervisor.end_with_this_process,
        )
    finally:
        os.close(lock)
    if process.stdin is not None:
        with suppress(BrokenPipeError), process.stdin as stdin:
            stdin.write(json.dumps(job).encode())
    return ScriptProcess(folder, process)
