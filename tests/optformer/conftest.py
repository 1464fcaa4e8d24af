"""A tiny model with random weights, and a study for it."""

from __future__ import annotations

import pytest
import torch

from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.model.checkpoint import Checkpoint
from optformer.model.config import ModelConfig
from optformer.model.network import OptFormerModel
from optformer.model.state_keys import in_order
from optformer.tokenization.vocabulary import default_vocabulary


@pytest.fixture(scope="session")
def tiny_checkpoint() -> Checkpoint:
    """A model whose every weight is random, so that no path is silent at its initial zero."""
    vocabulary = default_vocabulary()
    model = OptFormerModel(ModelConfig.named("tiny", vocabulary.size))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _, weight in in_order(model.state_dict().items()):
            size = weight.shape[-1] ** -0.5 if weight.ndim > 1 else 0.5
            weight.copy_(size * torch.randn(weight.shape, generator=generator))
    return Checkpoint(model.eval().requires_grad_(False), vocabulary, {"size": "tiny"})


@pytest.fixture(scope="session")
def finite_config() -> StudyConfig:
    """Few points; a condition, an ordered parent, and one value each for some parameters."""
    space = SearchSpace(
        optimizer=Categorical(["sgd", "adam", "lion"]),
        momentum=Ordinal([0.0, 0.5, 0.9], when={"optimizer": ["sgd"]}),
        layers=Int(1, 4),
        width=Ordinal([16, 32, 64], when={"layers": [2, 3]}),
        wide=Categorical(["no"], when={"width": [64]}),
    )
    return StudyConfig(space, "accuracy", "maximize", {"task": "image classification"})


@pytest.fixture(scope="session")
def mixed_config() -> StudyConfig:
    """Continuous, stepped and conditional parameters, and one that is fixed."""
    space = SearchSpace(
        lr=Float(1e-6, 1e-1, log=True),
        optimizer=Categorical(["sgd", "adam"]),
        momentum=Float(0.0, 0.99, when={"optimizer": ["sgd"]}),
        layers=Int(1, 8),
        seeds=Int(1, 100_000, log=True),
        dropout=Float(0.0, 0.5, step=0.1),
    )
    return StudyConfig(space, "loss", "minimize", {"model": "convnet"}, fixed={"layers": 3})


@pytest.fixture(scope="session")
def finite_trials() -> list[Trial]:
    """A history in the finite space: measured, failed and pending trials."""
    return [
        Trial(0, {"optimizer": "adam", "layers": 1}).finish(0.4),
        Trial(
            1, {"optimizer": "sgd", "momentum": 0.5, "layers": 2, "width": 64, "wide": "no"}
        ).finish(0.7),
        Trial(2, {"optimizer": "lion", "layers": 3, "width": 16}).fail("out of memory"),
        Trial(3, {"optimizer": "sgd", "momentum": 0.9, "layers": 4}),
    ]


@pytest.fixture(scope="session")
def mixed_trials() -> list[Trial]:
    """A history in the mixed space."""
    return [
        Trial(0, {"lr": 1e-3, "optimizer": "adam", "layers": 3, "seeds": 7, "dropout": 0.1}).finish(
            0.9
        ),
        Trial(
            1,
            {
                "lr": 2e-5,
                "optimizer": "sgd",
                "momentum": 0.3,
                "layers": 3,
                "seeds": 99,
                "dropout": 0.5,
            },
        ).finish(0.2),
        Trial(
            2,
            {
                "lr": 7e-2,
                "optimizer": "sgd",
                "momentum": 0.8,
                "layers": 3,
                "seeds": 31_000,
                "dropout": 0.0,
            },
        ).fail("nan"),
        Trial(3, {"lr": 4e-4, "optimizer": "adam", "layers": 3, "seeds": 1, "dropout": 0.2}),
    ]
