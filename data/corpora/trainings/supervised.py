"""Learning of classes and numbers: losses, and metrics on examples kept apart."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from optformer.data.corpora.trainings.columns import Columns
from optformer.data.corpora.trainings.examples import Examples
from optformer.data.corpora.trainings.networks import Architecture, Mixture

WORST = 10.0
"""Largest loss, in units of that of a constant prediction; what diverged counts as this bad."""


class Classifier:
    """Networks that learn classes, of examples or of each place of a sequence.

    Searches `label_smoothing`, `focal_gamma`, `class_weighting`, `mixup_alpha`, `input_noise`
    and `balance` (of experts).
    """

    def __init__(self, columns: Columns, data: Examples, architecture: Architecture) -> None:
        self.network = architecture(columns, data.shape, data.outputs)
        self.layout, self.examples = self.network.layout, len(data.inputs)
        self._data, self._columns = data, columns
        self._smoothing = columns.numbers("label_smoothing")[:, None]
        self._gamma = columns.numbers("focal_gamma")[:, None]
        self._balance = columns.numbers("balance") if columns.searched("balance") else None
        counts = torch.bincount(data.targets.flatten(), minlength=data.outputs).clamp_min(1)
        weights = (counts.sum() / counts / data.outputs) ** columns.numbers("class_weighting")[
            :, None
        ]
        self._weights = weights / (weights * counts).sum(1, keepdim=True) * counts.sum()

    def loss(self, weights: list[Tensor], rows: Tensor, noise: torch.Generator) -> Tensor:
        """See `Learner`."""
        inputs, targets = self._data.inputs[rows], self._data.targets[rows]
        inputs = _noisy(inputs, self._columns, noise)
        if self._columns.searched("mixup_alpha"):
            share = self._mixup(noise)
            other = torch.randperm(len(rows), generator=noise)
            flat = inputs.flatten(1)
            inputs = torch.unflatten(torch.lerp(flat[other], flat, share), 2, self._data.shape)
            logits = self.network(weights, inputs, noise)
            wrong, right = (self._cross_entropy(logits, y) for y in (targets[other], targets))
            return torch.lerp(wrong, right, share[..., 0]).mean(1)
        logits = self.network(weights, inputs, noise)
        loss = self._cross_entropy(logits, targets).mean(1)
        if self._balance is not None and isinstance(self.network, Mixture):
            usage = self.network.usage
            loss = loss + self._balance * usage.shape[1] * usage.square().sum(1)
        return loss

    def measure(self, weights: list[Tensor]) -> dict[str, Tensor]:
        """See `Learner`."""
        targets = self._data.valid_targets.flatten()
        scores = self.network(weights, self._data.valid_inputs).double()
        found = classification_metrics(scores, targets)
        shares = torch.bincount(targets, minlength=self._data.outputs).double() / len(targets)
        constant = float(torch.special.entr(shares).sum())
        loss = found["log_loss"].clamp_max(WORST * constant)
        return {**found, "log_loss": loss, "perplexity": loss.clamp_max(20.0).exp()}

    def _mixup(self, noise: torch.Generator) -> Tensor:
        """A share of the own example for each network, from one quantile for all, (K, 1, 1)."""
        alpha = self._columns.numbers("mixup_alpha")[:, None, None]
        place = 2 * torch.rand((), generator=noise) - 1
        # A symmetric distribution on [.5, 1] that is near 1 for a small alpha, as mixup's is.
        return 1 - 0.5 * place.abs() ** (1 / alpha.clamp_min(1e-3))

    def _cross_entropy(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Of each example, (K, N)."""
        chances = logits.log_softmax(-1)
        flat = targets.flatten().expand(len(logits), -1)
        own = chances.gather(-1, flat[..., None])[..., 0]
        loss = -(1 - self._smoothing) * own - self._smoothing * chances.mean(-1)
        if self._columns.searched("focal_gamma"):
            loss = loss * (1 - own.exp()).clamp_min(1e-6) ** self._gamma
        if self._columns.searched("class_weighting"):
            loss = loss * self._weights.gather(1, flat)
        return loss


class Regressor:
    """Networks that learn numbers; searches `huber_delta` and `input_noise`."""

    def __init__(self, columns: Columns, data: Examples, architecture: Architecture) -> None:
        self.network = architecture(columns, data.shape, data.outputs)
        self.layout, self.examples = self.network.layout, len(data.inputs)
        self._data, self._columns = data, columns
        self._delta = columns.numbers("huber_delta")[:, None, None]

    def loss(self, weights: list[Tensor], rows: Tensor, noise: torch.Generator) -> Tensor:
        """See `Learner`."""
        inputs = _noisy(self._data.inputs[rows], self._columns, noise)
        error = self.network(weights, inputs, noise) - self._data.targets[rows]
        if self._columns.searched("huber_delta"):
            size = error.abs().clamp_max(self._delta)
            loss = size * (error.abs() - 0.5 * size)
        else:
            loss = 0.5 * error.square()
        return loss.mean((1, 2))

    def measure(self, weights: list[Tensor]) -> dict[str, Tensor]:
        """See `Learner`."""
        targets = self._data.valid_targets.double()
        return regression_metrics(self.network(weights, self._data.valid_inputs).double(), targets)


def classification_metrics(scores: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Metrics of K classifiers; scores that are not finite are those of a constant prediction.

    Args:
        scores: Unnormalized log-probabilities, (K, M, C).
        targets: Classes, (M,).

    Returns:
        accuracy, balanced_accuracy and log_loss, (K,) each; the loss of a network with scores that
        are not finite is infinite.
    """
    broken = ~scores.isfinite().all(-1).all(-1)
    scores = torch.where(broken[:, None, None], 0.0, scores)
    right = (scores.argmax(-1) == targets).double()
    recalls = [
        right[:, targets == c].mean(1) for c in range(scores.shape[-1]) if (targets == c).any()
    ]
    flat = targets.expand(len(scores), -1)[..., None]
    loss = -scores.log_softmax(-1).gather(-1, flat)[..., 0].mean(1)
    return {
        "accuracy": right.mean(1),
        "balanced_accuracy": torch.stack(recalls).mean(0),
        "log_loss": torch.where(broken, math.inf, loss),
    }


def regression_metrics(predicted: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Errors of K regressions, at most `WORST` times those of the mean.

    Args:
        predicted: (K, M, outputs).
        targets: (M, outputs).

    Returns:
        rmse, mae and r2, (K,) each.
    """
    error = (predicted - targets).nan_to_num(math.inf, math.inf, math.inf).abs()
    spread = (targets - targets.mean(0)).abs()
    least = float(spread.square().mean().sqrt())
    rmse = error.square().mean((1, 2)).sqrt().clamp_max(WORST * least)
    mae = error.mean((1, 2)).clamp_max(WORST * float(spread.mean()))
    return {"rmse": rmse, "mae": mae, "r2": 1 - (rmse / least).square()}


def _noisy(inputs: Tensor, columns: Columns, noise: torch.Generator) -> Tensor:
    """Inputs with noise of each network's `input_noise`, (K, N, ...), where it is searched."""
    if not columns.searched("input_noise"):
        return inputs
    size = columns.numbers("input_noise").view(-1, *([1] * inputs.dim()))
    return inputs + size * torch.randn(inputs.shape, generator=noise)


MakeLearner = Callable[[Columns, Examples], "Classifier | Regressor"]
