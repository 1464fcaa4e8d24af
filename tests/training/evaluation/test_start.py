from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Float
from optformer.data.studies.space_files import save_space
from optformer.data.studies.spaces import SearchSpace
from optformer.model.checkpoint import Checkpoint
from optformer.planning.planner import Planner
from optformer.training.config import TableConfig
from optformer.training.evaluation import start
from optformer.training.evaluation.metadata_ablation import VARIANTS
from optformer.training.evaluation.start import start_scores
from optformer.training.evaluation.transfer import draw_tasks, split_tables

SPACE = SearchSpace(x=Float(0.0, 1.0), y=Float(0.0, 1.0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table whose loss is least near x = .1 or near x = .9, by data set, and always at y = .5."""
    folder = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(0)
    rows = []
    for dataset in range(14):
        best = 0.1 if dataset % 2 else 0.9
        for _ in range(150):
            point = SPACE.sample(rng)
            loss = abs(point["x"] - best) + abs(point["y"] - 0.5)
            rows.append({"dataset": f"d{dataset}", **point, "metric.loss": loss})
    pd.DataFrame(rows).to_parquet(folder / "toy.parquet")
    save_space(SPACE, folder / "toy.space.yaml")
    return folder


@pytest.fixture(scope="module")
def tasks(folder: Path):
    config = TableConfig(
        path="toy.parquet",
        goals={"loss": "minimize"},
        tasks=["regression"],
        models=["toy"],
        held_out=0.4,
    )
    ((known, late),) = split_tables([config], folder)
    assert set(known.table.datasets).isdisjoint(late.table.datasets)
    return draw_tasks([late], count=2), draw_tasks([known], count=8)


def test_fixed_lists__data_sets_of_two_kinds__second_point_serves_the_other_kind(tasks):
    _, known = tasks
    (points,) = start._fixed_lists(known["toy"], 3).values()
    assert len(points) == 3
    assert sorted(round(point["x"]) for point in points[:2]) == [0, 1]


def test_start_scores__searches_and_list__have_a_regret_after_each_budget(
    tasks, tiny_checkpoint: Checkpoint
):
    late, known = tasks
    scores = start_scores(
        Planner(tiny_checkpoint), late, known, rivals=["random"], trials=3, seeds=1
    )
    assert [score.searcher for score in scores] == [
        *(f"optformer, {variant}" for variant in VARIANTS),
        "random",
        "fixed list",
    ]
    for score in scores:
        assert list(score.regret) == [1, 2, 3]
        assert 0 <= score.in_mode <= 1
    listed = scores[-1]
    assert listed.regret[2].value < 0.3 < scores[-2].regret[1].value
    assert listed.seeds == 1


def test_start_scores__unknown_rival__is_refused(tasks, tiny_checkpoint: Checkpoint):
    late, known = tasks
    with pytest.raises(ConfigError, match="unknown"):
        start_scores(Planner(tiny_checkpoint), late, known, rivals=["magic"])
