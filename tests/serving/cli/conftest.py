from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

LAUNCHER = Path(__file__).parent / "random_optformer.py"


@pytest.fixture
def random_planner(monkeypatch: pytest.MonkeyPatch) -> type:
    """Puts a random planner in place of the model; gives its class."""
    monkeypatch.delitem(sys.modules, "optformer.planning.planner", raising=False)
    module = runpy.run_path(str(LAUNCHER))
    before = sys.modules.copy()
    module["install"]()
    installed = sys.modules["optformer.planning.planner"]
    if "optformer.planning.planner" in before:
        sys.modules["optformer.planning.planner"] = before["optformer.planning.planner"]
    else:
        del sys.modules["optformer.planning.planner"]
    monkeypatch.setitem(sys.modules, "optformer.planning.planner", installed)
    planner: type = module["RandomPlanner"]
    return planner


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts the command line, with a random planner, in a process of its own."""

    def start(*arguments: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(LAUNCHER), *arguments],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TERM": "xterm"},
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            # A shell's background job ignores Ctrl-C and its children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    return start


@pytest.fixture
def wait_for() -> Callable[[Callable[[], bool]], None]:
    """Waits until something is true, and fails when it does not happen."""

    def wait_for(happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not happened():
            assert time.monotonic() < deadline, "waited 30 s in vain"
            time.sleep(0.05)

    return wait_for
