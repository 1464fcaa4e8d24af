"""Tables of a run: where they come from, how often they are drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from optformer.data.corpora.emulation import emulator
from optformer.data.corpora.generation import GenerationConfig, generate
from optformer.data.studies.errors import ConfigError, DatasetError
from optformer.tokenization.vocabulary import default_vocabulary
from optformer.training.config import PriorConfig, TableConfig
from optformer.training.mixtures.prior import SyntheticPrior
from optformer.training.mixtures.tables import load_tables

DEVICE = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tables")
    generate(
        GenerationConfig(
            methods=["random"],
            objectives=["decision-tree-*-[01]", "sgd-classification-[01]"],
            generated=2,
            trials=45,
            out=out / "histories",
        )
    )
    return out


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No emulator has to be good here."""
    monkeypatch.setattr(emulator, "LEAST_STEPS", 3)
    monkeypatch.setattr(emulator, "BATCH", 64)


def test_load_tables__histories__a_table_each_that_shares_the_weight(
    folder: Path, tmp_path: Path
) -> None:
    config = TableConfig(path="histories", held_out=0.0, weight=0.6)
    tables = load_tables([config], folder, tmp_path, DEVICE)
    assert [table.weight for table in tables] == pytest.approx([0.2] * 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "emulator-classification-decision-tree.safetensors",
        "emulator-classification-linear-classifier-by-stochastic-gradient-descent.safetensors",
        "emulator-regression-decision-tree.safetensors",
    ]
    fitted = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = load_tables([config], folder, tmp_path, DEVICE)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == fitted
    prior = PriorConfig(parameters={2: 1.0}, tokens=600, max_trials=30)
    for step in range(4):
        one, other = (
            SyntheticPrior(prior, default_vocabulary(), 0, DEVICE, found).batch(step, emulated=1.0)
            for found in (tables, again)
        )
        assert torch.equal(one.metrics.target, other.metrics.target)
        assert one.history.metric.isfinite().all()


def test_prior__weights_of_tables__are_how_often_they_are_drawn(
    folder: Path, tmp_path: Path
) -> None:
    config = TableConfig(path="histories", held_out=0.0)
    tables = load_tables([config], folder, tmp_path, DEVICE)
    weighted = [
        type(table)(table.functions, table.tasks, table.models, weight)
        for table, weight in zip(tables, (0.0, 1.0, 0.0), strict=True)
    ]
    prior = SyntheticPrior(
        PriorConfig(parameters={2: 1.0}, tokens=300, max_trials=20),
        default_vocabulary(),
        0,
        DEVICE,
        weighted,
    )
    words = set(
        np.concatenate(
            [prior.batch(step, emulated=1.0).metadata.ids.ravel() for step in range(8)]
        ).tolist()
    )
    text = prior.vocabulary.decode(sorted(words))
    assert "regression" not in text


def test_load_tables__no_histories__says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="optformer generate"):
        load_tables([TableConfig(path="nothing")], tmp_path, tmp_path, DEVICE)


@pytest.mark.parametrize(
    "changes",
    [
        {"goals": {"acc": "maximize"}},
        {"tasks": ["classification"]},
        {"goals": {"acc": "maximize"}, "tasks": ["classification"]},
        {"weight": 0.0},
        {"held_out": 1.0},
    ],
)
def test_table_config__halves_of_a_table__are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"histories|weight|held_out"):
        TableConfig(path="histories", **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("told", ["", ", licence: GPL-3.0"])
def test_load_tables__other_licence_than_stated__is_refused_before_anything_is_fitted(
    tmp_path: Path, told: str
) -> None:
    entry = f"- {{file: toy, metric: error, goal: minimize, role: train{told}}}"
    (tmp_path / "corpus.yaml").write_text(entry)
    config = TableConfig(
        path="toy.parquet",
        goals={"error": "minimize"},
        tasks=["regression"],
        models=["toy"],
        licence="MIT",
    )
    with pytest.raises(DatasetError, match=r"toy\.parquet: the configuration states .*'MIT'"):
        load_tables([config], tmp_path, tmp_path, DEVICE)
    assert not list(tmp_path.glob("emulator-*"))
