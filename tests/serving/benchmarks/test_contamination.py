"""What a checkpoint's record says about the tasks it was trained on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from optformer.data.studies.errors import CheckpointError
from optformer.model.checkpoint import SHIPPED
from optformer.serving.benchmarks import results
from optformer.serving.benchmarks.contamination import tasks_in_training, was_seen
from optformer.serving.benchmarks.runner import BenchmarkConfig, run_benchmark


def _checkpoint(folder: Path, tasks: Any) -> Path:
    """The shipped checkpoint with another record."""
    path = folder / "model"
    shutil.copytree(SHIPPED, path)
    run = json.loads((path / "run.json").read_text())
    run["data"]["tasks"] = tasks
    (path / "run.json").write_text(json.dumps(run))
    return path


def test_tasks_in_training__shipped_checkpoint__saw_no_task_for_reporting() -> None:
    trained_on = tasks_in_training()
    for suite in ("hpobench", "hpolib", "nasbench201", "bbob", "dev"):
        assert not was_seen(suite, "any", trained_on)


@pytest.mark.parametrize(
    ("suite", "task", "seen"),
    [
        ("sklearn", "sgd-wine", True),
        ("toy", "line", True),
        ("toy", "live", False),
        ("toy-live", "line", False),
    ],
)
def test_was_seen__names_and_patterns__match_whole_names(suite: str, task: str, seen: bool) -> None:
    assert was_seen(suite, task, ("sklearn/*", "toy/line")) is seen


def test_run__checkpoint_that_saw_a_task__is_marked_in_its_reference(tmp_path: Path) -> None:
    model = _checkpoint(tmp_path, ["toy/*"])
    config = BenchmarkConfig(
        suites=["toy", "toy-live"],
        methods=["toy-stubborn", "random"],
        out=tmp_path / "out",
        trials=2,
        seeds=1,
        model=model,
    )
    run_benchmark(config)
    assert results.read_reference(tmp_path / "out", "toy", "line").seen_in_training
    assert not results.read_reference(tmp_path / "out", "toy-live", "live").seen_in_training


@pytest.mark.parametrize("tasks", ["sklearn/*", [1]])
def test_tasks_in_training__entry_that_is_no_list_of_text__is_refused(
    tmp_path: Path, tasks: Any
) -> None:
    with pytest.raises(CheckpointError, match=r"data\.tasks.*must be a list of suite/task names"):
        tasks_in_training(_checkpoint(tmp_path, tasks))
