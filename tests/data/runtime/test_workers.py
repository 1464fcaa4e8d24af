"""Worker processes: what their deaths cost. Calls are `eval` and `exec`, which any process has."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from optformer.data.runtime.workers import WorkerPool


def die_first(times: int, log: Path) -> str:
    """Code that kills its process the first so many times, and then ends."""
    return f"""
import os, pathlib
log = pathlib.Path({str(log)!r})
log.write_text((log.read_text() if log.exists() else "") + "x")
if len(log.read_text()) <= {times}:
    os._exit(1)
"""


def test_submit__calls__begin_in_order_and_give_their_results(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with WorkerPool(1) as pool:
        futures = [pool.submit(exec, f"print({i}, file=open({str(log)!r}, 'a'))") for i in range(4)]
        assert [pool.submit(math.sqrt, x).result() for x in (4.0, 1.0)] == [2.0, 1.0]
        assert [future.result() for future in futures] == [None] * 4
    assert log.read_text().split() == ["0", "1", "2", "3"]


def test_submit__call_that_raises__raises_with_the_workers_traceback() -> None:
    with WorkerPool(2) as pool:
        with pytest.raises(ValueError, match="math domain error") as caught:
            pool.submit(math.sqrt, -1.0).result()
        assert "Traceback" in str(caught.value.__cause__)
        assert pool.submit(math.sqrt, 4.0).result() == 2.0


def test_submit__error_that_cannot_be_sent__raises_its_text() -> None:
    odd = "class Odd(Exception): pass\nraise Odd('too odd')"
    with WorkerPool(1) as pool, pytest.raises(RuntimeError, match="Odd: too odd"):
        pool.submit(exec, odd, {}).result()


@pytest.mark.parametrize("deaths", [1, 2])
def test_submit__process_dies_over_a_call__it_is_made_again(tmp_path: Path, deaths: int) -> None:
    with WorkerPool(1) as pool:
        pool.submit(exec, die_first(deaths, tmp_path / "log")).result()
    assert (tmp_path / "log").read_text() == "x" * (deaths + 1)


def test_submit__every_process_dies_over_a_call__it_alone_has_failed(tmp_path: Path) -> None:
    with WorkerPool(2, attempts=2) as pool:
        fatal = pool.submit(exec, die_first(9, tmp_path / "log"))
        others = [pool.submit(math.sqrt, 4.0) for _ in range(5)]
        with pytest.raises(BrokenProcessPool, match="died in each of 2 attempts"):
            fatal.result()
        assert [other.result() for other in others] == [2.0] * 5
    assert (tmp_path / "log").read_text() == "xx"


def test_submit__process_died_while_idle__another_takes_the_call() -> None:
    with WorkerPool(1, attempts=1) as pool:
        assert pool.submit(math.sqrt, 4.0).result() == 2.0
        [worker] = multiprocessing.active_children()
        worker.kill()
        worker.join()
        time.sleep(0.2)  # until the pool has seen it
        assert pool.submit(math.sqrt, 1.0).result() == 1.0


def test_exit__calls_that_have_not_begun__are_dropped(tmp_path: Path) -> None:
    started = tmp_path / "started"
    with WorkerPool(1) as pool:
        first = pool.submit(exec, f"open({str(started)!r}, 'w'); import time; time.sleep(0.3)")
        second = pool.submit(math.sqrt, 4.0)
        while not started.exists():
            time.sleep(0.01)
    assert first.result() is None
    assert second.cancelled()
    assert multiprocessing.active_children() == []


def test_process__threads__are_one() -> None:
    with WorkerPool(1) as pool:
        assert pool.submit(eval, "__import__('torch').get_num_threads()").result() == 1


def test_process__parent_killed__ends_too(tmp_path: Path) -> None:
    found = tmp_path / "pid"
    work = f"import os, time; open({str(found)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    code = (
        "from optformer.data.runtime.workers import WorkerPool\n"
        f"WorkerPool(1).submit(exec, {work!r}).result()"
    )
    with subprocess.Popen([sys.executable, "-P", "-c", code]) as parent:
        deadline = time.monotonic() + 30
        while not (found.exists() and found.read_text()) and time.monotonic() < deadline:
            time.sleep(0.02)
        worker = int(found.read_text())
        parent.kill()
    while time.monotonic() < deadline:
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker outlived its parent")
