from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from optformer.serving.script.process import ScriptProcess, start_script
from optformer.serving.script.trial_folder import TrialFolder

Start = Callable[..., ScriptProcess]


@pytest.fixture
def folder(tmp_path: Path) -> TrialFolder:
    """The folder of trial 0, with the record that a trial begins with."""
    folder = TrialFolder(tmp_path, 0)
    folder.create({"params": {}, "timeout": None})
    return folder


@pytest.fixture
def start(folder: TrialFolder) -> Start:
    """Starts a Python program as the script of trial 0."""

    def start(program: str, *arguments: str, timeout: float | None = None) -> ScriptProcess:
        return start_script(
            [sys.executable, "-c", program, *arguments],
            folder,
            record={"params": {}, "timeout": timeout},
            environment={**os.environ, "GREETING": "hello"},
            timeout=timeout,
        )

    return start


@pytest.fixture
def run(start: Start, folder: TrialFolder) -> Callable[..., dict[str, Any]]:
    """Runs a Python program as the script of trial 0; gives its ending."""

    def run(program: str, *arguments: str, timeout: float | None = None) -> dict[str, Any]:
        process = start(program, *arguments, timeout=timeout)
        wait_until(lambda: process.ended)
        ending: dict[str, Any] = folder.load()["ending"]
        return ending

    return run


def wait_until(happened: Callable[[], bool]) -> None:
    """Wait until something is true, and fail when it does not happen."""
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline, "waited 60 s in vain"
        time.sleep(0.02)


def has_ended(pid: str | int) -> bool:
    """Whether a process is gone; one that nobody has reaped yet counts as gone."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
