from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from optformer.serving.script.process import Ending, StopRequest, run_process

# Starts a child that ignores SIGTERM, notes its process id, and waits.
FAMILY = """
import os, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import signal, time;"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"],
    stdout=subprocess.PIPE)
child.stdout.readline()
open(sys.argv[1], "w").write(str(child.pid))
time.sleep(60)
"""


def run(
    code: str,
    tmp_path: Path,
    *arguments: str,
    timeout: float | None = None,
    stop: StopRequest | None = None,
) -> Ending:
    return run_process(
        [sys.executable, "-c", code, *arguments],
        environment={**os.environ, "GREETING": "hello"},
        stdout=tmp_path / "out",
        stderr=tmp_path / "err",
        timeout=timeout,
        stop=stop or StopRequest(),
    )


def ends(pid: int) -> bool:
    """Whether a process ends within seconds; one that nobody has reaped yet has ended."""
    status = Path(f"/proc/{pid}/status")
    for _ in range(100):
        try:
            if "\nState:\tZ" in status.read_text():
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def test_run_process__ends_by_itself__gives_status_and_output(tmp_path: Path) -> None:
    code = "import os, sys; print(os.environ['GREETING']); print('no', file=sys.stderr); exit(3)"
    ending = run(code, tmp_path)
    assert (ending.code, ending.timed_out, ending.stopped) == (3, False, False)
    assert (tmp_path / "out").read_text() == "hello\n"
    assert (tmp_path / "err").read_text() == "no\n"


def test_run_process__reads_standard_input__sees_its_end(tmp_path: Path) -> None:
    assert run("import sys; exit(len(sys.stdin.read()))", tmp_path, timeout=20).code == 0


def test_run_process__unknown_program__raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run_process(
            ["no-such-program-anywhere"],
            environment={},
            stdout=tmp_path / "out",
            stderr=tmp_path / "err",
            timeout=None,
            stop=StopRequest(),
        )


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_run_process__time_limit__ends_the_whole_family(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optformer.serving.script.process._GRACE_SECONDS", 0.3)
    ending = run(FAMILY, tmp_path, str(tmp_path / "pid"), timeout=2)
    assert ending.timed_out
    assert not ending.stopped
    assert ending.code == -15
    assert ending.seconds < 10
    assert ends(int((tmp_path / "pid").read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_run_process__two_stop_requests__kills_without_grace(tmp_path: Path) -> None:
    stop = StopRequest()

    def ask() -> None:
        while not (tmp_path / "pid").exists():
            time.sleep(0.02)
        stop.request()
        assert stop.requested
        assert not stop.forced
        stop.request()

    thread = threading.Thread(target=ask)
    thread.start()
    started = time.monotonic()
    ending = run(FAMILY, tmp_path, str(tmp_path / "pid"), stop=stop)
    thread.join()
    assert ending.stopped
    assert time.monotonic() - started < 4  # the grace period alone is 5
    assert ends(int((tmp_path / "pid").read_text()))
