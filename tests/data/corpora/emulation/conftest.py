"""A small table of a known response on a conditional space."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from optformer.data.corpora.emulation.emulator import Emulator, fit_emulator
from optformer.data.corpora.emulation.tables import EvaluationTable, load_table
from optformer.data.studies.parameters import Categorical, Float, Int
from optformer.data.studies.space_files import save_space
from optformer.data.studies.spaces import SearchSpace

SPACE = SearchSpace(
    kind=Categorical(["tree", "line"]),
    depth=Int(1, 9, when={"kind": ["tree"]}),
    rate=Float(1e-3, 1.0, log=True),
    rounds=Int(5, 3000, log=True),
)


@pytest.fixture(scope="session")
def table_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    rows = []
    for dataset in range(6):
        best = rng.uniform(0.2, 0.8)
        for _ in range(150):
            point = SPACE.sample(rng)
            rate = SPACE["rate"].to_unit(point["rate"])
            depth = 0.0 if "depth" not in point else 0.3 * point["depth"] / 9
            error = (rate - best) ** 2 - depth
            rows.append({"dataset": dataset, **point, "metric.error": error, "metric.auc": -error})
    path = tmp_path_factory.mktemp("tables") / "toy.parquet"
    pd.DataFrame(rows).to_parquet(path)
    save_space(SPACE, path.with_suffix(".space.yaml"))
    return path


@pytest.fixture(scope="session")
def table(table_path: Path) -> EvaluationTable:
    return load_table(table_path, {"error": "minimize", "auc": "maximize"})


@pytest.fixture(scope="session")
def emulator(table: EvaluationTable) -> Emulator:
    return fit_emulator(table, steps=400)
