from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import optformer.training.config as config_module
from optformer.data.errors import ConfigError
from optformer.tokenization.vocabulary import Vocabulary
from optformer.training.config import PriorConfig, TrainingConfig
from optformer.training.prior import SyntheticPrior

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
        ({"learning_rate": "2e-3"}, "learning_rate must be a number.*write 0.001"),
        ({"clip": float("nan")}, "clip must be a number"),
        ({"ema": 1.0}, "ema must be in"),
        ({"metric_share": 0.4}, "metric_share must be in"),
        ({"prior": None}, "'prior' section"),
        ({"prior": {}}, "PriorConfig.*parameters"),
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
        ({"prior": {"parameters": {1: 1.0}, "max_trials": 8}}, "max_trials must be above tail=8"),
    ],
)
def test_training_config__illegal_setting__is_named(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        TrainingConfig.from_dict({**MINIMAL, **changes})


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
