"""Study tables as objectives: lookup, the nearest trial, and tables that cannot be read."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from optformer.data.objectives.logged import LoggedStudies
from optformer.data.studies.errors import ConfigError, DatasetError, ObjectiveError
from optformer.data.studies.parameters import Categorical, Float, Int
from optformer.data.studies.space_files import save_space
from optformer.data.studies.spaces import SearchSpace

SPACE = SearchSpace(
    lr=Float(1e-4, 1.0, log=True),
    solver=Categorical(["sgd", "adam", "none"]),
    momentum=Float(0.0, 1.0, when={"solver": ["sgd"]}),
    layers=Int(1, 5),
)
ROWS: list[dict[str, Any]] = [
    {"data": "a b", "lr": 1e-4, "solver": "sgd", "momentum": 0.0, "layers": 1, "acc": 0.1},
    {"data": "a b", "lr": 1e-2, "solver": "sgd", "momentum": 0.9, "layers": 3, "acc": 0.5},
    {"data": "a b", "lr": 1e-2, "solver": "adam", "momentum": None, "layers": 3, "acc": 0.7},
    {"data": "a b", "lr": 1.0, "solver": "none", "momentum": None, "layers": 5, "acc": None},
    {"data": "c", "lr": 1.0, "solver": "adam", "momentum": None, "layers": 2, "acc": 0.2},
    {"data": "c", "lr": 1.0, "solver": "adam", "momentum": None, "layers": 2, "acc": 0.4},
]


def _write(folder: Path, rows: list[dict[str, Any]] = ROWS, suffix: str = ".csv") -> Path:
    path = folder / f"net{suffix}"
    frame = pd.DataFrame(rows)
    if suffix == ".csv":
        frame.to_csv(path, index=False)
    elif suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path)
    save_space(SPACE, folder / "net.space.yaml")
    return path


def _open(path: Path, **changes: Any) -> LoggedStudies:
    options: dict[str, Any] = {"metric": "acc", "goal": "maximize", "task_column": "data"}
    return LoggedStudies(path, **{**options, **changes})


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_studies__any_format__give_the_same_tasks_and_values(tmp_path: Path, suffix: str) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    _write(tmp_path, suffix=suffix)
    studies = _open(tmp_path)
    assert studies.names == ("net-a-b-acc", "net-c-acc")
    objective = studies.objective("net-a-b-acc")
    assert objective.config.space == SPACE
    assert objective.config.metadata == {"model": "net", "dataset": "a b"}
    assert (objective.config.metric, objective.config.goal) == ("acc", "maximize")
    assert objective.optimum == 0.7
    assert objective({"lr": 1e-2, "solver": "sgd", "momentum": 0.9, "layers": 3}) == 0.5
    assert objective({"lr": 1e-2, "solver": "adam", "layers": 3}) == 0.7
    assert pickle.loads(pickle.dumps(objective))({"lr": 2e-2, "solver": "adam", "layers": 3}) == 0.7


def test_objective__repeated_point__is_their_mean(tmp_path: Path) -> None:
    objective = _open(_write(tmp_path)).objective("net-c-acc")
    assert objective({"lr": 1.0, "solver": "adam", "layers": 2}) == pytest.approx(0.3)
    assert objective.optimum == pytest.approx(0.3)


def test_objective__nearest_trial_failed__is_a_failed_evaluation(tmp_path: Path) -> None:
    objective = _open(_write(tmp_path)).objective("net-a-b-acc")
    with pytest.raises(ObjectiveError, match="nearest logged trial failed"):
        objective({"lr": 0.9, "solver": "none", "layers": 5})


def test_distance__of_every_kind_of_parameter__is_gowers(tmp_path: Path) -> None:
    trials: Any = _open(_write(tmp_path)).objective("net-a-b-acc").function
    here = {"lr": 1e-3, "solver": "sgd", "momentum": 0.5, "layers": 2}
    # On the unit interval: lr 0.25, momentum 0.5, layers 0.25.
    expected = [
        0.25 + 0.0 + 0.5 + 0.25,
        0.25 + 0.0 + 0.4 + 0.25,
        0.25 + 1.0 + 1.0 + 0.25,  # another solver, and momentum is off there
        0.75 + 1.0 + 1.0 + 0.75,
    ]
    assert trials.distances(here) == pytest.approx(np.array(expected))
    off = trials.distances({"lr": 1e-2, "solver": "none", "layers": 3})
    assert off[2] == pytest.approx(1.0)  # momentum is off in both


def test_studies__without_a_task_column__are_one_task_and_repeat(tmp_path: Path) -> None:
    rows = [{k: v for k, v in row.items() if k != "data"} for row in ROWS]
    studies = _open(_write(tmp_path, rows), task_column=None)
    assert studies.names == ("net-acc",)
    assert studies.objective("net-acc").config.metadata == {"model": "net"}


def test_studies__usual_task_column__is_found(tmp_path: Path) -> None:
    rows = [{"dataset": row["data"], **row} for row in ROWS]
    assert len(_open(_write(tmp_path, rows), task_column=None).names) == 2


def test_studies__goal_minimize__have_the_smallest_value_as_optimum(tmp_path: Path) -> None:
    assert _open(_write(tmp_path), goal="minimize").objective("net-a-b-acc").optimum == 0.1


def test_objective__values_moved_by_single_precision__are_legal(tmp_path: Path) -> None:
    rows = [{**ROWS[0], "lr": 1.0 + 1e-7, "momentum": -1e-10}]
    objective = _open(_write(tmp_path, rows)).objective("net-a-b-acc")
    assert objective({"lr": 1.0, "solver": "sgd", "momentum": 0.0, "layers": 1}) == 0.1


def test_objective__value_of_an_inactive_parameter__is_ignored(tmp_path: Path) -> None:
    rows = [{**ROWS[2], "momentum": 7.0}]
    objective = _open(_write(tmp_path, rows)).objective("net-a-b-acc")
    assert objective({"lr": 0.1, "solver": "adam", "layers": 1}) == 0.7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 3.0}, r"net\.csv, row 0: parameter 'lr'.*3\.0"),
        ({"lr": "fast"}, r"net\.csv, row 0: parameter 'lr': expected a number, got 'fast'"),
        ({"solver": "lbfgs"}, r"net\.csv, row 0: parameter 'solver'.*'lbfgs'"),
        ({"momentum": None}, r"net\.csv, row 0: parameter 'momentum'"),
        ({"layers": 1.5}, r"net\.csv, row 0: parameter 'layers'.*1\.5"),
        ({"acc": "good"}, r"net\.csv, row 0: expected a number, got 'good'"),
        ({"acc": None}, r"no trial of task 'net-a-b-acc' has a value of 'acc'"),
    ],
)
def test_objective__bad_cell__is_named(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = _write(tmp_path, [{**ROWS[0], **change}])
    with pytest.raises(DatasetError, match=message):
        _open(path).objective("net-a-b-acc")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "auc"}, r"no column of the metric 'auc'; .* \['data', 'acc'\]"),
        ({"metric": "lr"}, r"no column of the metric 'lr'"),
        ({"task_column": "set"}, r"lacks the column 'set'"),
    ],
)
def test_studies__missing_column__is_named(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        _open(_write(tmp_path), **changes)


def test_studies__no_table__is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no file or folder"):
        _open(tmp_path / "nothing")
    with pytest.raises(ConfigError, match=r"holds no study table.*\.jsonl"):
        _open(tmp_path)
    path = _write(tmp_path)
    (tmp_path / "net.space.yaml").unlink()
    with pytest.raises(DatasetError, match=r"no search space beside it; write .*net\.space\.yaml"):
        _open(path)


def test_studies__table_that_cannot_be_read__is_named(tmp_path: Path) -> None:
    path = _write(tmp_path, suffix=".jsonl")
    path.write_text("{broken\n")
    with pytest.raises(DatasetError, match=r"cannot read the study table .*net\.jsonl"):
        _open(path)


def test_studies__rows_without_a_task_or_none_at_all__are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"row 1: the task column data is empty"):
        _open(_write(tmp_path, [ROWS[0], {**ROWS[1], "data": None}]))
    path = _write(tmp_path)
    path.write_text(path.read_text().splitlines()[0] + "\n")
    with pytest.raises(DatasetError, match="holds no row"):
        _open(path)


def test_studies__names_that_fall_together__are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two tasks would be called 'net-a-b-acc'"):
        _open(_write(tmp_path, [ROWS[0], {**ROWS[1], "data": "a-b"}]))


def test_objective__unknown_name__lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'net'.*'net-c-acc'"):
        _open(_write(tmp_path)).objective("net")
