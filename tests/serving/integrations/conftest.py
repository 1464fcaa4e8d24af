"""A model that answers at once, and silence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import torch

from optformer.model.checkpoint import save_checkpoint
from optformer.model.config import ModelConfig
from optformer.model.network import OptFormerModel
from optformer.tokenization.vocabulary import default_vocabulary


def _save(folder: Path, *, knowing: bool) -> Path:
    vocabulary = default_vocabulary()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = OptFormerModel(replace(ModelConfig.named("tiny", vocabulary.size), layers=1))
    if not knowing:
        with torch.no_grad():
            for weight in model.parameters():
                weight.zero_()
    save_checkpoint(folder, model, vocabulary, {})
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model of one layer, which keeps the contracts of a trained one."""
    return _save(tmp_path_factory.mktemp("model") / "tiny", knowing=True)


@pytest.fixture(scope="session")
def blank_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that finds no meaning in names, so that it is not asked where the best lies."""
    return _save(tmp_path_factory.mktemp("model") / "blank", knowing=False)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)
