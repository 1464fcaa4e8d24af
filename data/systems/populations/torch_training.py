"""What trainable torch networks share: data, checkpoints, stochastic gradient descent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional

from optformer.data.objectives.sklearn_tasks import RESERVED_DATASETS
from optformer.data.studies.errors import ConfigError, ObjectiveError

DATASETS = ("breast-cancer", "digits", "generated", "wine")
"""Names of the tabular data sets that networks train on."""


@dataclass(frozen=True)
class Part:
    """Inputs, float32, (N, ...), and classes, int64, (N)."""

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Parts:
    """A data set in three parts; only the first trains, and only the last was never looked at."""

    train: Part
    validation: Part
    test: Part
    classes: int


def is_reserved(dataset: str) -> bool:
    """Whether nothing a shipped checkpoint learns from may come from this data set."""
    return dataset in RESERVED_DATASETS


@cache
def tabular(dataset: str) -> Parts:
    """A data set in fixed random parts of 1/2, 1/4, 1/4, standardized by the first.

    Raises:
        ConfigError: The name is unknown.
    """
    from sklearn import datasets

    if dataset == "generated":
        inputs, targets = datasets.make_classification(
            1200, 20, n_informative=8, n_classes=4, flip_y=0.05, random_state=0
        )
    elif dataset in DATASETS:
        load_any = getattr(datasets, f"load_{dataset.replace('-', '_')}")
        inputs, targets = load_any(return_X_y=True)
    else:
        raise ConfigError(f"unknown data set {dataset!r}; known are {list(DATASETS)}")
    count = len(targets)
    order = np.random.default_rng(0).permutation(count)
    train, validation, test = np.split(order, [count // 2, count * 3 // 4])
    mean, deviation = inputs[train].mean(0), inputs[train].std(0) + 1e-6

    def part(rows: np.ndarray) -> Part:
        scaled = ((inputs[rows] - mean) / deviation).clip(-5, 5)
        return Part(torch.tensor(scaled, dtype=torch.float32), torch.tensor(targets[rows]))

    return Parts(part(train), part(validation), part(test), int(targets.max()) + 1)


class SgdTraining:
    """A network under stochastic gradient descent, with all that training goes on from.

    Args:
        network: The network; its parameters are changed in place.
    """

    def __init__(self, network: nn.Module):
        self._parameters = dict(network.named_parameters())
        self._buffers = dict(network.named_buffers())
        self._optimizer = torch.optim.SGD(self._parameters.values())

    def fresh(self, seed: int) -> None:
        """Draw new weights (He et al. 2015); biases and momentum are zero."""
        generator = torch.Generator().manual_seed(seed)
        for parameter in self._parameters.values():
            if parameter.dim() > 1:
                nn.init.kaiming_uniform_(parameter, nonlinearity="relu", generator=generator)
            else:
                nn.init.zeros_(parameter)
        self._optimizer.state.clear()

    def set(self, *, learning_rate: float, momentum: float, weight_decay: float) -> None:
        """Set the hyperparameters of the steps to come."""
        self._optimizer.param_groups[0].update(
            lr=learning_rate, momentum=momentum, weight_decay=weight_decay
        )

    def step(self, loss: Tensor) -> None:
        """One step down the gradient of a loss."""
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()

    def to_bytes(self) -> bytes:
        """Weights, buffers and momentum, as safetensors."""
        weights = {name: parameter.detach() for name, parameter in self._parameters.items()}
        momentum = {
            f"momentum.{name}": self._optimizer.state[parameter]["momentum_buffer"]
            for name, parameter in self._parameters.items()
            if self._optimizer.state[parameter].get("momentum_buffer") is not None
        }
        return save(weights | self._buffers | momentum)

    def from_bytes(self, checkpoint: bytes) -> None:
        """Take over what `to_bytes` wrote."""
        tensors = load(checkpoint)
        for name, own in self._buffers.items():
            own.copy_(tensors[name])
        self._optimizer.state.clear()
        for name, parameter in self._parameters.items():
            parameter.data.copy_(tensors[name])
            if f"momentum.{name}" in tensors:
                buffer = tensors[f"momentum.{name}"]
                self._optimizer.state[parameter] = {"momentum_buffer": buffer}


def dropout(hidden: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """Zero a share of the values and scale the rest up, with an explicit generator."""
    if rate == 0:
        return hidden
    kept = torch.rand(hidden.shape, generator=generator) >= rate
    return hidden * kept / (1 - rate)


def log_loss(logits: Tensor, targets: Tensor) -> float:
    """Mean negative log-likelihood of the right classes, in nats.

    Raises:
        ObjectiveError: It is not finite: training diverged.
    """
    loss = float(functional.cross_entropy(logits, targets))
    if not math.isfinite(loss):
        raise ObjectiveError(f"training diverged: the validation loss is {loss}")
    return loss
