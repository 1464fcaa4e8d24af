"""Families of trainings and the corpus that is made of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from pyarrow import parquet

from optformer.data.corpora.emulation.tables import load_table
from optformer.data.corpora.synthetic.spaces import MAX_CHOICES
from optformer.data.corpora.trainings.columns import Columns
from optformer.data.corpora.trainings.corpus import (
    TrainingCorpusConfig,
    generate_trainings,
    train_pair,
)
from optformer.data.corpora.trainings.registry import FAMILIES
from optformer.data.studies.corpus_index import read_index
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Categorical
from optformer.data.studies.space_files import load_space

FAST = ["exponential-smoothing", "pid-controller"]


def config(out: Path, **changes: object) -> TrainingCorpusConfig:
    settings: dict[str, object] = {"families": FAST, "datasets": 2, "configurations": 10}
    return TrainingCorpusConfig(out=out, **{**settings, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("corpus")
    summary = generate_trainings(config(out))
    assert (summary.finished, summary.skipped, summary.failed) == (2, 0, {})
    return out


@pytest.mark.parametrize("name", FAMILIES)
def test_families__every_one__measures_what_it_says_on_its_whole_space(name: str) -> None:
    family = FAMILIES[name]
    rng = np.random.default_rng(0)
    points = [family.space.sample(rng) for _ in range(3)]
    if "epochs" in family.space:  # short ones, which are enough here
        points = [{**point, "epochs": family.space["epochs"].low} for point in points]
    data = family.data(2)
    before = torch.get_rng_state()
    found = family.run(Columns(family.space, points, family.fixed), data, 1)
    assert torch.equal(torch.get_rng_state(), before)
    for metric in family.goals:
        assert found[metric].shape == (3,)
        assert bool(found[metric].isfinite().all()), metric
    assert 2 <= len(family.space) <= 14
    assert data.text
    assert family.tasks
    assert family.models
    for parameter in family.space.values():
        assert parameter.description
        if isinstance(parameter, Categorical):
            assert len(parameter.choices) <= MAX_CHOICES


def test_families__there_are__forty_and_more() -> None:
    assert len(FAMILIES) >= 40
    assert len({str(family.space.to_dict()) for family in FAMILIES.values()}) == len(FAMILIES)


def test_train_pair__good_and_bad_learning_rates__differ_as_practice_knows() -> None:
    points, metrics, text = train_pair(FAMILIES["perceptron-adagrad"], 0, 40)
    rates = np.array([point["learning_rate"] for point in points])
    accuracy = metrics["balanced_accuracy"].numpy()
    usual = (rates > 5e-3) & (rates < 0.3)
    assert accuracy[usual].mean() > accuracy[rates < 1e-3].mean() + 0.1
    assert accuracy[-16:].mean() > accuracy[:24].mean()  # those near the best
    assert "simulated table" in text


def test_generate_trainings__tables_of_the_folder__can_be_trained_on(corpus: Path) -> None:
    entry = read_index(corpus / "corpus.yaml")["exponential-smoothing"]
    assert (entry.role, entry.licence) == ("train", "Apache-2.0")
    table = load_table(corpus / "exponential-smoothing.parquet", entry.goals)
    assert table.datasets == ("exponential-smoothing-0", "exponential-smoothing-1")
    assert table.values.shape == (20, 6)
    assert not table.active.all()  # the season's parameters hang on its kind
    assert all("simulated sales" in text["dataset"] for text in table.texts)
    space = load_space(corpus / "exponential-smoothing.space.yaml")
    assert space == FAMILIES["exponential-smoothing"].space


def test_generate_trainings__again__makes_what_is_missing_and_the_same(
    corpus: Path, tmp_path: Path
) -> None:
    for file in corpus.glob("exp*"):
        shutil.copy(file, tmp_path)
    summary = generate_trainings(config(tmp_path, families=["exp*", "pid-*"], workers=2))
    assert (summary.finished, summary.skipped) == (1, 1)
    own, other = (parquet.read_table(f / "pid-controller.parquet") for f in (corpus, tmp_path))
    assert own.equals(other)
    assert (corpus / "corpus.yaml").read_text() == (tmp_path / "corpus.yaml").read_text()


def test_generate_trainings__other_numbers_in_one_folder__are_refused(corpus: Path) -> None:
    with pytest.raises(ConfigError, match="20 trainings on 2 data sets"):
        generate_trainings(config(corpus, configurations=11))


def test_training_corpus_config__unknown_family__is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no family of trainings matches 'nonsense-\*'"):
        config(tmp_path, families=["nonsense-*"])
