"""Small networks on small tables, trained by torch in milliseconds, as scikit-learn has models."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Protocol, TypeAlias

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from torch import Tensor
from torch.nn import functional

from optformer.data.objectives.fitting import Array
from optformer.data.runtime.threads import one_torch_thread

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "tanh": torch.tanh,
    "gelu": functional.gelu,
}
_EPSILON = 1e-8  # of the adaptive optimizers


class Network(Protocol):
    """A network apart from its weights."""

    shapes: list[tuple[int, ...]]
    """Shapes of its weights: matrices as (inputs, outputs), biases as (outputs,)."""

    def __call__(
        self, weights: Sequence[Tensor], inputs: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Outputs, (N, outputs), from inputs, (N, inputs); training draws from the generator."""


Architecture: TypeAlias = Callable[[int, int], Network]
"""Makes the network for a number of inputs and of outputs."""


class Perceptron:
    """Hidden layers one after the other.

    Args:
        inputs: How many inputs.
        outputs: How many outputs.
        layers: Number of hidden layers.
        units: Their width.
        dropout: Share of their units that training drops.
        activation: "relu", "tanh" or "gelu".
        normalization: Before the activation, "none", "batch" or "layer".
        funnel: Let the width shrink linearly from `units` to `outputs`, and dropout to none.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        layers: int,
        units: int,
        dropout: float = 0.0,
        activation: str = "relu",
        normalization: str = "none",
        funnel: bool = False,
    ):
        left = [1 - i / layers if funnel else 1.0 for i in range(layers)]
        widths = [round(share * units + (1 - share) * outputs) for share in left]
        self.shapes = _linear_shapes([inputs, *widths, outputs])
        self._dropouts = [dropout * share for share in left]
        self._activation = _ACTIVATIONS[activation]
        self._normalization = normalization
        self._statistics = [(torch.zeros(width), torch.ones(width)) for width in widths]

    def __call__(
        self, weights: Sequence[Tensor], inputs: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """See `Network`; the running statistics of a batch normalization follow training."""
        hidden = inputs
        for i, rate in enumerate(self._dropouts):
            hidden = self._layer(i, generator is not None, hidden, *weights[2 * i : 2 * i + 2])
            hidden = _dropped(self._activation(hidden), rate, generator)
        return _linear(hidden, *weights[-2:])

    def _layer(
        self, layer: int, training: bool, inputs: Tensor, matrix: Tensor, bias: Tensor
    ) -> Tensor:
        if self._normalization == "batch":  # a bias before it would have no effect
            return functional.batch_norm(
                inputs @ matrix, *self._statistics[layer], bias=bias, training=training
            )
        hidden = _linear(inputs, matrix, bias)
        if self._normalization == "layer":
            return functional.layer_norm(hidden, bias.shape)
        return hidden


class ResidualNetwork:
    """Blocks that add to what they are given: normalize, widen, GELU, drop, narrow.

    Args:
        inputs: How many inputs.
        outputs: How many outputs.
        blocks: Number of blocks.
        width: Width between the blocks.
        multiplier: Width within a block, in units of `width`.
        dropout: Share of the units within a block that training drops.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        blocks: int,
        width: int,
        multiplier: float,
        dropout: float,
    ):
        within = _linear_shapes([width, round(multiplier * width), width])
        self.shapes = [
            *_linear_shapes([inputs, width]),
            *(blocks * within),
            *_linear_shapes([width, outputs]),
        ]
        self._dropout = dropout

    def __call__(
        self, weights: Sequence[Tensor], inputs: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """See `Network`."""
        stream = _linear(inputs, *weights[:2])
        width = stream.shape[1:]
        for i in range(2, len(weights) - 2, 4):
            hidden = _linear(functional.layer_norm(stream, width), *weights[i : i + 2])
            hidden = _dropped(functional.gelu(hidden), self._dropout, generator)
            stream = stream + _linear(hidden, *weights[i + 2 : i + 4])
        return _linear(functional.layer_norm(stream, width), *weights[-2:])


@dataclass(frozen=True)
class Training:
    """How a network is trained.

    Attributes:
        optimizer: Adam and AdamW have the usual decays of their moments, 0.9 and 0.999.
        learning_rate: Its highest value.
        epochs: Passes over the examples.
        batch_size: Examples a step; at most all there are.
        momentum: Momentum of SGD and RMSprop.
        weight_decay: L2 regularization; AdamW's is apart from the gradient.
        cosine: Let the learning rate fall to zero along a cosine.
        warmup: Share of the steps over which the learning rate first rises.
        clip_norm: Longest gradient.
        label_smoothing: Share of a label spread evenly over the classes.
        huber_delta: Error, in deviations of the target, beyond which the loss is linear.
    """

    optimizer: Literal["sgd", "adam", "adamw", "rmsprop"]
    learning_rate: float
    epochs: int
    batch_size: int = 32
    momentum: float = 0.0
    weight_decay: float = 0.0
    cosine: bool = False
    warmup: float = 0.0
    clip_norm: float = math.inf
    label_smoothing: float = 0.0
    huber_delta: float = math.inf

    def rate(self, progress: float) -> float:
        """The learning rate after a share of all steps, in [0, 1)."""
        if progress < self.warmup:
            return self.learning_rate * progress / self.warmup
        if not self.cosine:
            return self.learning_rate
        fallen = (progress - self.warmup) / (1 - self.warmup)
        return self.learning_rate * (1 + math.cos(math.pi * fallen)) / 2


class _NetworkModel(BaseEstimator):  # type: ignore[misc]
    """A network as an estimator of scikit-learn, apart from what it predicts."""

    def __init__(self, architecture: Architecture, training: Training):
        self.architecture = architecture
        self.training = training


class NetworkClassifier(ClassifierMixin, _NetworkModel):  # type: ignore[misc]
    """A network whose outputs are the logits of the classes.

    Args:
        architecture: Makes the network.
        training: How it is trained.
    """

    def fit(self, inputs: Array, targets: Array) -> NetworkClassifier:
        """Train from fixed random weights on inputs, (N, features), and labels, (N,).

        Raises:
            ValueError: Training diverged.
        """
        self.classes_, labels = np.unique(targets, return_inverse=True)
        smoothing = self.training.label_smoothing
        self.outputs_ = _trained(
            self.architecture(inputs.shape[1], len(self.classes_)),
            self.training,
            inputs,
            torch.from_numpy(labels),
            lambda logits, labels: functional.cross_entropy(
                logits, labels, label_smoothing=smoothing
            ),
        )
        return self

    def predict_proba(self, inputs: Array) -> Array:
        """Probabilities, (N, classes); raises ValueError where one is not finite."""
        probabilities: Array = self.outputs_(inputs).softmax(1).numpy()
        return probabilities

    def predict(self, inputs: Array) -> Array:
        """Labels, (N,); raises ValueError where an output is not finite."""
        labels: Array = self.classes_[self.outputs_(inputs).argmax(1).numpy()]
        return labels


class NetworkRegressor(RegressorMixin, _NetworkModel):  # type: ignore[misc]
    """A network whose output is a target of deviation about 1.

    Args:
        architecture: Makes the network.
        training: How it is trained.
    """

    def fit(self, inputs: Array, targets: Array) -> NetworkRegressor:
        """Train from fixed random weights on inputs, (N, features), and targets, (N,).

        Raises:
            ValueError: Training diverged.
        """
        delta = self.training.huber_delta
        self.outputs_ = _trained(
            self.architecture(inputs.shape[1], 1),
            self.training,
            inputs,
            torch.from_numpy(targets).float(),
            lambda outputs, targets: functional.huber_loss(outputs[:, 0], targets, delta=delta),
        )
        return self

    def predict(self, inputs: Array) -> Array:
        """Targets, (N,); raises ValueError where one is not finite."""
        targets: Array = self.outputs_(inputs)[:, 0].numpy()
        return targets


def _trained(
    network: Network,
    training: Training,
    inputs: Array,
    targets: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
) -> Callable[[Array], Tensor]:
    """Inputs, (N, features), to outputs, float64, (N, outputs), of a network once it is trained."""
    generator = torch.Generator().manual_seed(0)
    with one_torch_thread():
        examples = torch.from_numpy(inputs).float()
        flat, weights = _initial(network.shapes, generator)
        descent = _Descent(flat, training)
        batch = min(training.batch_size, len(examples))
        per_epoch = len(examples) // batch
        for step in range(training.epochs * per_epoch):
            first = step % per_epoch * batch
            if first == 0:
                order = torch.randperm(len(examples), generator=generator)
            rows = order[first : first + batch]
            value = loss(network(weights, examples[rows], generator), targets[rows])
            gradient = torch.cat([part.flatten() for part in torch.autograd.grad(value, weights)])
            descent.step(gradient, training.rate(step / (training.epochs * per_epoch)))

    @torch.no_grad()
    def outputs(inputs: Array) -> Tensor:
        with one_torch_thread():
            found = network(weights, torch.from_numpy(inputs).float()).double()
        if not found.isfinite().all():
            raise ValueError("an output of the network is not finite")
        return found

    if not flat.isfinite().all():
        raise ValueError("a weight of the network is not finite")
    return outputs


def _initial(
    shapes: Sequence[tuple[int, ...]], generator: torch.Generator
) -> tuple[Tensor, list[Tensor]]:
    """Weights as one vector, for the optimizer, and as views of it, for the network."""
    sizes = [math.prod(shape) for shape in shapes]
    flat = torch.zeros(sum(sizes))
    weights = [
        part.view(shape) for part, shape in zip(torch.split(flat, sizes), shapes, strict=True)
    ]
    for weight in weights:
        if weight.dim() == 2:
            weight.normal_(0.0, weight.shape[0] ** -0.5, generator=generator)
    return flat, [weight.detach().requires_grad_() for weight in weights]


class _Descent:
    """An optimizer of one vector of weights, which it changes in place."""

    def __init__(self, weights: Tensor, training: Training):
        self._weights, self._training = weights, training
        self._first, self._second = torch.zeros_like(weights), torch.zeros_like(weights)
        self._steps = 0

    def step(self, gradient: Tensor, rate: float) -> None:
        if self._training.clip_norm < math.inf:
            gradient = gradient * min(1.0, self._training.clip_norm / (float(gradient.norm()) or 1))
        if self._training.optimizer == "adamw":
            self._weights.mul_(1 - rate * self._training.weight_decay)
        else:
            gradient = gradient.add(self._weights, alpha=self._training.weight_decay)
        self._weights.sub_(self._direction(gradient), alpha=rate)

    def _direction(self, gradient: Tensor) -> Tensor:
        momentum = self._training.momentum
        if self._training.optimizer == "sgd":
            return self._first.mul_(momentum).add_(gradient)
        if self._training.optimizer == "rmsprop":
            self._second.lerp_(gradient.square(), 0.01)
            scaled = gradient / self._second.sqrt().add_(_EPSILON)
            return self._first.mul_(momentum).add_(scaled)
        self._steps += 1
        first = self._first.lerp_(gradient, 0.1) / (1 - 0.9**self._steps)
        second = self._second.lerp_(gradient.square(), 0.001) / (1 - 0.999**self._steps)
        return first / second.sqrt_().add_(_EPSILON)


def _linear_shapes(widths: Sequence[int]) -> list[tuple[int, ...]]:
    """Shapes of the weights of linear layers that lead from each width to the next."""
    return [shape for pair in pairwise(widths) for shape in (pair, pair[1:])]


def _linear(inputs: Tensor, matrix: Tensor, bias: Tensor) -> Tensor:
    return torch.addmm(bias, inputs, matrix)


def _dropped(hidden: Tensor, rate: float, generator: torch.Generator | None) -> Tensor:
    if generator is None or rate == 0:
        return hidden
    kept = torch.rand(hidden.shape, generator=generator).ge_(rate)
    return hidden * kept.div_(max(1 - rate, 1e-3))  # not zero where all are dropped
