"""A small network on a small table of data, whose hyperparameters may change in training."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from optformer.data.studies.parameters import Float, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.systems.populations.torch_training import (
    Part,
    SgdTraining,
    dropout,
    is_reserved,
    log_loss,
    tabular,
)

_HIDDEN, _BATCH = 64, 32


class TorchClassifier:
    """A perceptron with two hidden layers of 64, trained by stochastic gradient descent.

    A step takes 32 examples, drawn with the seed of the interval, and about half a millisecond. The
    metric is the log loss on the validation part.

    Args:
        dataset: "breast-cancer", "digits", "generated" or "wine"; digits is reserved.

    Raises:
        ConfigError: The data set is unknown.
    """

    def __init__(self, dataset: str = "wine"):
        self._dataset = dataset
        self._parts = tabular(dataset)
        self.reserved = is_reserved(dataset)
        self._layers = nn.ModuleList(
            [
                nn.Linear(self._parts.train.inputs.shape[1], _HIDDEN),
                nn.Linear(_HIDDEN, _HIDDEN),
                nn.Linear(_HIDDEN, self._parts.classes),
            ]
        )
        self._training = SgdTraining(self._layers)

    @property
    def config(self) -> StudyConfig:
        """See `Trainable.config`."""
        space = SearchSpace(
            learning_rate=Float(1e-4, 1.0, log=True, description="learning rate"),
            momentum=Float(0.0, 0.99, description="momentum of the gradient"),
            weight_decay=Float(1e-6, 1e-1, log=True, description="L2 regularization"),
            dropout=Float(0.0, 0.7, description="share of hidden units dropped"),
        )
        examples, features = self._parts.train.inputs.shape
        metadata = {
            "task": "classification",
            "dataset": self._dataset,
            "dataset size": f"{examples} training examples, {features} features, "
            f"{self._parts.classes} classes",
            "model": "multilayer perceptron, two hidden layers, SGD",
        }
        return StudyConfig(space, "log_loss", "minimize", metadata)

    def init(self, seed: int) -> None:
        """See `Trainable.init`."""
        self._training.fresh(seed)

    def train(self, params: Mapping[str, Value], steps: int, seed: int) -> float:
        """See `Trainable.train`."""
        generator = torch.Generator().manual_seed(seed)
        train = self._parts.train
        self._training.set(
            learning_rate=params["learning_rate"],
            momentum=params["momentum"],
            weight_decay=params["weight_decay"],
        )
        for _ in range(steps):
            rows = torch.randint(len(train.targets), (_BATCH,), generator=generator)
            logits = self._logits(train.inputs[rows], params["dropout"], generator)
            self._training.step(functional.cross_entropy(logits, train.targets[rows]))
        return self._loss(self._parts.validation)

    def save(self) -> bytes:
        """See `Trainable.save`."""
        return self._training.to_bytes()

    def load(self, checkpoint: bytes) -> None:
        """See `Trainable.load`."""
        self._training.from_bytes(checkpoint)

    def test_loss(self) -> float:
        """Log loss on the part that nothing was chosen by."""
        return self._loss(self._parts.test)

    @torch.no_grad()
    def _loss(self, part: Part) -> float:
        return log_loss(self._logits(part.inputs), part.targets)

    def _logits(
        self, inputs: Tensor, rate: float = 0.0, generator: torch.Generator | None = None
    ) -> Tensor:
        hidden = inputs
        for layer in self._layers[:-1]:
            hidden = functional.relu(layer(hidden))
            if generator is not None:
                hidden = dropout(hidden, rate, generator)
        logits: Tensor = self._layers[-1](hidden)
        return logits
