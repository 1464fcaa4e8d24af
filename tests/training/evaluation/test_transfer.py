from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from optformer.data.studies.errors import ConfigError, DatasetError
from optformer.data.studies.parameters import Categorical, Float
from optformer.data.studies.space_files import save_space
from optformer.data.studies.spaces import SearchSpace
from optformer.model.checkpoint import Checkpoint
from optformer.planning.planner import Planner
from optformer.training.config import TableConfig
from optformer.training.evaluation import transfer
from optformer.training.evaluation.metadata_ablation import VARIANTS
from optformer.training.evaluation.transfer import (
    draw_tasks,
    held_out_data,
    transfer_scores,
    variant_scores,
)

SPACE = SearchSpace(
    kind=Categorical(["tree", "line"], description="what is fitted"),
    depth=Float(0.0, 1.0, when={"kind": ["tree"]}, description="how deep it grows"),
    rate=Float(1e-3, 1.0, log=True),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table whose error is least at depth 0.3 of a tree, on each of 12 data sets."""
    folder = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(0)
    rows = []
    for dataset in range(12):
        for _ in range(60):
            point = SPACE.sample(rng)
            error = (point.get("depth", 1.0) - 0.3) ** 2 + 0.01 * rng.random()
            rows.append({"dataset": f"d{dataset}", **point, "metric.error": error})
    pd.DataFrame(rows).to_parquet(folder / "toy.parquet")
    save_space(SPACE, folder / "toy.space.yaml")
    return folder


@pytest.fixture(scope="module")
def tasks(folder: Path) -> list[Any]:
    return draw_tasks(held_out_data([table()], folder), count=2, seed=3)


def table(held_out: float = 0.4) -> TableConfig:
    return TableConfig(
        path="toy.parquet",
        goals={"error": "minimize"},
        tasks=["regression"],
        models=["toy"],
        held_out=held_out,
    )


def test_held_out_data__table__is_what_training_leaves_out(folder: Path) -> None:
    (data,) = held_out_data([TableConfig(path="generated"), table()], folder)
    assert data.name == "toy"
    assert data.metadata == {"task": "regression", "model": "toy"}
    assert 0 < len(data.table.datasets) < 12


def test_held_out_data__nothing_held_out__says_so(folder: Path) -> None:
    with pytest.raises(DatasetError, match="holds out no data set; raise held_out"):
        held_out_data([table(held_out=0.001)], folder)
    for config in (TableConfig(path="generated"), table(held_out=0.0)):
        with pytest.raises(ConfigError, match="was not trained on a table"):
            held_out_data([config], folder)


def test_transfer_scores__all_variants__search_the_same_tasks(
    tasks: list[Any], tiny_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "BUDGETS", (2, 4))
    scores = transfer_scores(Planner(tiny_checkpoint), tasks, rivals=["random"], seeds=1, seed=3)
    assert [score.searcher for score in scores] == [
        *(f"optformer, {t}" for t in VARIANTS),
        "random",
    ]
    assert {(score.table, score.tasks, score.seeds) for score in scores} == {("toy", 2, 1)}
    for score in scores:
        first, last = score.regret[2], score.regret[4]
        assert first.low <= first.value <= first.high
        assert last.value <= first.value
    again = transfer_scores(Planner(tiny_checkpoint), tasks, rivals=["random"], seeds=1, seed=3)
    assert again == scores


def test_tasks__emulated_error__is_least_where_the_table_says(folder: Path) -> None:
    (data,) = held_out_data([table()], folder)
    (task,) = transfer._tasks(data, 1, 0, progress=False)
    assert task.goal == "minimize"  # its own; values are gains
    good = task.value({"kind": "tree", "depth": 0.3, "rate": 0.1})
    assert task.median < good <= task.top + 1e-9
    assert good > task.value({"kind": "tree", "depth": 0.9, "rate": 0.1})


def test_variant_scores__all_variants__are_compared_with_all_metadata(
    tasks: list[Any], tiny_checkpoint: Checkpoint
) -> None:
    scores = {score.variant: score for score in variant_scores(tiny_checkpoint, tasks)}
    assert list(scores) == list(VARIANTS)
    assert all(gap.value == gap.low == gap.high == 0.0 for gap in scores["all"].worse.values())
    for score in scores.values():
        assert (score.table, score.tasks) == ("toy", 2)
        assert list(score.loss) == list(transfer.CONTEXTS)
        for length, loss in score.loss.items():
            assert 0.0 < loss.value < 20.0
            gap = loss.value - scores["all"].loss[length].value
            assert score.worse[length].value == pytest.approx(gap)
    assert any(gap.value != 0.0 for gap in scores["permuted names"].worse.values())


def test_draw_tasks__no_tasks__is_refused() -> None:
    with pytest.raises(ConfigError, match="tasks must be at least 1, got 0"):
        draw_tasks([], count=0)


def test_transfer_scores__unknown_rival__lists_the_known(tiny_checkpoint: Checkpoint) -> None:
    with pytest.raises(ConfigError, match="unknown search method 'nobody'"):
        transfer_scores(Planner(tiny_checkpoint), {}, rivals=["nobody"])
