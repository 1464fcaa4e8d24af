from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import optformer.training.config as config_module
from optformer.data.studies.errors import ConfigError
from optformer.tokenization.vocabulary import Vocabulary
from optformer.training.config import PriorConfig, TrainingConfig, find_config
from optformer.training.mixtures.prior import SyntheticPrior

MINIMAL: dict[str, Any] = {"model": "tiny", "prior": {"parameters": {1: 1.0}}}


def test_training_config__plain_values__come_back(training_config: TrainingConfig) -> None:
    assert TrainingConfig.from_dict(training_config.to_dict()) == training_config


def test_training_config__packaged_file__is_legal() -> None:
    path = Path(config_module.__file__).parent / "configs" / "small.yaml"
    config = TrainingConfig.load(path)
    assert config.model == "small"
    assert sum(config.prior.parameters.values()) == pytest.approx(1)


def test_training_config__text_keys__become_numbers() -> None:
    described: Any = {"3": 1, "4": 0.5}
    config = PriorConfig(parameters=described)
    assert config.parameters == {3: 1.0, 4: 0.5}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"step": 5}, r"unknown setting 'step' in TrainingConfig; known.*'steps'"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"steps": 2.5}, "steps must be a whole number"),
        ({"steps": True}, "steps must be a whole number"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"learning_rate": "2e-3"}, "learning_rate must be a number.*got '2e-3'"),
        ({"clip": float("nan")}, "clip must be a number"),
        ({"ema": 1.0}, "ema must be in"),
        ({"clip": 0.0}, "clip must be above 0"),
        ({"model": ["tiny"]}, r"model must be the name of a size, got \['tiny'\]"),
        ({"seed": 2**63}, r"seed must be below 2\*\*63"),
        ({5: 3}, "unknown setting 5 in TrainingConfig"),
        ({"tables": [{"path": 5}]}, "path must name a file or folder, got 5"),
        ({"histories": [{"held_out": 0.1}]}, "HistoriesConfig needs the setting 'path'"),
        ({"tables": [{"path": "a", "tasks": 5}]}, "tasks of table 'a' must list texts, got 5"),
        ({"prior": {"parameters": {1: 1.0}, "mining": 1.5}}, "mining must be a share"),
        ({"prior": {"parameters": {1: 1.0}, "random_slots": 2.0}}, "random_slots must be a share"),
        ({"prior": {"parameters": {1: 1.0}, "named_algorithm": 7}}, "named_algorithm must be a"),
        ({"prior": {"parameters": {2.5: 1.0}}}, "parameters must give"),
        ({"prior": {"parameters": {True: 1.0}}}, "parameters must give"),
        ({"prior": {"parameters": {float("inf"): 1.0}}}, "parameters must give"),
        ({"metric_share": 0.4}, "metric_share must be in"),
        ({"prior": None}, "prior must be a mapping of settings, got None"),
        ({"prior": {}}, "PriorConfig needs the setting 'parameters'"),
        ({"prior": {"parameters": {1: 1.0}, "method": {}}}, "unknown setting 'method'"),
        ({"prior": {"parameters": {}}}, "parameters must give"),
        ({"prior": {"parameters": {0: 1.0}}}, "numbers from 1 to 64"),
        ({"prior": {"parameters": {65: 1.0}}}, "numbers from 1 to 64"),
        ({"prior": {"parameters": {1: 0.0}}}, "parameters must give"),
        ({"prior": {"parameters": {1: -1.0, 2: 2.0}}}, "parameters must give"),
        ({"prior": {"parameters": [1, 2]}}, "parameters must give"),
        ({"prior": {"parameters": {"many": 1}}}, "parameters must give"),
        ({"prior": {"parameters": {1: 1.0}, "methods": {}}}, "methods must give"),
        ({"prior": {"parameters": {1: 1.0}, "methods": {"random": "1"}}}, "methods must give"),
        ({"prior": {"parameters": {1: 1.0}, "probes": 0}}, "probes must be at least 1"),
        ({"tables": {"path": "a"}}, "tables must list mappings of settings"),
        ({"mixture": ["synthetic"]}, "mixture must be a mapping of settings"),
        ({"histories": [{"path": "a", "held_out": 1}]}, r"held_out must be in \[0, 1\), got 1"),
        ({"histories": [{"path": "a", "weight": 0}]}, "weight must be above 0, got 0"),
        ({"policy": {"temperature": 0.0}}, "temperature must be above 0"),
        ({"prior": {"parameters": {1: 1.0}, "max_trials": 8}}, "max_trials must be above tail=8"),
    ],
)
def test_training_config__illegal_setting__is_named(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        TrainingConfig.from_dict({**MINIMAL, **changes})


def test_training_config__setting_of_an_earlier_release__has_its_present_name() -> None:
    policy = {"objective": "imitation", "marked": 0.5}
    config = TrainingConfig.from_dict({**MINIMAL, "policy": policy, "mixture": None})
    assert config.policy.conditioned == 0.5
    assert TrainingConfig.from_dict({**MINIMAL, "policy": None}) == TrainingConfig.from_dict(
        MINIMAL
    )


def test_training_config__missing_model__is_named() -> None:
    with pytest.raises(ConfigError, match="model"):
        TrainingConfig.from_dict({"prior": MINIMAL["prior"]})


@pytest.mark.parametrize("content", ["- a list", "model: [", "just text", ""])
def test_load__no_mapping__names_the_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        TrainingConfig.load(path)
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        TrainingConfig.load(tmp_path / "none.yaml")


def test_prior__unknown_method__lists_the_known(vocabulary: Vocabulary) -> None:
    config = PriorConfig(parameters={1: 1.0}, methods={"random": 0.5, "guess": 0.5})
    with pytest.raises(ConfigError, match=r"unknown method 'guess'.*'gp ei'"):
        SyntheticPrior(config, vocabulary, 0)


def test_load__number_with_an_exponent__is_a_number(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("model: tiny\nlearning_rate: 2e-3\nprior: {parameters: {1: 1e0}}\n")
    config = TrainingConfig.load(path)
    assert config.learning_rate == 0.002
    assert config.prior.parameters == {1: 1.0}


def test_load__setting_named_twice__is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("model: tiny\nseed: 4\nprior: {parameters: {1: 1.0}}\nseed: 7\n")
    with pytest.raises(ConfigError, match="'seed' is given twice"):
        TrainingConfig.load(path)
    path.write_bytes(b"model: tiny  # gr\xfc\xdfe\n")
    with pytest.raises(ConfigError, match="cannot read the training configuration"):
        TrainingConfig.load(path)


def test_find_config__name_or_path__is_the_file_that_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged = Path(config_module.__file__).parent / "configs" / "small.yaml"
    assert find_config("small.yaml") == packaged
    with pytest.raises(ConfigError, match=r"no configuration 'mine/small\.yaml'; packaged ones"):
        find_config("mine/small.yaml")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text("model: tiny")
    assert find_config("small.yaml").resolve() == tmp_path / "small.yaml"
