"""Runs of a benchmark as histories."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from optformer.data.studies.errors import DatasetError
from optformer.serving.benchmarks.histories import draw_runs
from optformer.serving.benchmarks.results import Row, RunKey, write_run


def test_draw_runs__results_folder__knows_space_and_metric(tmp_path: Path) -> None:
    rows = [
        Row(0, {"x": 4}, 4.0, "completed", None, 0.1),
        Row(1, {"x": 5}, None, "failed", "out of memory", 0.1),
        Row(2, {}, None, "method-failed", "ValueError: no", None),
    ]
    write_run(tmp_path, RunKey("own-start", "toy", "line", "any", 0), "any 1", rows)
    (history,) = draw_runs(tmp_path, 9, np.random.default_rng(0))
    assert (history.source, history.task) == (tmp_path.name, "toy/line")
    assert (history.config.metric, history.config.goal) == ("y", "maximize")
    assert [(trial.params, trial.value) for trial in history.trials] == [
        ({"x": 4}, 4.0),
        ({"x": 5}, None),
    ]


def test_draw_runs__empty_folder__is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no benchmark run"):
        draw_runs(tmp_path, 1, np.random.default_rng(0))
