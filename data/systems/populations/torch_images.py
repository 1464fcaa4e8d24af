"""A small convolutional network whose input size and regularization may change in training."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from optformer.data.objectives import images
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Float, Ordinal, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.systems.populations.torch_training import (
    SgdTraining,
    dropout,
    is_reserved,
    log_loss,
)

DATASETS = ("digits", "glyphs")
"""Names of the image data sets: 8 x 8 digits, and line drawings at up to 16 x 16."""

_BATCH, _CHANNELS = 32, (12, 24)
_MOMENTUM, _WEIGHT_DECAY = 0.9, 1e-4


class TorchImageClassifier:
    """Two convolutions, pooled over the image, so that the same weights take any input size.

    Images are scaled down to `image_size` in training and in measuring. Augmentation turns, shifts
    and stretches them; its magnitude 1 is up to 15 degrees, an eighth of the image and a tenth of
    its size. Mixup (Zhang et al. 2018) blends pairs of examples with a share from Beta(a, a). The
    metric is the log loss on the validation part. A step takes 32 examples, and about 2 ms.

    Args:
        dataset: "digits" or "glyphs"; digits is reserved.

    Raises:
        ConfigError: The data set is unknown.
    """

    def __init__(self, dataset: str = "glyphs"):
        if dataset not in DATASETS:
            raise ConfigError(f"unknown data set {dataset!r}; known are {list(DATASETS)}")
        self._data = images.digits() if dataset == "digits" else images.glyphs(16)
        self.reserved = is_reserved(dataset)
        first, second = _CHANNELS
        self._layers = nn.ModuleList(
            [
                nn.Conv2d(1, first, 3, padding=1),
                nn.Conv2d(first, second, 3, padding=1, stride=2),
                nn.Linear(second, 10),
            ]
        )
        self._size = torch.tensor(self._data.size)  # what the weights were last trained on
        self._layers.register_buffer("image_size", self._size)
        self._training = SgdTraining(self._layers)

    @property
    def config(self) -> StudyConfig:
        """See `Trainable.config`."""
        full = self._data.size
        sizes = [full * eighths // 8 for eighths in (4, 5, 6, 7, 8)]
        space = SearchSpace(
            learning_rate=Float(1e-2, 1.0, log=True, description="learning rate"),
            image_size=Ordinal(sizes, description="height and width of the images"),
            dropout=Float(0.0, 0.4, description="share of features dropped before the output"),
            augmentation=Float(0.0, 1.0, description="magnitude of random image distortions"),
            mixup=Float(0.0, 0.4, description="mixup alpha"),
        )
        metadata = {
            "task": "image classification",
            "dataset": self._data.name,
            "dataset size": self._data.description,
            "model": "convolutional network, two layers, SGD with momentum 0.9",
        }
        return StudyConfig(space, "log_loss", "minimize", metadata)

    def init(self, seed: int) -> None:
        """See `Trainable.init`."""
        self._training.fresh(seed)

    def train(self, params: Mapping[str, Value], steps: int, seed: int) -> float:
        """See `Trainable.train`."""
        rng = np.random.default_rng(seed)
        generator = torch.Generator().manual_seed(seed)
        self._size.fill_(params["image_size"])
        inputs, classes = self._scaled(self._data.train), self._data.train_classes
        self._training.set(
            learning_rate=params["learning_rate"], momentum=_MOMENTUM, weight_decay=_WEIGHT_DECAY
        )
        for _ in range(steps):
            rows = torch.randint(len(classes), (_BATCH,), generator=generator)
            batch = distort(inputs[rows], params["augmentation"], generator)
            share = float(rng.beta(params["mixup"], params["mixup"])) if params["mixup"] else 1.0
            logits = self._logits(
                share * batch + (1 - share) * batch.flip(0), params["dropout"], generator
            )
            targets = classes[rows]
            loss = functional.cross_entropy(logits, targets)
            other = functional.cross_entropy(logits, targets.flip(0))
            self._training.step(share * loss + (1 - share) * other)
        return self._loss(self._data.validation, self._data.validation_classes)

    def save(self) -> bytes:
        """See `Trainable.save`."""
        return self._training.to_bytes()

    def load(self, checkpoint: bytes) -> None:
        """See `Trainable.load`."""
        self._training.from_bytes(checkpoint)

    def test_loss(self) -> float:
        """Log loss on the part that nothing was chosen by, at the size last trained on."""
        return self._loss(self._data.test, self._data.test_classes)

    @torch.no_grad()
    def _loss(self, inputs: Tensor, classes: Tensor) -> float:
        return log_loss(self._logits(self._scaled(inputs)), classes)

    def _scaled(self, inputs: Tensor) -> Tensor:
        """Images at the present height and width."""
        size = int(self._size)
        if inputs.shape[-1] == size:
            return inputs
        return functional.interpolate(
            inputs, (size, size), mode="bilinear", antialias=True, align_corners=False
        )

    def _logits(
        self, inputs: Tensor, rate: float = 0.0, generator: torch.Generator | None = None
    ) -> Tensor:
        hidden = inputs
        for layer in self._layers[:-1]:
            hidden = functional.relu(layer(hidden))
        hidden = hidden.mean((2, 3))
        if generator is not None:
            hidden = dropout(hidden, rate, generator)
        logits: Tensor = self._layers[-1](hidden)
        return logits


def distort(batch: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
    """Turn, shift and stretch each image at random.

    Args:
        batch: Images, (B, 1, size, size).
        magnitude: In [0, 1]; 0 leaves them as they are.
        generator: Source of randomness.
    """
    if magnitude == 0:
        return batch
    draws = magnitude * (2 * torch.rand(5, len(batch), generator=generator) - 1)  # in [-m, m]
    angle, (wide, high) = draws[0] * math.pi / 12, 1 + 0.1 * draws[1:3]
    cos, sin = torch.cos(angle), torch.sin(angle)
    shift = 0.25 * draws[3:5]  # the image spans 2
    rows = [torch.stack([wide * cos, -wide * sin, shift[0]], -1)]
    rows.append(torch.stack([high * sin, high * cos, shift[1]], -1))
    grid = functional.affine_grid(torch.stack(rows, 1), list(batch.shape), align_corners=False)
    return functional.grid_sample(batch, grid, padding_mode="border", align_corners=False)
