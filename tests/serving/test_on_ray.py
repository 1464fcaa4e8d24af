"""On a local Ray: the page about Ray Tune, and scripts of `optformer tune`."""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import optformer as of
from optformer.serving.cli import main
from optformer.serving.script.cluster import RayCluster, RemoteScript
from optformer.serving.script.trial_folder import TrialFolder

ray = pytest.importorskip("ray")
tune = pytest.importorskip("ray.tune")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AIR_NEW_OUTPUT", "0")
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
        try:
            yield
        finally:
            ray.shutdown()


def test_guide__ray_tune__every_trial_is_recorded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.train.constants.DEFAULT_STORAGE_PATH", str(tmp_path))
    quick = partial(tune.TuneConfig, reuse_actors=True)  # no process a trial
    monkeypatch.setattr(tune, "TuneConfig", quick)
    guide = ROOT / "docs" / "how-to" / "use-with-ray-tune.md"
    search, *others = re.findall(r"```python\n(.*?)```", guide.read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {"__name__": "guide"}
    exec(compile(search, str(guide), "exec"), names)
    study, results = names["searcher"].study, names["results"]
    finished = [trial for trial in study.trials if trial.has_value]
    assert len(study.trials) == len(results) == 6
    assert sorted(trial.value for trial in finished) == sorted(
        result.metrics["loss"] for result in results if not result.error
    )
    failed = [trial.params["optimizer/name"] for trial in study.trials if trial.reason]
    assert failed == ["lbfgs"] * len(results.errors)
    lengths = [result.metrics["training_iteration"] for result in results if not result.error]
    stopped = [trial for trial in study.trials if trial.status is of.TrialStatus.STOPPED]
    assert len(stopped) == sum(length < 4 for length in lengths)
    assert all(len(trial.intermediate_values) in lengths for trial in finished)
    assert study.config.space["width"] == of.Int(8, 64, step=8)
    restored = names["tune"].Tuner.restore(results.experiment_path, names["train"])
    assert len(restored.get_results()) == 6
    for code in others:
        exec(compile(code, str(guide), "exec"), names)


TRAIN = """
import os, pathlib, sys, time

def parent(pid):
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

trial, lost = os.environ["OPTFORMER_TRIAL"], pathlib.Path("lost")
if trial == "0" and not lost.exists():
    lost.touch()
    os.kill(parent(os.getppid()), 9)  # the worker, as if its machine were lost
    time.sleep(60)
if trial == "1":
    sys.exit("out of memory")
for epoch in range(600 if trial == "3" else 2):
    print(f"loss: {float(sys.argv[1]) + int(trial) + epoch}", flush=True)
    time.sleep(0.5 if trial == "3" else 0)
"""


def test_tune__with_ray__runs_loses_fails_and_prunes_as_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(TRAIN)
    Path("space.yaml").write_text("x: {type: float, low: 0, high: 0.1}")
    options = ["--space", "space.yaml", "--metric", "loss", "--goal", "minimize", "--seed", "0"]
    pruner = "median(n_startup_trials=2)"
    command = ["--", sys.executable, "train.py", "{x}"]
    assert main(["tune", *options, "--trials", "4", "--pruner", pruner, "--ray", *command]) == 0
    trials = of.load_study(storage="sqlite:///runs/tune/study.db").trials
    assert [trial.status.value for trial in trials] == [
        *["completed", "failed", "completed", "stopped"]
    ]
    assert trials[1].reason == "exit status 1: out of memory"
    assert trials[0].value == trials[0].params["x"] + 1
    assert ray.is_initialized()  # it was not the command's to stop


def test_script__on_a_node_without_the_folder__output_and_files_come_back(tmp_path: Path) -> None:
    folder, elsewhere = TrialFolder(tmp_path / "search", 0), tmp_path / "node"
    record = {"trial": 0, "params": {}, "started": 0.5}
    folder.create(record)
    program = "import time; print('on', flush=True); time.sleep(1.5); print('off')"

    class ElsewhereCluster(RayCluster):
        """One whose nodes have another folder in the place of the search's."""

        def _send(self, job: Any, folder: TrialFolder) -> RemoteScript:
            return super()._send(replace(job, out=elsewhere), folder)

    cluster = ElsewhereCluster({"CPU": "0.5"})
    assert cluster.has_room
    assert not RayCluster({"GPU": "64"}).has_room
    script = cluster(
        [sys.executable, "-c", program], folder, record=record, environment={}, timeout=None
    )
    wait_until = runpy.run_path(str(Path(__file__).parent / "script" / "conftest.py"))["wait_until"]
    output = folder.path / "stdout.txt"
    wait_until(lambda: script.ended or (output.exists() and output.read_text() == "on\n"))
    assert not script.ended
    wait_until(lambda: script.ended)
    assert script.complaint is None
    assert output.read_text() == "on\noff\n"
    assert folder.load()["ending"]["code"] == 0
    assert list(elsewhere.iterdir()) == []
