from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from optformer.data.corpora.generation import shards
from optformer.data.corpora.generation.studies import StudyKey
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.tokenization.vocabulary import Vocabulary
from optformer.training.config import HistoriesConfig, MixtureConfig, PolicyConfig, TrainingConfig
from optformer.training.mixtures.mixture import Mixture
from optformer.training.mixtures.prior import SyntheticPrior
from optformer.training.run_state import STATE
from optformer.training.train import Trainer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four studies of seven parameters, as many as no synthetic study here has."""
    out = tmp_path_factory.mktemp("histories")
    space = SearchSpace({f"p{i}": Float(0.0, 1.0) for i in range(7)})
    config = StudyConfig(space, "score", "maximize", {})
    for seed in range(4):
        trials = [
            Trial(n, {f"p{i}": (seed + n + i) % 10 / 10 for i in range(7)}).finish(n % 5)
            for n in range(16)
        ]
        key = StudyKey("splines-phase", ("random", "hill-climbing")[seed % 2], seed)
        shards.write_shard(out, key, config, [(trial, 0.0) for trial in trials])
    return out


def configured(
    base: TrainingConfig, start: Mapping[str, float], **mixture: object
) -> TrainingConfig:
    return replace(
        base,
        histories=(HistoriesConfig(path="."),),
        mixture=MixtureConfig(start=start, **mixture),  # type: ignore[arg-type]
    )


def from_histories(mixture: Mixture, number: int) -> bool:
    return mixture.batch(number).metadata.slots.shape[1] == 7


def test_mixture__config_without_one__draws_the_batches_of_the_prior(
    training_config: TrainingConfig, vocabulary: Vocabulary
) -> None:
    mixture = Mixture(training_config, vocabulary)
    prior = SyntheticPrior(training_config.prior, vocabulary, training_config.seed)
    for number in range(3):
        assert torch.equal(mixture.batch(number).metrics.target, prior.batch(number).metrics.target)


def test_mixture__weights__are_the_shares_of_the_batches(
    training_config: TrainingConfig, vocabulary: Vocabulary, folder: Path
) -> None:
    config = configured(training_config, {"synthetic": 1, "histories": 3})
    mixture = Mixture(config, vocabulary, folder=folder)
    sources = [from_histories(mixture, number) for number in range(40)]
    assert 20 < sum(sources) < 38  # 30 expected
    again = Mixture(config, vocabulary, folder=folder)
    assert [from_histories(again, number) for number in (30, 7)] == [sources[30], sources[7]]


def test_methods__histories__join_those_of_the_prior(
    training_config: TrainingConfig, vocabulary: Vocabulary, folder: Path
) -> None:
    drawn = set(training_config.prior.methods)
    assert Mixture(training_config, vocabulary).methods == sorted(drawn)
    config = configured(training_config, {"synthetic": 1, "histories": 3})
    joined = Mixture(config, vocabulary, folder=folder).methods
    assert joined == sorted({*drawn, "hill climbing", "random"})


def test_mixture__end__is_reached_linearly(
    training_config: TrainingConfig, vocabulary: Vocabulary, folder: Path
) -> None:
    config = configured(training_config, {"synthetic": 1}, end={"synthetic": 0.5, "histories": 1.5})
    config = replace(config, steps=40)
    assert config.shares(0) == {"synthetic": 1.0, "emulated": 0.0, "histories": 0.0}
    assert config.shares(20) == pytest.approx(
        {"synthetic": 0.625, "emulated": 0.0, "histories": 0.375}
    )
    assert config.shares(60) == config.shares(40)
    assert config.shares(40)["histories"] == 0.75
    mixture = Mixture(config, vocabulary, folder=folder)
    sources = [from_histories(mixture, number) for number in range(40)]
    assert sum(sources[:13]) < sum(sources[27:])
    # A step of two batches is half as far.
    paired = replace(config, batches_per_step=2)
    assert not any(from_histories(Mixture(paired, vocabulary, folder=folder), n) for n in range(3))


def test_train__mixture_resumed_halfway__equals_a_straight_run(
    training_config: TrainingConfig, folder: Path, tmp_path: Path
) -> None:
    config = configured(training_config, {"synthetic": 1, "histories": 1})
    config = replace(config, steps=4, policy=PolicyConfig(objective="advantages"))
    states = []
    for name, stops in (("straight", [4]), ("halves", [2, 4])):
        directory = tmp_path / name
        directory.mkdir()
        for number, until in enumerate(stops):
            trainer = Trainer(config, directory, cpu=True, tables=folder)
            if number:
                trainer.resume()
            trainer.train(until=until)
        states.append(torch.load(directory / STATE, weights_only=True)["weights"])
    assert all(torch.equal(weight, states[1][name]) for name, weight in states[0].items())


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"mixture": {"start": {"histories": 1}}}, "histories and the share of 'histories'"),
        ({"histories": [{"path": "x"}]}, "got 1 histories and shares from 0 to 0"),
        ({"mixture": {"start": {"emulated": 1}}}, "tables and the share of 'emulated'"),
        ({"mixture": {"start": {"synthetic": 1, "logs": 1}}}, "unknown source 'logs' in start"),
        ({"mixture": {"start": {"synthetic": 0}}}, "start must give sources a weight"),
        ({"mixture": {"start": {"synthetic": 1}, "end": 3}}, "end must give sources a weight"),
        ({"mixture": [1]}, "mixture must be a mapping"),
        ({"mixture": {"begin": {}}}, "unknown setting 'begin' in MixtureConfig"),
        ({"histories": {"path": "x"}}, "histories must list mappings"),
        ({"histories": [{"path": "x", "unnamed": 1.5}]}, "unnamed must be a share"),
        ({"histories": [{"path": "x", "weight": 0}]}, r"histories\[0\]: weight must be above 0"),
        ({"histories": [{"path": "x", "goals": {"acc": "up"}}]}, "goal of 'acc'"),
        ({"policy": {"objective": "reinforce"}}, "objective must be one of"),
        ({"policy": {"objective": "returns"}}, "prior.studies_per_space=1, got 4"),
        ({"policy": {"temperature": 0}}, "temperature must be above 0"),
    ],
)
def test_training_config__impossible_sources__are_named(
    changes: dict[str, object], match: str
) -> None:
    with pytest.raises(ConfigError, match=match):
        TrainingConfig.from_dict({"model": "tiny", "prior": {"parameters": {1: 1.0}}, **changes})


def test_training_config__mixture_and_emulated_share__is_refused() -> None:
    prior = {"parameters": {1: 1.0}, "emulated": 0.5}
    with pytest.raises(ConfigError, match=r"prior\.emulated=0\.5 and mixture"):
        TrainingConfig.from_dict(
            {"model": "tiny", "prior": prior, "mixture": {"start": {"synthetic": 1}}}
        )


def test_training_config__all_sections__come_back(training_config: TrainingConfig) -> None:
    config = configured(training_config, {"synthetic": 1}, end={"histories": 1})
    config = replace(config, policy=PolicyConfig(objective="advantages", temperature=0.2))
    assert TrainingConfig.from_dict(config.to_dict()) == config
