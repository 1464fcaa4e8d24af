"""Histories from tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from optformer.data.studies.errors import ConfigError, DatasetError, SearchSpaceError
from optformer.data.studies.recorded_study import RecordedStudy
from optformer.data.studies.study_config import Goal
from optformer.training.evaluation.predictions.histories import load_histories

SPACE = """\
lr: {type: float, low: 0.001, high: 0.1, log: true}
kind: {type: categorical, choices: [a, b]}
depth: {type: int, low: 1, high: 8, when: {kind: [b]}}
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Three studies of two data sets; the rows are shuffled and in single precision."""
    rows = [
        {
            "dataset": dataset,
            "run": run,
            "step": step,
            "lr": np.float32(0.1),  # rounds past the bound
            "kind": "ab"[step % 2],
            "depth": 3 if step % 2 else None,
            "metric.acc": 0.1 * step if step != 2 else None,
            "metric.time": 9.0,
        }
        for dataset, run in (("d1", 0), ("d1", 1), ("d2", 0))
        for step in range(4)
    ]
    frame = pd.DataFrame(rows).sample(frac=1, random_state=0)
    frame["depth"] = frame["depth"].astype("Int32")
    frame.to_parquet(tmp_path / "logs.parquet")
    (tmp_path / "logs.space.yaml").write_text(SPACE)
    return tmp_path / "logs.parquet"


def _load(path: Path, count: int = 9, goal: Goal | None = "maximize") -> list[RecordedStudy]:
    return load_histories(path, count, np.random.default_rng(0), metric="acc", goal=goal)


def test_load__table__gives_each_study_in_order(table: Path) -> None:
    histories = _load(table)
    assert [history.task for history in histories] == ["d1", "d1", "d2"]
    first = histories[0]
    assert (first.source, first.config.metric, first.config.goal) == ("logs", "acc", "maximize")
    assert first.config.metadata == {"dataset": "d1"}
    assert [trial.value for trial in first.trials] == [0.0, 0.1, None, pytest.approx(0.3)]
    assert first.trials[0].params == {"lr": 0.1, "kind": "a"}
    assert first.trials[1].params == {"lr": 0.1, "kind": "b", "depth": 3}
    assert isinstance(first.trials[1].params["depth"], int)


def test_load__fewer_wanted__draws_that_many(table: Path) -> None:
    rng = np.random.default_rng(5)
    drawn = {len(load_histories(table, 2, rng, metric="acc", goal="minimize")) for _ in range(3)}
    assert drawn == {2}


def test_load__bad_table__says_what_is_wrong(table: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--metric and --goal"):
        _load(table, goal=None)
    with pytest.raises(DatasetError, match=r"lacks the column 'metric\.auc'"):
        load_histories(table, 1, np.random.default_rng(0), metric="auc", goal="maximize")
    frame = pd.read_parquet(table)
    frame.loc[frame["step"] == 1, "depth"] = 99
    frame.to_parquet(table)
    with pytest.raises(DatasetError, match=r"logs\.parquet, step 1: parameter 'depth'.*99"):
        _load(table)
    frame.drop(columns=["dataset", "run"]).to_parquet(table)
    with pytest.raises(DatasetError, match="no column that tells its studies apart"):
        _load(table)
    table.write_bytes(b"PAR1")
    with pytest.raises(DatasetError, match="cannot read the table"):
        _load(table)
    (tmp_path / "logs.space.yaml").unlink()
    with pytest.raises(SearchSpaceError, match=r"logs\.space\.yaml"):
        _load(table)


def test_load__other_file__is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.space.yaml").write_text(SPACE)
    with pytest.raises(DatasetError, match=r"ends in \.parquet or \.csv"):
        _load(tmp_path / "notes.txt")
