"""Running benchmarks: protocols, resuming, failures and refusals."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optformer.data.methods import METHODS, create
from optformer.data.studies.errors import (
    ConfigError,
    MissingExtraError,
    ObjectiveError,
    StorageError,
)
from optformer.data.studies.trials import Trial
from optformer.serving.benchmarks import methods, results, suites
from optformer.serving.benchmarks.results import RunKey
from optformer.serving.benchmarks.runner import BenchmarkConfig, run_benchmark
from optformer.serving.benchmarks.suites import SUITES
from optformer.serving.benchmarks.tasks import Suite


def _config(out: Path, **changes: Any) -> BenchmarkConfig:
    settings: dict[str, Any] = {
        "suites": ["toy"],
        "methods": ["toy-ascending"],
        "trials": 4,
        "seeds": 2,
    }
    return BenchmarkConfig(out=out, **{**settings, **changes})


def _key(method: str, seed: int = 0, protocol: str = "own-start", suite: str = "toy") -> RunKey:
    return RunKey(protocol, suite, "live" if suite == "toy-live" else "line", method, seed)


def _stamps(out: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in out.rglob("*.parquet")}


def test_run__own_start__writes_one_shard_a_run(tmp_path: Path) -> None:
    summary = run_benchmark(_config(tmp_path, methods=["toy-ascending", "toy-stubborn"]))
    assert (summary.finished, summary.skipped, dict(summary.failed)) == (4, 0, {})
    run = results.read_run(tmp_path, _key("toy-ascending", 1))
    assert [row.value for row in run.rows] == [0.0, 1.0, 2.0, 3.0]
    assert [row.params["x"] for row in run.rows] == [0, 1, 2, 3]
    assert all(row.seconds is not None and row.seconds >= 0 for row in run.rows)
    assert results.read_reference(tmp_path, "toy", "line").median == 5.0


def test_run__again__repeats_nothing(tmp_path: Path) -> None:
    run_benchmark(_config(tmp_path))
    before = _stamps(tmp_path)
    assert run_benchmark(_config(tmp_path)).skipped == 2
    assert _stamps(tmp_path) == before


def test_run__interrupted__goes_on_without_duplicates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _config(tmp_path, methods=["random", "toy-ascending"], seeds=3)
    straight = tmp_path / "straight"
    run_benchmark(replace(config, out=straight))
    asked = 0

    class Interrupting:
        def suggest(self, history: Any, count: int, rng: np.random.Generator) -> Any:
            nonlocal asked
            asked += 1
            if asked == 7:  # in the middle of the second run
                raise KeyboardInterrupt
            return real.suggest(history, count, rng)

    task = suites.load_task("toy", "line")
    real = create("random", task.config)
    entry = METHODS._entries.pop("random")
    METHODS.register("random", lambda config: Interrupting())
    out = tmp_path / "resumed"
    with pytest.raises(KeyboardInterrupt):
        run_benchmark(replace(config, out=out))
    assert results.find_runs(out) == [_key("random", 0)]
    METHODS._entries["random"] = entry
    summary = run_benchmark(replace(config, out=out))
    assert (summary.finished, summary.skipped) == (5, 1)
    assert results.find_runs(out) == results.find_runs(straight)
    for key in results.find_runs(out):
        one, other = results.read_run(out, key), results.read_run(straight, key)
        assert [(r.trial, r.params, r.value) for r in one.rows] == [
            (r.trial, r.params, r.value) for r in other.rows
        ]


def test_run__more_trials_than_before__runs_anew(tmp_path: Path) -> None:
    run_benchmark(_config(tmp_path, trials=2))
    assert run_benchmark(_config(tmp_path, trials=4)).finished == 2
    assert run_benchmark(_config(tmp_path, trials=3)).skipped == 2
    assert len(results.read_run(tmp_path, _key("toy-ascending")).rows) == 4


def test_run__method_raises__is_recorded_and_the_rest_goes_on(tmp_path: Path) -> None:
    config = _config(tmp_path, methods=["toy-breaking", "toy-ascending"], seeds=1)
    summary = run_benchmark(config)
    assert dict(summary.failed) == {_key("toy-breaking"): "ZeroDivisionError: no variance"}
    run = results.read_run(tmp_path, _key("toy-breaking"))
    assert run.method_failed
    assert [row.status for row in run.rows] == ["completed", "completed", "method-failed"]
    assert run.rows[-1].reason == "ZeroDivisionError: no variance"
    assert len(results.read_run(tmp_path, _key("toy-ascending")).trials) == 4
    again = run_benchmark(config)  # a failed run is tried again, a finished one is not
    assert (again.finished, again.skipped) == (1, 1)


def test_run__illegal_suggestion__is_the_methods_failure(tmp_path: Path) -> None:
    class Illegal:
        def suggest(self, history: Any, count: int, rng: np.random.Generator) -> Any:
            return [{"x": 99}]

    METHODS.register("toy-illegal", lambda config: Illegal())
    summary = run_benchmark(_config(tmp_path, methods=["toy-illegal"], seeds=1))
    assert "'x'" in summary.failed[_key("toy-illegal")]


def test_run__missing_package_in_a_method__stops(tmp_path: Path) -> None:
    def factory(config: Any) -> Any:
        raise MissingExtraError("needs a package")

    METHODS.register("toy-missing", factory)
    with pytest.raises(MissingExtraError, match="needs a package"):
        run_benchmark(_config(tmp_path, methods=["toy-missing"]))


def test_run__shared_start__gives_all_methods_the_same_points(tmp_path: Path) -> None:
    methods = ["toy-ascending", "toy-stubborn", "random"]
    run_benchmark(_config(tmp_path, methods=methods, trials=6, seeds=2, shared_start=5))
    starts = []
    for seed in (0, 1):
        runs = [results.read_run(tmp_path, _key(m, seed, "shared-start-5")) for m in methods]
        points = [[row.params["x"] for row in run.rows[:5]] for run in runs]
        assert points[0] == points[1] == points[2]
        assert all(row.seconds is None for row in runs[0].rows[:5])
        assert runs[0].rows[5].params["x"] == 5
        assert runs[0].rows[5].seconds is not None
        starts.append(points[0])
    assert starts[0] != starts[1]


class _Counting:
    """Suggests on `line` how many points it is asked for, and notes what it saw of others."""

    def __init__(self) -> None:
        self.seen: list[list[float | None]] = []

    def suggest(
        self, history: Sequence[Trial], count: int, rng: np.random.Generator
    ) -> list[dict[str, Any]]:
        self.seen.append([trial.value for trial in history])
        return [{"x": count} for _ in range(count)]


@pytest.fixture
def counting() -> _Counting:
    method = _Counting()
    METHODS.register("toy-counting", lambda config: method)
    return method


def test_run__batches__are_asked_at_once_and_told_together(
    tmp_path: Path, counting: _Counting
) -> None:
    run_benchmark(_config(tmp_path, methods=["toy-counting"], trials=10, seeds=1, batch=4))
    run = results.read_run(tmp_path, _key("toy-counting", protocol="own-start-batch-4"))
    assert [row.value for row in run.rows] == [4.0] * 8 + [2.0] * 2  # the last batch is the rest
    assert [row.trial for row in run.rows] == list(range(10))
    assert [len(seen) for seen in counting.seen] == [0, 4, 8]
    assert all(None not in seen for seen in counting.seen)
    seconds = [row.seconds for row in run.rows]
    assert seconds[0] == seconds[3] != seconds[4]


def test_run__batches_after_a_shared_start__begin_behind_it(
    tmp_path: Path, counting: _Counting
) -> None:
    config = _config(tmp_path, trials=10, seeds=1, batch=4, shared_start=2)
    assert config.protocol == "shared-start-2-batch-4"
    run_benchmark(replace(config, methods=["toy-counting"]))
    assert [len(seen) for seen in counting.seen] == [2, 6]
    run_benchmark(replace(config, batch=1, methods=["toy-stubborn"]))
    one = results.read_run(tmp_path, _key("toy-counting", protocol="shared-start-2-batch-4"))
    other = results.read_run(tmp_path, _key("toy-stubborn", protocol="shared-start-2"))
    assert [row.params for row in one.rows[:2]] == [row.params for row in other.rows[:2]]


def test_run__too_few_points_in_a_batch__is_the_methods_failure(tmp_path: Path) -> None:
    summary = run_benchmark(_config(tmp_path, methods=["toy-breaking"], seeds=1, batch=2))
    (reason,) = summary.failed.values()
    assert reason == "asked for 2 points, it suggested 1"


def test_run__live_task__records_failures_and_estimates_the_median(tmp_path: Path) -> None:
    run_benchmark(_config(tmp_path, suites=["toy-live"], methods=["random"], trials=40, seeds=1))
    rows = results.read_run(tmp_path, _key("random", suite="toy-live")).rows
    failed = [row for row in rows if row.status == "failed"]
    assert failed
    assert all(row.params["x"] > 0.9 and row.reason == "out of memory" for row in failed)
    reference = results.read_reference(tmp_path, "toy-live", "live")
    assert reference.optimum is None
    assert reference.median == pytest.approx(0.5, abs=0.1)
    assert reference.best_random is not None
    assert 0.0 <= reference.best_random < 0.05


def test_run__objective_mostly_fails__has_no_median(tmp_path: Path) -> None:
    task = replace(suites.load_task("toy-live", "live"), name="dead", evaluate=lambda p: np.nan)
    SUITES.register("dead", Suite("dead", lambda: ("dead",), lambda name: task))
    with pytest.raises(ObjectiveError, match=r"dead/dead: half of 200 random points failed"):
        run_benchmark(_config(tmp_path, suites=["dead"], methods=["random"]))


def test_run__objective_breaks__is_not_blamed_on_the_method(tmp_path: Path) -> None:
    def broken(params: Mapping[str, Any]) -> float:
        raise KeyError("z")

    task = replace(suites.load_task("toy", "line"), name="broken", evaluate=broken)
    SUITES.register("broken", Suite("broken", lambda: ("broken",), lambda name: task))
    with pytest.raises(ConfigError, match="task broken/broken raised KeyError: 'z'"):
        run_benchmark(_config(tmp_path, suites=["broken"]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"suites": ["toys"]}, r"unknown suite 'toys'"),
        ({"suites": []}, "suites must name at least one"),
        ({"suites": ["toy", "toy"]}, "suite 'toy' is given twice"),
        ({"methods": ["bohb"]}, r"unknown search method 'bohb'"),
        ({"methods": []}, "got none"),
        ({"trials": 0}, "trials must be at least 1, got 0"),
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"workers": -1}, "workers must be at least 1, got -1"),
        ({"workers": 2, "ray": True}, "workers must be 1 with ray, .* got 2"),
        ({"batch": 0}, "batch must be at least 1, got 0"),
        ({"batch": 5}, "batch must be at most the 4 trials .* got 5"),
        ({"batch": 3, "shared_start": 2}, "batch must be at most the 2 trials .* got 3"),
        ({"shared_start": 4}, r"shared_start must be .* below trials=4, got 4"),
        ({"shared_start": -1}, "shared_start must be at least 0"),
    ],
)
def test_config__impossible__is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        _config(tmp_path, **changes)


def test_run__more_trials_than_points__is_refused_before_anything(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="toy/line has only 11 points, cannot run trials=12"):
        run_benchmark(_config(tmp_path / "out", trials=12))
    assert not (tmp_path / "out").exists()


def test_run__folder_of_another_version__is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_benchmark(_config(tmp_path))
    monkeypatch.setattr(methods, "method_version", lambda name, *, model: "optformer 99")
    with pytest.raises(ConfigError, match=r"seed-0\.parquet was written by .*'optformer 99'"):
        run_benchmark(_config(tmp_path))


def test_run__broken_shard__is_named_and_refused(tmp_path: Path) -> None:
    run_benchmark(_config(tmp_path))
    path = _key("toy-ascending", 1).path(tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StorageError, match=r"toy-ascending/seed-1\.parquet"):
        run_benchmark(_config(tmp_path))


def test_run__broken_file_of_another_run__is_refused_before_anything(tmp_path: Path) -> None:
    run_benchmark(_config(tmp_path, methods=["toy-stubborn"], seeds=1))
    _key("toy-stubborn").path(tmp_path).write_bytes(b"PAR1")
    with pytest.raises(StorageError, match=r"toy-stubborn/seed-0\.parquet"):
        run_benchmark(_config(tmp_path))
    assert len(results.find_runs(tmp_path)) == 1


def test_run__broken_reference__is_refused_before_anything(tmp_path: Path) -> None:
    run_benchmark(_config(tmp_path, methods=["toy-stubborn"], seeds=1))
    (tmp_path / "references" / "toy" / "line.json").write_text("{")
    with pytest.raises(StorageError, match=r"references/toy/line\.json"):
        run_benchmark(_config(tmp_path))
    assert len(results.find_runs(tmp_path)) == 1


def _suite_in_a_file(folder: Path) -> str:
    """A suite in a file of its own, because other processes load it."""
    (folder / "slow.py").write_text(_SLOW_SUITE)
    return f"{folder / 'slow.py'}:SUITE"


_SLOW_SUITE = """
import time
from optformer.data.studies.parameters import Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.serving.benchmarks.tasks import Suite, Task

CONFIG = StudyConfig(space=SearchSpace(x=Float(0.0, 1.0)), metric="y", goal="maximize")

def evaluate(params):
    time.sleep(0.02)
    return params["x"]

def load(name):
    return Task(name=name, config=CONFIG, evaluate=evaluate, optimum=1.0, reference=0.5)

SUITE = Suite("slow", lambda: ("one", "two"), load)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_run__killed__keeps_finished_runs_leaves_no_process_and_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    suite = _suite_in_a_file(tmp_path)
    words = ["benchmark", "--suite", suite, "--methods", "random", "--trials", "5", "--seeds"]
    words += ["8", "--workers", "2", "--out", str(out)]
    with subprocess.Popen(
        [sys.executable, "-c", f"from optformer.serving.cli import main; main({words!r})"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        while len(list(out.rglob("seed-*.parquet"))) < 3:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    before = _stamps(out)
    assert 3 <= len(before) < 16
    ends = time.monotonic() + 30
    while _running(process.pid) and time.monotonic() < ends:
        time.sleep(0.05)
    assert not _running(process.pid)

    config = BenchmarkConfig(suites=[suite], methods=["random"], out=out, trials=5, seeds=8)
    summary = run_benchmark(config)
    assert (summary.finished, summary.skipped) == (16 - len(before), len(before))
    assert {path: stamp for path, stamp in _stamps(out).items() if path in before} == before
    assert all(len(results.read_run(out, key).trials) == 5 for key in results.find_runs(out))


def _running(session: int) -> bool:
    """Whether any process of a session is left."""
    try:
        os.killpg(session, 0)
    except ProcessLookupError:
        return False
    return True


def test_run__two_processes__give_the_same_as_one(tmp_path: Path) -> None:
    config = BenchmarkConfig(
        suites=[_suite_in_a_file(tmp_path)],
        methods=["random", "tpe"],
        out=tmp_path / "two",
        trials=3,
        seeds=1,
        workers=2,
    )
    assert run_benchmark(config).finished == 4
    run_benchmark(replace(config, out=tmp_path / "one", workers=1))
    keys = results.find_runs(tmp_path / "two")
    assert keys == results.find_runs(tmp_path / "one")
    for key in keys:
        one, two = (results.read_run(tmp_path / name, key) for name in ("one", "two"))
        assert [(r.params, r.value) for r in one.rows] == [(r.params, r.value) for r in two.rows]
        assert [row.value for row in two.rows] == [row.params["x"] for row in two.rows]
        assert results.read_reference(tmp_path / "two", key.suite, key.task).optimum == 1.0
