"""Train small image networks for real, the same way every time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optformer.data.objectives.images import Images
from optformer.data.runtime.threads import one_torch_thread
from optformer.data.studies.errors import ObjectiveError

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: AdamW with one cosine cycle.

    Attributes:
        epochs: Passes over the training images.
        batch_size: Images a step.
        learning_rate: At its peak, a fifth of the way.
        weight_decay: Decoupled weight decay.
    """

    epochs: int = 4
    batch_size: int = 50
    learning_rate: float = 0.02
    weight_decay: float = 1e-3


def train(build: Callable[[], Network], images: Images, recipe: Recipe, seed: int = 0) -> Network:
    """Build a network, draw its weights and train it on the training images.

    Args:
        build: Makes the network: images of shape (N, 1, size, size) to logits of shape (N, 10).
        images: What to train on.
        recipe: How to train.
        seed: Seed of the weights and of the order of the images.

    Returns:
        The trained network, in evaluation mode.

    Raises:
        ObjectiveError: The loss stopped being a number.
    """
    generator = torch.Generator().manual_seed(seed)
    with one_torch_thread():
        with torch.random.fork_rng(devices=[]):  # what constructors draw is thrown away
            network = build()
        _draw_weights(network, generator)
        network.train()
        steps = recipe.epochs * math.ceil(len(images.train) / recipe.batch_size)
        optimizer = torch.optim.AdamW(
            network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step / steps))
        for _ in range(recipe.epochs):
            order = torch.randperm(len(images.train), generator=generator)
            for batch in torch.split(order, recipe.batch_size):
                loss = F.cross_entropy(network(images.train[batch]), images.train_classes[batch])
                if not torch.isfinite(loss):
                    raise ObjectiveError("training failed: the loss is no longer a number")
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
        _settle_norms(network, images.train)
    return network.eval()


def accuracy(network: nn.Module, inputs: Tensor, classes: Tensor) -> float:
    """Share of right classes in [0, 1]; the network is in evaluation mode."""
    with one_torch_thread(), torch.no_grad():
        return float((network(inputs).argmax(-1) == classes).float().mean())


def _rate(progress: float) -> float:
    """Share of the peak learning rate: up for a fifth of the steps, then down along a cosine."""
    if progress < 0.2:
        return (progress + 0.02) / 0.22
    return 0.5 + 0.5 * math.cos(math.pi * (progress - 0.2) / 0.8)


def _draw_weights(network: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights of convolutions and linear layers; norms and gates keep their own start."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _settle_norms(network: nn.Module, inputs: Tensor) -> None:
    """Let batch norms remember the final weights: their averages lag behind a short training."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network(inputs)
