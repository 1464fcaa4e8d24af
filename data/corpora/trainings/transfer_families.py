"""Families that learn from more than their own labels: teachers, earlier weights, adversaries."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from optformer.data.corpora.trainings.columns import Columns
from optformer.data.corpora.trainings.examples import Examples, tabular_classes
from optformer.data.corpora.trainings.family import TrainingFamily
from optformer.data.corpora.trainings.hyperparameters import (
    batch,
    decay,
    dropout,
    epochs,
    rate,
    warmup,
    width,
)
from optformer.data.corpora.trainings.layers import Dropout, Linear, Units
from optformer.data.corpora.trainings.layout import Layout
from optformer.data.corpora.trainings.networks import Perceptron
from optformer.data.corpora.trainings.stacked import train_learner, train_stacked, train_weights
from optformer.data.corpora.trainings.supervised import Classifier, classification_metrics
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal
from optformer.data.studies.spaces import SearchSpace

_HIDDEN = 32  # units of a layer of a pretrained network
_ATTACK = 0.25  # size of the attack that robust accuracy is measured under


@dataclass(frozen=True)
class Taught:
    """Examples of which few are labelled, and what a larger network says of all.

    Attributes:
        text: What they are like.
        examples: All of them.
        labelled: How many of the first may be used with their labels.
        scores: A teacher's scores of those of training, (N, C).
        matrices: The teacher's two hidden layers and their biases.
    """

    text: str
    examples: Examples
    labelled: int
    scores: Tensor
    matrices: tuple[Tensor, ...]


def taught(seed: int) -> Taught:
    """A data set with few labels, and a perceptron trained on related ones."""
    examples = tabular_classes(seed)
    generator = torch.Generator().manual_seed(seed)
    labelled = (24, 48, 96)[int(torch.randint(3, (), generator=generator))]
    labelled = min(labelled, len(examples.inputs) // 2)
    related = 0.05 + 0.6 * float(torch.rand((), generator=generator))  # how far labels differ
    other = torch.randint(examples.outputs, examples.targets.shape, generator=generator)
    differs = torch.rand(examples.targets.shape, generator=generator) < related
    source = Examples(
        examples.text,
        examples.inputs,
        torch.where(differs, other, examples.targets),
        examples.valid_inputs,
        examples.valid_targets,
        examples.outputs,
    )
    settings = {"epochs": 20, "width": _HIDDEN, "weight_decay": 1e-3}
    columns = Columns(
        SearchSpace(learning_rate=rate(1e-4, 1e-1)), [{"learning_rate": 3e-3}], settings
    )
    teacher = Classifier(columns, source, Perceptron)
    weights = teacher.layout.views(train_weights(teacher, columns, seed))
    with torch.no_grad():
        scores = teacher.network(weights, examples.inputs)[0]
    text = (
        f"{examples.text}, {labelled} of them labelled, "
        f"{100 * related:.0f} % of the source's labels differ"
    )
    return Taught(text, examples, labelled, scores, tuple(part[0] for part in weights[:4]))


class Distilled(Classifier):
    """A student that learns few labels and a teacher's scores; `alpha` is the teacher's share."""

    def __init__(self, columns: Columns, data: Taught) -> None:
        super().__init__(columns, data.examples, Perceptron)
        self._taught = data
        self._alpha = columns.numbers("alpha")
        self._temperature = columns.numbers("temperature")[:, None, None]

    def loss(self, weights: list[Tensor], rows: Tensor, noise: torch.Generator) -> Tensor:
        """See `Learner`."""
        data = self._taught
        logits = self.network(weights, data.examples.inputs[rows], noise)
        soft = (data.scores[rows] / self._temperature).softmax(-1)
        learned = (logits / self._temperature).log_softmax(-1)
        taught_loss = -(soft * learned).sum(-1) * self._temperature[..., 0].square()
        known = (rows < data.labelled).float()
        own = (self._cross_entropy(logits, data.examples.targets[rows]) * known).sum(1)
        return torch.lerp(own / known.sum().clamp_min(1), taught_loss.mean(1), self._alpha)


class SelfTrained(Classifier):
    """A network that also learns its own confident predictions for what has no label."""

    def __init__(self, columns: Columns, data: Taught) -> None:
        super().__init__(columns, data.examples, Perceptron)
        self._labelled, self._inputs = data.labelled, data.examples.inputs
        self._threshold = columns.numbers("threshold")[:, None]
        self._weight = columns.numbers("unlabeled_weight")
        self._strength = columns.numbers("augmentation")[:, None, None]

    def loss(self, weights: list[Tensor], rows: Tensor, noise: torch.Generator) -> Tensor:
        """See `Learner`."""
        own = torch.randint(self._labelled, (len(rows),), generator=noise)
        targets = self._data.targets[own]
        supervised = self._cross_entropy(self.network(weights, self._inputs[own], noise), targets)
        inputs = self._inputs[rows]
        with torch.no_grad():
            confidence, guess = self.network(weights, inputs).softmax(-1).max(-1)
        shaken = inputs + self._strength * torch.randn(inputs.shape, generator=noise)
        logits = self.network(weights, shaken, noise).log_softmax(-1)
        loss = -logits.gather(-1, guess[..., None])[..., 0]
        sure = (confidence >= self._threshold).float()
        return supervised.mean(1) + self._weight * (loss * sure).mean(1)


class Adversarial(Classifier):
    """A network trained on inputs that were moved to raise its loss."""

    def __init__(self, columns: Columns, data: Examples) -> None:
        super().__init__(columns, data, Perceptron)
        self._epsilon = columns.numbers("epsilon")[:, None, None]
        self._share = columns.numbers("adversarial_share")

    def loss(self, weights: list[Tensor], rows: Tensor, noise: torch.Generator) -> Tensor:
        """See `Learner`."""
        inputs, targets = self._data.inputs[rows], self._data.targets[rows]
        frozen = [part.detach() for part in weights]
        moved = self._attacked(frozen, inputs, targets, self._epsilon)
        clean = self._cross_entropy(self.network(weights, inputs, noise), targets).mean(1)
        hard = self._cross_entropy(self.network(weights, moved, noise), targets).mean(1)
        return torch.lerp(clean, hard, self._share)

    def _attacked(
        self, weights: list[Tensor], inputs: Tensor, targets: Tensor, size: Tensor | float
    ) -> Tensor:
        with torch.enable_grad():
            start = inputs.expand(self.layout.count, -1, -1).clone().requires_grad_()
            loss = self._cross_entropy(self.network(weights, start), targets).sum()
            (gradient,) = torch.autograd.grad(loss, start)
        return inputs + size * gradient.sign()

    def measure(self, weights: list[Tensor]) -> dict[str, Tensor]:
        """See `Learner`."""
        data = self._data
        inputs = self._attacked(weights, data.valid_inputs, data.valid_targets, _ATTACK)
        found = classification_metrics(self.network(weights, inputs).double(), data.valid_targets)
        return {
            "robust_accuracy": found["accuracy"],
            "accuracy": super().measure(weights)["accuracy"],
        }


class FineTuned:
    """A pretrained perceptron with a new head; the body's steps are `backbone_multiplier` as long.

    Weight decay pulls the body to what it was.
    """

    def __init__(
        self, columns: Columns, shape: tuple[int, ...], outputs: int, data: Taught
    ) -> None:
        self.layout = Layout(columns)
        self._pretrained = data.matrices
        self._moves = [self.layout.add(*part.shape) for part in data.matrices]
        self._head = Linear(self.layout, _HIDDEN, outputs, gain=0.3)
        self._speed = columns.numbers("backbone_multiplier")[:, None, None]
        self._dropout = Dropout(columns)

    def __call__(
        self, weights: list[Tensor], inputs: Tensor, noise: torch.Generator | None = None
    ) -> Tensor:
        """See `Network`."""
        first, bias, second, shift = (
            start + self._speed * weights[move]
            for start, move in zip(self._pretrained, self._moves, strict=True)
        )
        hidden = torch.relu(inputs @ first + bias)
        hidden = self._dropout(torch.relu(hidden @ second + shift), noise)
        return self._head(weights, hidden)


class LowRank:
    """A frozen perceptron whose layers get a learned product of rank `lora_rank` each."""

    def __init__(
        self, columns: Columns, shape: tuple[int, ...], outputs: int, data: Taught
    ) -> None:
        self.layout = Layout(columns)
        self._pretrained = data.matrices
        rank = Units(columns, "lora_rank")
        self._scale = (columns.numbers("lora_alpha") / rank.count)[:, None, None] * rank.mask
        self._down = [
            Linear(self.layout, size, rank.most, bias=False) for size in (shape[0], _HIDDEN)
        ]
        self._up = [Linear(self.layout, rank.most, _HIDDEN, gain=0.0, bias=False) for _ in range(2)]
        self._head = Linear(self.layout, _HIDDEN, outputs, gain=0.3)
        self._dropout = Dropout(columns, "lora_dropout")

    def __call__(
        self, weights: list[Tensor], inputs: Tensor, noise: torch.Generator | None = None
    ) -> Tensor:
        """See `Network`."""
        hidden = inputs
        for depth, (down, up) in enumerate(zip(self._down, self._up, strict=True)):
            matrix, bias = self._pretrained[2 * depth : 2 * depth + 2]
            added = down(weights, self._dropout(hidden, noise)) * self._scale
            hidden = torch.relu(hidden @ matrix + bias + up(weights, added))
        return self._head(weights, hidden)


def _few(data: Taught) -> Examples:
    """The labelled examples alone."""
    examples, kept = data.examples, data.labelled
    return Examples(
        data.text,
        examples.inputs[:kept],
        examples.targets[:kept],
        examples.valid_inputs,
        examples.valid_targets,
        examples.outputs,
    )


def _run_adapted(columns: Columns, data: Taught, seed: int, network: Any) -> dict[str, Tensor]:
    few, architecture = _few(data), partial(network, data=data)
    return train_stacked(lambda part: Classifier(part, few, architecture), columns, seed)


TRANSFER_FAMILIES = (
    TrainingFamily(
        "distillation",
        ("knowledge distillation", "model compression", "classification with few labels"),
        ("student network", "distilled perceptron"),
        SearchSpace(
            learning_rate=rate(1e-4, 1e-1),
            alpha=Float(0.0, 1.0, description="weight of the teacher's loss"),
            temperature=Float(0.5, 20.0, log=True, description="temperature of the teacher"),
            width=width(2, 24),
            batch_size=batch(16, 32, 64),
            epochs=epochs(2, 12),
        ),
        {"accuracy": "maximize", "log_loss": "minimize"},
        taught,
        partial(train_learner, learner=Distilled),
        {"optimizer": "adam", "layers": 1},
    ),
    TrainingFamily(
        "pseudo-labels",
        ("semi-supervised learning", "learning from few labels"),
        ("FixMatch", "network trained on pseudo-labels"),
        SearchSpace(
            learning_rate=rate(1e-4, 1e-1),
            threshold=Float(0.5, 0.99, description="confidence from which a prediction is a label"),
            unlabeled_weight=Float(0.01, 10.0, log=True, description="weight of their loss"),
            augmentation=Float(0.0, 1.5, description="noise of the augmented inputs"),
            weight_decay=decay(1e-6, 1e-1),
            dropout=dropout(0.5),
            epochs=epochs(2, 12),
        ),
        {"accuracy": "maximize", "log_loss": "minimize"},
        taught,
        partial(train_learner, learner=SelfTrained),
        {"optimizer": "adam", "layers": 1, "width": 24},
    ),
    TrainingFamily(
        "adversarial",
        ("robust classification", "adversarial training"),
        ("adversarially trained network", "robust classifier"),
        SearchSpace(
            learning_rate=rate(1e-4, 1e-1),
            epsilon=Float(0.01, 1.0, log=True, description="size of the attack in training"),
            adversarial_share=Float(0.0, 1.0, description="weight of attacked examples"),
            weight_decay=decay(1e-6, 1e-1),
            width=width(4, 32),
            batch_size=batch(16, 32, 64),
        ),
        {"robust_accuracy": "maximize", "accuracy": "maximize"},
        tabular_classes,
        partial(train_learner, learner=Adversarial),
        {"optimizer": "adam", "layers": 1, "epochs": 8},
    ),
    TrainingFamily(
        "fine-tuning",
        ("fine-tuning", "transfer learning", "fine-tuning a pretrained network"),
        ("pretrained network with a new head", "fine-tuned perceptron"),
        SearchSpace(
            learning_rate=rate(1e-5, 1e-1),
            backbone_multiplier=Float(
                1e-3, 3.0, log=True, description="learning rate of the body over that of the head"
            ),
            weight_decay=decay(1e-5, 1e1),
            warmup=warmup(),
            dropout=dropout(0.6, "dropout before the head"),
            label_smoothing=Float(0.0, 0.4, description="label smoothing"),
            batch_size=batch(8, 16, 32),
            epochs=epochs(2, 30),
        ),
        {"accuracy": "maximize", "log_loss": "minimize"},
        taught,
        partial(_run_adapted, network=FineTuned),
        {"optimizer": "adamw", "schedule": "linear", "multiplier": 10.0},
    ),
    TrainingFamily(
        "low-rank-adaptation",
        ("fine-tuning", "parameter-efficient fine-tuning", "adapting a pretrained network"),
        ("LoRA", "low-rank adaptation", "adapters"),
        SearchSpace(
            learning_rate=rate(1e-5, 1e-1),
            lora_rank=Ordinal([1, 2, 4, 8, 16], description="rank of the adapters"),
            lora_alpha=Int(1, 64, log=True, description="scale of the adapters"),
            lora_dropout=dropout(0.4, "dropout before the adapters"),
            weight_decay=decay(1e-4, 1e1),
            schedule=Categorical(["constant", "linear", "cosine"], description="schedule"),
            epochs=epochs(2, 30),
        ),
        {"accuracy": "maximize", "log_loss": "minimize"},
        taught,
        partial(_run_adapted, network=LowRank),
        {"optimizer": "adamw", "batch_size": 16, "multiplier": 4.0},
    ),
)
"""Learning that begins from, or leans on, what was learned before."""
