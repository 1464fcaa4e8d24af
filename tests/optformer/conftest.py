"""A tiny model with random weights, studies for it, and a plain beam search."""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np
import pytest
import torch

from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.model.checkpoint import Checkpoint
from optformer.model.config import ModelConfig
from optformer.model.network import OptFormerModel
from optformer.model.state_keys import in_order
from optformer.model.tensors import UNSET, points_batch
from optformer.planning.space_transform import SpaceTransform
from optformer.planning.study_encoder import EncodedStudy
from optformer.tokenization.history import Points
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


@pytest.fixture(scope="session")
def beam_search() -> Callable[..., tuple[list[dict[str, Value]], list[float]]]:
    """Finds likely trials, one partial trial at a time.

    Takes an encoded study, its space and a number of beams; returns points, likeliest first, and
    the logarithms of their probabilities. A number is the legal one nearest to its bin's center.
    """

    @torch.no_grad()
    def search(
        study: EncodedStudy, space: SpaceTransform, beams: int
    ) -> tuple[list[dict[str, Value]], list[float]]:
        kept = [(0.0, np.zeros(len(space.names)))]
        for slot in range(len(space.names)):
            longer = []
            for partial, (log, values) in enumerate(kept):
                tokens = {0: 0.0}
                if space.active(values[None])[0, slot] and slot not in space.fixed:
                    kinds = np.where(
                        np.arange(len(values)) < slot, space.kinds(values[None]), UNSET
                    )
                    points = points_batch(Points(values[None].astype(np.float32), kinds))
                    logits = study.model.value_logits(
                        study.metadata, study.encoded, points, torch.tensor([slot])
                    )
                    logs = logits[0, 0].double().log_softmax(-1)
                    legal = logs.isfinite().nonzero()[:, 0].tolist()
                    tokens = {token: float(logs[token]) for token in legal}
                longer += [(log + own, partial, token) for token, own in tokens.items()]
            following = []
            for log, partial, token in heapq.nlargest(beams, longer):
                values = kept[partial][1].copy()
                values[slot] = token - 1000 if token >= 1000 else (token + 0.5) / 1000
                values[slot] = space.project(values[None])[0, slot]
                following.append((log, values))
            kept = following
        return [space.decode(values) for _, values in kept], [log for log, _ in kept]

    return search
