"""Child and target networks: real trainings whose validation accuracy rewards an update rule.

A network reads the 8 x 8 images of scikit-learn's digits. As in the paper, a rule first trains it
for one epoch with each of a few learning rates; the best of them trains it anew for all epochs. A
training that stops being finite has accuracy 0. Everything follows from the rule and the task's
seed.

Parameters with defaults of the child: one hidden layer of 32 units, 600 images for training and 400
for validation, batches of 64, 4 epochs, learning rates 1e-3, 1e-2, 1e-1, 1. The target keeps the
images and has two convolutions, a wider hidden layer and 12 epochs.

Source: CN110663049B; Bello et al. 2017, "Neural optimizer search with reinforcement learning".
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from optformer.data.studies.errors import ConfigError
from optformer.data.systems.optimizer_search.language import Rule
from optformer.data.systems.optimizer_search.optimizer import RuleOptimizer

_CLASSES, _SIDE = 10, 8
_MAX_IMAGES = 1797


@dataclass(frozen=True, kw_only=True)
class NetworkTask:
    """A network to train with a rule.

    Attributes:
        channels: Channels of the 3 x 3 convolutions, each followed by ReLU and 2 x 2 pooling, at
            most three.
        hidden: Units of the hidden layers.
        epochs: Passes over the training images, at least 1.
        learning_rates: Rates tried for an epoch each; a single one is used without trying.
        train_images: Number of training images.
        validation_images: Number of validation images.
        batch_size: Images a step.
        seed: Decides images, initial weights, order and noise.

    Raises:
        ConfigError: A setting is out of range.
    """

    channels: tuple[int, ...] = ()
    hidden: tuple[int, ...] = (32,)
    epochs: int = 4
    learning_rates: tuple[float, ...] = (1e-3, 1e-2, 1e-1, 1.0)
    train_images: int = 600
    validation_images: int = 400
    batch_size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.channels) > 3:
            raise ConfigError(f"images allow at most 3 convolutions, got channels={self.channels}")
        if not self.learning_rates or min(self.learning_rates) <= 0:
            raise ConfigError(f"learning_rates must be above 0, got {self.learning_rates}")
        for name in ("epochs", "train_images", "validation_images", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.train_images + self.validation_images > _MAX_IMAGES:
            raise ConfigError(
                f"train_images + validation_images must be at most {_MAX_IMAGES}, "
                f"got {self.train_images} + {self.validation_images}"
            )


CHILD = NetworkTask()
"""The small network that every rule of a search trains."""

TARGET = NetworkTask(channels=(16, 32), hidden=(64,), epochs=12)
"""The larger network that the best rule trains in the end."""


@dataclass(frozen=True)
class TrainingResult:
    """What became of a training.

    Attributes:
        accuracy: Share of right classes among the validation images, in [0, 1]; 0 when it stopped
            being finite.
        learning_rate: The rate it used.
        losses: Training loss of every step until it ended.
    """

    accuracy: float
    learning_rate: float
    losses: tuple[float, ...]


def train(task: NetworkTask, rule: Rule) -> TrainingResult:
    """Choose a learning rate on trainings of one epoch, then train for all epochs.

    Args:
        task: The network and its data.
        rule: The update rule.
    """
    rate = task.learning_rates[0]
    if len(task.learning_rates) > 1:
        probes = [train_with(task, rule, rate, epochs=1) for rate in task.learning_rates]
        rate = max(probes, key=lambda probe: probe.accuracy).learning_rate
    return train_with(task, rule, rate, epochs=task.epochs)


def train_with(task: NetworkTask, rule: Rule, learning_rate: float, epochs: int) -> TrainingResult:
    """Train with a given learning rate for some epochs."""
    images, classes = _images(task.seed)
    train_x, train_y = images[: task.train_images], classes[: task.train_images]
    generator = torch.Generator().manual_seed(task.seed)
    network = build(task, generator)
    starts = range(0, task.train_images, task.batch_size)
    optimizer = RuleOptimizer(
        network.parameters(),
        rule,
        lr=learning_rate,
        total_steps=epochs * len(starts),
        generator=generator,
    )
    losses: list[float] = []
    for _ in range(epochs):
        order = torch.randperm(task.train_images, generator=generator)
        for start in starts:
            batch = order[start : start + task.batch_size]
            loss = F.cross_entropy(network(train_x[batch]), train_y[batch])
            losses.append(loss.item())
            if not np.isfinite(losses[-1]):
                return TrainingResult(0.0, learning_rate, tuple(losses))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
    tested = slice(task.train_images, task.train_images + task.validation_images)
    with torch.no_grad():
        logits = network(images[tested])
    if not bool(logits.isfinite().all()):
        return TrainingResult(0.0, learning_rate, tuple(losses))
    right = logits.argmax(-1) == classes[tested]
    return TrainingResult(float(right.double().mean()), learning_rate, tuple(losses))


def build(task: NetworkTask, generator: torch.Generator) -> nn.Sequential:
    """The untrained network, with He's uniform weights and zero biases."""
    layers: list[nn.Module] = []
    side = _SIDE
    for inputs, outputs in itertools.pairwise((1, *task.channels)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        side //= 2
    layers.append(nn.Flatten())
    widths = (side * side * (1, *task.channels)[-1], *task.hidden)
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    layers.append(nn.Linear(widths[-1], _CLASSES))
    network = nn.Sequential(*layers)
    for parameter in network.parameters():
        if parameter.dim() > 1:
            nn.init.kaiming_uniform_(parameter, nonlinearity="relu", generator=generator)
        else:
            nn.init.zeros_(parameter)
    return network


@cache
def _images(seed: int) -> tuple[Tensor, Tensor]:
    """All digits in an order of the seed's: images (1797, 1, 8, 8) in [0, 1] and classes."""
    from sklearn.datasets import load_digits

    inputs, targets = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(targets))
    images = torch.tensor(inputs[order] / 16.0, dtype=torch.float32)
    return images.reshape(-1, 1, _SIDE, _SIDE), torch.tensor(targets[order])
