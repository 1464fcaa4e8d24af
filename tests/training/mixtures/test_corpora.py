"""A folder of tables as entries of a training run, some of them left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from optformer.data.corpora.emulation import emulator
from optformer.data.corpora.emulation.tables import load_table
from optformer.data.corpora.trainings.corpus import TrainingCorpusConfig, generate_trainings
from optformer.data.corpora.trainings.registry import FAMILIES
from optformer.data.studies.errors import ConfigError
from optformer.training.config import TableConfig
from optformer.training.evaluation.transfer import split_tables
from optformer.training.mixtures.corpora import expand_corpora
from optformer.training.mixtures.tables import load_tables

DEVICE = torch.device("cpu")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `own` of three families of trainings on eight data sets each."""
    folder = tmp_path_factory.mktemp("tables")
    generate_trainings(
        TrainingCorpusConfig(
            families=["exponential-*", "pid-*", "extreme-*"],
            out=folder / "own",
            datasets=8,
            configurations=20,
        )
    )
    return folder


def test_expand_corpora__folder_with_an_index__is_an_entry_a_table(corpus: Path) -> None:
    config = TableConfig(path="own", weight=0.6, held_out=0.25, left_out=["pid-*"])
    first, second = expand_corpora([config], corpus)
    assert (first.path, first.weight) == ("own/extreme-learning.parquet", 0.3)
    assert second.path == "own/exponential-smoothing.parquet"
    assert second.goals == {"rmse": "minimize", "mae": "minimize"}
    assert second.tasks == list(FAMILIES["exponential-smoothing"].tasks)
    assert len(expand_corpora([config], corpus, left_out=True)) == 3
    for table in (first, second):
        assert table.goals
        kept, late = load_table(corpus / table.path, table.goals).split(table.held_out)
        assert (len(kept.datasets), len(late.datasets)) == (6, 2)


def test_expand_corpora__pattern_without_a_table__is_refused(corpus: Path) -> None:
    config = TableConfig(path="own", left_out=["svm-*"])
    with pytest.raises(ConfigError, match=r"no table matches 'svm-\*'; it has \['pid"):
        expand_corpora([config], corpus)


def test_split_tables__only_a_family_that_training_left_out__is_found(corpus: Path) -> None:
    config = TableConfig(path="own", left_out=["pid-*"])
    assert len(split_tables([config], corpus)) == 2
    ((known, late),) = split_tables([config], corpus, only=["pid-controller"])
    assert known.name == "pid-controller"
    assert set(known.table.datasets).isdisjoint(late.table.datasets)
    with pytest.raises(ConfigError, match="called svm"):
        split_tables([config], corpus, only=["svm"])


def test_load_tables__corpus__tells_the_data_set_where_all_functions_share_it(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulator, "LEAST_STEPS", 3)
    config = TableConfig(path="own", left_out=["pid-*", "exp*"])
    (source,) = load_tables([config], corpus, tmp_path, DEVICE)
    rng = np.random.default_rng(0)
    _, metrics, _, metadata = source.functions.draw(40, 3, 2, rng)
    told = [about["dataset"] for about in metadata if about]
    assert 0 < len(told) < 40
    assert all("simulated table" in text for text in told)
    assert set(metrics) == {"rmse", "mae"}


def test_table_config__left_out_of_one_table__is_refused() -> None:
    with pytest.raises(ConfigError, match="left_out is about the tables of a folder"):
        TableConfig(
            path="a.parquet",
            goals={"rmse": "minimize"},
            tasks=["regression"],
            models=["toy"],
            left_out=["b"],
        )
