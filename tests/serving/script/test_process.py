from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from optformer.serving.script import process as process_module
from optformer.serving.script.process import ScriptProcess, StopRequest, start_script
from optformer.serving.script.trial_folder import TrialFolder

from .conftest import Start, has_ended, wait_until

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
Run = Callable[..., dict[str, Any]]

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print(1, flush=True); time.sleep(60)"
)
# Starts a stubborn child, maybe in a session of its own, notes its process id, and goes on.
PARENT = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {STUBBORN!r}], stdout=subprocess.PIPE,
    start_new_session=sys.argv[2] == "apart")
child.stdout.readline()
open(sys.argv[1], "w").write(str(child.pid))
time.sleep(float(sys.argv[3]))
"""

KILLED_SEARCH = """
import os, sys
from pathlib import Path
from optformer.serving.script.process import start_script
from optformer.serving.script.trial_folder import TrialFolder
command = [sys.executable, "-c", "import time; time.sleep(2); print(7)"]
folder = TrialFolder(Path(sys.argv[1]), 0)
start_script(command, folder, record={"a": 1}, environment=os.environ, timeout=None)
os.kill(os.getpid(), 9)
"""


def test_start_script__ends_by_itself__ending_and_output_are_kept(
    run: Run, folder: TrialFolder
) -> None:
    program = "import os, sys; print(os.environ['GREETING']); print('no', file=sys.stderr); exit(3)"
    ending = run(program)
    assert ending["seconds"] > 0
    del ending["seconds"]
    assert ending == {
        "code": 3,
        "error": None,
        "timed_out": False,
        "stopped": False,
        "pruned": False,
    }
    assert (folder.path / "stdout.txt").read_text() == "hello\n"
    assert (folder.path / "stderr.txt").read_text() == "no\n"


def test_start_script__reads_standard_input__sees_its_end(run: Run) -> None:
    assert run("import sys; exit(len(sys.stdin.read()))", timeout=20)["code"] == 0


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (["no-such-program-anywhere"], "No such file"),
        ([""], ""),
        ([sys.executable, "-c", "\0"], "null byte"),
        ([sys.executable, "-c", "\ud800"], "surrogates not allowed"),
        (["/"], "Permission denied"),
    ],
)
def test_start_script__cannot_be_started__told_in_the_record(
    command: list[str], error: str, folder: TrialFolder
) -> None:
    process = start_script(command, folder, record={}, environment=os.environ, timeout=None)
    wait_until(lambda: process.ended)
    assert process.complaint is None
    assert error in folder.load()["ending"]["error"]


@linux
@pytest.mark.parametrize("where", ["beside", "apart"])
def test_start_script__time_limit__ends_the_whole_family(
    where: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "GRACE_SECONDS", 0.3)
    ending = run(PARENT, str(tmp_path / "pid"), where, "60", timeout=1)
    assert ending["timed_out"]
    assert not ending["stopped"]
    assert ending["code"] == -signal.SIGTERM
    assert 1 <= ending["seconds"] < 20
    assert has_ended((tmp_path / "pid").read_text())


@linux
@pytest.mark.parametrize("where", ["beside", "apart"])
def test_start_script__children_left_behind__ended_with_the_script(
    where: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "GRACE_SECONDS", 0.3)
    ending = run(PARENT, str(tmp_path / "pid"), where, "0")
    assert (ending["code"], ending["timed_out"], ending["stopped"]) == (0, False, False)
    assert has_ended((tmp_path / "pid").read_text())


@linux
def test_start_script__stands_still__ended_all_the_same(run: Run) -> None:
    ending = run("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", timeout=0.5)
    assert ending["timed_out"]
    assert ending["code"] == -signal.SIGTERM
    assert ending["seconds"] < process_module.GRACE_SECONDS


@linux
def test_end__asked_twice__kills_without_grace(
    start: Start, folder: TrialFolder, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    process = start(PARENT, str(pid), "beside", "60")
    wait_until(lambda: pid.exists() and pid.read_text() != "")
    started = time.monotonic()
    process.end()
    process.end()  # once more of the same is no second request
    process.end(kill=True)
    wait_until(lambda: process.ended)
    assert time.monotonic() - started < process_module.GRACE_SECONDS - 1
    assert folder.load()["ending"]["stopped"]
    assert has_ended(pid.read_text())


@linux
def test_script_process__search_killed__runs_on_and_is_found(
    folder: TrialFolder, tmp_path: Path
) -> None:
    search = subprocess.run([sys.executable, "-c", KILLED_SEARCH, str(tmp_path)])
    assert search.returncode == -9
    process = ScriptProcess(folder)
    assert not process.ended
    wait_until(lambda: process.ended)
    record = folder.load()
    assert record["a"] == 1
    assert record["ending"]["code"] == 0
    assert (folder.path / "stdout.txt").read_text() == "7\n"


@linux
def test_end__script_found_running__asked_through_its_lock(
    start: Start, folder: TrialFolder, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    start(PARENT, str(pid), "beside", "60")
    wait_until(lambda: pid.exists() and pid.read_text() != "")
    found = ScriptProcess(folder)
    found.end(kill=True)
    wait_until(lambda: found.ended)
    assert folder.load()["ending"]["stopped"]


def test_complaint__record_cannot_be_written__says_why(
    start: Start, folder: TrialFolder, tmp_path: Path
) -> None:
    process = start(
        "import os, shutil, sys; shutil.rmtree(sys.argv[1]); open(sys.argv[1], 'w')",
        str(folder.path),
    )
    wait_until(lambda: process.ended)
    assert process.complaint is not None
    assert process.complaint.startswith("its outcome could not be kept: ")
    assert str(folder.path) in process.complaint


def test_complaint__supervisor_killed__says_so(start: Start, folder: TrialFolder) -> None:
    process = start("import os, signal, time; os.kill(os.getppid(), signal.SIGKILL)")
    wait_until(lambda: process.ended)
    assert process.complaint == "its supervisor was ended by signal 9"
    assert "ending" not in folder.load()


def test_stop_request__asked_again__is_forced() -> None:
    stop = StopRequest()
    assert (stop.requested, stop.forced) == (False, False)
    stop.request()
    assert (stop.requested, stop.forced) == (True, False)
    stop.request()
    assert (stop.requested, stop.forced) == (True, True)
