"""Small images to classify, split for training, validation and the final test."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

_TEST = 500  # images that no search looks at
_STROKES = 4  # line segments of a glyph


@dataclass(frozen=True, eq=False)
class Images:
    """Grey images with their classes.

    Attributes:
        name: Name of the data set.
        train: float32 images, shape (N, 1, size, size), mean 0 and deviation 1 over all.
        train_classes: int64, shape (N,), in [0, 10).
        validation: As `train`; searches are scored on these.
        validation_classes: As `train_classes`.
        test: As `train`; for the final network alone.
        test_classes: As `train_classes`.
    """

    name: str
    train: Tensor
    train_classes: Tensor
    validation: Tensor
    validation_classes: Tensor
    test: Tensor
    test_classes: Tensor

    @property
    def size(self) -> int:
        """Height and width in pixels."""
        return self.train.shape[-1]

    @property
    def description(self) -> str:
        """Size of the data set in words, for a study's metadata."""
        return f"{len(self.train)} training images of {self.size}x{self.size} pixels, 10 classes"


@cache
def digits(train: int = 400, validation: int = 600) -> Images:
    """scikit-learn's handwritten digits, 8 x 8 pixels.

    Args:
        train: Number of training images.
        validation: Number of validation images; 500 others are for the final test.
    """
    from sklearn.datasets import load_digits

    inputs, classes = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(classes))
    images = torch.from_numpy(inputs[order].astype(np.float32)).reshape(-1, 1, 8, 8)
    return _split("digits", images, torch.from_numpy(classes[order]), train, validation)


@cache
def glyphs(size: int, train: int = 600, validation: int = 600) -> Images:
    """Generated line drawings: ten signs of four thin strokes each, drawn by an unsteady hand.

    A sign is drawn turned, stretched, shifted and with trembling ends, together with one stroke
    that does not belong to it. It is drawn at the asked resolution, so more pixels tell more, which
    enlarged digits would not. The same drawings come at every size.

    Args:
        size: Height and width in pixels, at least 4.
        train: Number of training images.
        validation: Number of validation images; 500 others are for the final test.
    """
    count = train + validation + _TEST
    rng = np.random.default_rng(0)
    signs = rng.uniform(0.1, 0.9, (10, _STROKES, 2, 2))  # class, stroke, end, x and y
    classes = rng.integers(10, size=count)
    strokes = signs[classes] - 0.5  # (count, stroke, end, 2)
    angle = rng.normal(0.0, 0.15, count)
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], -1)
    stretch = rng.uniform(0.8, 1.1, (count, 1, 1, 2))
    shift = rng.normal(0.0, 0.05, (count, 1, 1, 2))
    tremble = rng.normal(0.0, 0.03, strokes.shape)
    strokes = np.einsum("nij,nsej->nsei", turn.reshape(-1, 2, 2), strokes * stretch)
    strokes = strokes + shift + tremble + 0.5
    strokes = np.concatenate([strokes, rng.uniform(0.0, 1.0, (count, 1, 2, 2))], 1)
    images = torch.from_numpy(_drawn(strokes, size).astype(np.float32))[:, None]
    return _split("generated line drawings", images, torch.from_numpy(classes), train, validation)


def _drawn(strokes: np.ndarray, size: int) -> np.ndarray:
    """Ink in [0, 1] at the centres of the pixels, shape (N, size, size)."""
    centres = (np.arange(size) + 0.5) / size
    pixels = np.stack(np.meshgrid(centres, centres), -1).reshape(1, -1, 2)  # (1, pixels, 2)
    ink = np.zeros((len(strokes), size * size))
    for stroke in range(strokes.shape[1]):
        start = strokes[:, stroke, 0][:, None]  # (N, 1, 2)
        along = strokes[:, stroke, 1][:, None] - start
        share = ((pixels - start) * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-9)
        nearest = start + np.clip(share, 0.0, 1.0)[..., None] * along
        distance = ((pixels - nearest) ** 2).sum(-1)
        ink = np.maximum(ink, np.exp(-distance / 0.04**2))
    return ink.reshape(-1, size, size)


def _split(name: str, images: Tensor, classes: Tensor, train: int, validation: int) -> Images:
    images = (images - images[:train].mean()) / images[:train].std()
    parts = (slice(train), slice(train, train + validation), slice(-_TEST, None))
    tensors = [tensor[part].contiguous() for part in parts for tensor in (images, classes)]
    return Images(name, *tensors)
