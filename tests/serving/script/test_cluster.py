"""What a worker does on its node; `tests/serving/test_on_ray.py` has scripts on a local Ray."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from optformer.data.studies.errors import ConfigError, MissingExtraError
from optformer.serving.script.cluster import RayCluster, ScriptWorker, _Job, _unpack
from optformer.serving.script.trial_folder import TrialFolder

from .conftest import wait_until

PROGRAM = """
import os, pathlib
print(os.environ["OPTFORMER_TRIAL"], pathlib.Path.cwd().name)
pathlib.Path(os.environ["OPTFORMER_OUT"], "weights").mkdir()
pathlib.Path(os.environ["OPTFORMER_OUT"], "weights", "last").write_text("w")
"""

MakeJob = Callable[[str], _Job]


@pytest.fixture
def make_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeJob:
    """A job of trial 0 whose search is in another folder than its node."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "project").mkdir()

    def make(program: str) -> _Job:
        return _Job(
            command=[sys.executable, "-c", program],
            out=tmp_path / "node",
            number=0,
            record={"trial": 0, "params": {}, "started": 5.5},
            variables={
                "OPTFORMER_TRIAL": "0",
                "OPTFORMER_OUT": str(TrialFolder(tmp_path / "node", 0).path),
            },
            timeout=None,
            directory=str(tmp_path / "project"),
        )

    return make


def test_run__node_sees_the_folder__writes_there(make_job: MakeJob) -> None:
    job = make_job(PROGRAM)
    job.folder.create(job.record)
    worker = ScriptWorker()
    assert worker.run(job) == (None, None)
    assert worker.printed({"stdout.txt": 0}) is None
    assert job.folder.load()["ending"]["code"] == 0
    assert (job.folder.path / "stdout.txt").read_text() == "0 project\n"


def test_run__node_does_not_see_the_folder__sends_the_files(
    make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(PROGRAM)
    (tmp_path / "node" / "trial-0000").mkdir(parents=True)  # of an attempt that was lost
    complaint, files = ScriptWorker().run(job)
    assert complaint is None
    assert files is not None
    assert list((tmp_path / "node").iterdir()) == []
    here = TrialFolder(tmp_path / "search", 0)
    here.create(job.record)
    _unpack(files, here.path)
    assert here.load()["ending"]["code"] == 0
    assert (here.path / "weights" / "last").read_text() == "w"


def test_run__search_directory_is_not_there__runs_where_the_worker_is(make_job: MakeJob) -> None:
    job = make_job(PROGRAM)
    Path(job.directory).rmdir()
    job.folder.create(job.record)
    ScriptWorker().run(job)
    assert (job.folder.path / "stdout.txt").read_text() == f"0 {Path.cwd().name}\n"


def test_end__before_it_has_started__nothing_starts(make_job: MakeJob) -> None:
    worker = ScriptWorker()
    worker.end("end")
    job = make_job(PROGRAM)
    assert worker.run(job) == (None, None)
    assert not job.folder.path.exists()


@pytest.mark.parametrize(("how", "told"), [("prune", "pruned"), ("kill", "stopped")])
def test_end__while_it_runs__ends_it_and_says_why(make_job: MakeJob, how: str, told: str) -> None:
    job = make_job("import time; print('on', flush=True); time.sleep(60)")
    worker = ScriptWorker()
    job.folder.create(job.record)
    thread = threading.Thread(target=worker.run, args=[job])
    thread.start()
    output = job.folder.path / "stdout.txt"
    wait_until(lambda: output.is_file() and output.read_text() == "on\n")
    worker.end(how)
    thread.join(30)
    assert job.folder.load()["ending"][told] is True


def test_printed__from_a_place_on__gives_the_next_piece(make_job: MakeJob) -> None:
    program = "import time; print('one', flush=True); time.sleep(60)"
    worker = ScriptWorker()
    assert worker.printed({"stdout.txt": 0}) == {}
    thread = threading.Thread(target=worker.run, args=[make_job(program)])
    thread.start()
    wait_until(lambda: worker.printed({"stdout.txt": 0}) == {"stdout.txt": (0, b"one\n")})
    assert worker.printed({"stdout.txt": 2}) == {"stdout.txt": (2, b"e\n")}
    assert worker.printed({"stdout.txt": 9}) == {"stdout.txt": (0, b"")}
    worker.end("kill")
    thread.join(30)


@pytest.mark.parametrize("amount", ["-1", "many", "inf"])
def test_cluster__bad_amount__is_named(amount: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(ConfigError, match=f"'GPU' must be a number of at least 0, got '{amount}'"):
        RayCluster({"GPU": amount})


def test_cluster__without_ray__names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install \"optformer\[ray\]\""):
        RayCluster({})
