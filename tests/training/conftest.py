"""A training run of seconds, and a tiny model for the evaluations."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from optformer.model.checkpoint import Checkpoint
from optformer.model.config import ModelConfig
from optformer.model.network import OptFormerModel
from optformer.model.state_keys import in_order
from optformer.tokenization.vocabulary import Vocabulary, default_vocabulary
from optformer.training.config import PriorConfig, TrainingConfig


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    return default_vocabulary()


@pytest.fixture(scope="session")
def prior_config() -> PriorConfig:
    return PriorConfig(
        parameters={1: 0.2, 3: 0.5, 5: 0.3},
        max_trials=16,
        studies_per_space=2,
        tokens=256,
        probes=8,
        tail=4,
    )


@pytest.fixture(scope="session")
def training_config(prior_config: PriorConfig) -> TrainingConfig:
    quick = replace(prior_config, methods={"random": 0.5, "clustered": 0.5})
    return TrainingConfig(
        model="tiny",
        prior=quick,
        seed=3,
        steps=6,
        warmup=2,
        checkpoint_every=3,
        log_every=2,
        workers=0,
        validate_every=0,
        peak_teraflops=1.0,
    )


@pytest.fixture(scope="session")
def tiny_checkpoint(vocabulary: Vocabulary) -> Checkpoint:
    """A model whose every weight is random, those that start at zero too."""
    model = OptFormerModel(ModelConfig.named("tiny", vocabulary.size))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _, weight in in_order(model.state_dict().items()):
            size = weight.shape[-1] ** -0.5 if weight.ndim > 1 else 0.5
            weight.copy_(size * torch.randn(weight.shape, generator=generator))
    return Checkpoint(model.eval().requires_grad_(False), vocabulary, {"size": "tiny"})
