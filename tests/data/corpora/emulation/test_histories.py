"""Histories as tables: what belongs together, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from optformer.data.corpora.emulation.emulator import fit_emulator
from optformer.data.corpora.emulation.functions import EmulatedTable
from optformer.data.corpora.emulation.histories import dataset_name, load_history_tables
from optformer.data.corpora.generation import GenerationConfig, generate, load_histories
from optformer.data.corpora.generation.shards import find_shards
from optformer.data.studies.errors import DatasetError

OBJECTIVES = ["decision-tree-regression-*", "label-spreading-classification-*"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Histories of two models on three data sets each, in two folders of one."""
    out = tmp_path_factory.mktemp("histories")
    for part, methods in (("first", ["random"]), ("second", ["quasi-random"])):
        generate(
            GenerationConfig(
                methods=methods, objectives=OBJECTIVES, generated=3, trials=25, out=out / part
            )
        )
    return out


def test_load_history_tables__folder_of_folders__a_table_for_each_model(folder: Path) -> None:
    tables = load_history_tables(folder)
    assert list(tables) == [
        "classification-label-spreading",
        "regression-decision-tree",
    ]
    played: dict[tuple[str, str], list[float]] = {}
    for history in (h for part in ("first", "second") for h in load_histories(folder / part)):
        about = history.config.metadata
        gains = played.setdefault((about["model"], dataset_name(history.config)), [])
        signed = (history.config.sign * t.value for t in history.trials if t.value is not None)
        gains.extend(signed)
    assert sum(len(gains) for gains in played.values()) < 300  # some trials failed
    for table in tables.values():
        assert (table.measured.sum(1) == 1).all()
        assert len(table.datasets) == 3
        for number, (name, about) in enumerate(zip(table.datasets, table.texts, strict=True)):
            column = list(table.gains.values())[int(table.measured[number].argmax())]
            assert column[table.dataset == number].tolist() == played[about["model"], name]


def test_draw__of_histories__tells_the_data_set_of_all_functions_or_none(folder: Path) -> None:
    table = load_history_tables(folder)["regression-decision-tree"]
    drawer = EmulatedTable(table, fit_emulator(table, steps=5))
    functions, metrics, goals, told = drawer.draw(60, 3, 2, np.random.default_rng(0))
    for metric, goal, text in zip(metrics, goals, told, strict=True):
        assert (text["task"], text["model"]) == ("regression", "decision tree")
        if "dataset" in text:
            number = [other["dataset"] for other in table.texts].index(text["dataset"])
            assert np.isfinite(table.gains[metric][table.dataset == number]).all()
        assert goal == table.goals[metric]
    assert 5 < sum("dataset" in text for text in told) < 40
    described = [any(p.description for p in s.values()) for s in functions.spaces.described]
    assert 5 < sum(described) < 40
    values = functions.spaces.legal(torch.rand(60, 2, 20, 3, generator=torch.Generator()))
    assert functions.expected(values).isfinite().all()


def test_load_history_tables__damaged_shard__is_named_and_refused(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder / "first", tmp_path / "first")
    damaged = find_shards(tmp_path / "first")[1]
    damaged.write_bytes(damaged.read_bytes()[:-20])
    with pytest.raises(DatasetError, match=damaged.name):
        load_history_tables(tmp_path)


def test_load_history_tables__reserved_objective__is_refused(tmp_path: Path) -> None:
    generate(
        GenerationConfig(
            methods=["random"],
            objectives=["kernel-ridge-diabetes"],
            trials=2,
            out=tmp_path,
            allow_reserved=True,
        )
    )
    with pytest.raises(DatasetError, match=r"kernel-ridge-diabetes.*reserved"):
        load_history_tables(tmp_path)


def test_load_history_tables__too_short__is_refused(folder: Path) -> None:
    with pytest.raises(DatasetError, match="no data set with 40 finished trials"):
        load_history_tables(folder / "first")
