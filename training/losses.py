"""The one loss: weighted negative log-likelihood of metrics and values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from optformer.training.mixtures.batch import IGNORED, StudyBatch


@dataclass(frozen=True)
class Losses:
    """Negative log-likelihoods in nats, scalars.

    Attributes:
        total: What is minimized: the weighted sum.
        metric: Mean over the metric queries.
        value: Mean over the value queries that have an answer, with the batch's weights; zero
            when none has.
    """

    total: Tensor
    metric: Tensor
    value: Tensor


def study_losses(
    model: Callable[..., tuple[Tensor, Tensor]], batch: StudyBatch, metric_share: float
) -> Losses:
    """Run the model on a batch and weigh its losses.

    Separators and metadata carry no loss. Value queries come from a sample of the trials, one for
    each parameter, and are averaged, so that a trial's policy loss does not grow with P. The
    batch's weights, if it has any, lean the policy towards good trials.

    Args:
        model: An `OptFormerModel`, maybe wrapped for several devices, or what answers in its place.
        batch: Studies and queries.
        metric_share: Weight of the metric's loss in [0.5, 1].
    """
    metric_logits, value_logits = model(
        batch.metadata,
        batch.history,
        batch.prefix,
        batch.metrics.points,
        batch.metrics.position,
        batch.values.points,
        batch.value_slots,
        batch.values.position,
    )
    metric = negative_log_likelihood(metric_logits, batch.metrics.target)
    value = negative_log_likelihood(value_logits, batch.values.target, batch.value_weights)
    return Losses(metric_share * metric + (1 - metric_share) * value, metric, value)


def negative_log_likelihood(
    logits: Tensor, target: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Mean negative log-likelihood, in nats, of the targets that are not IGNORED.

    Args:
        logits: (B, N, V).
        target: (B, N).
        weights: Weight of each target, (B, N), not negative; equal ones when absent.
    """
    if weights is None:
        counted = (target != IGNORED).sum().clamp(min=1)
        total = F.cross_entropy(
            logits.flatten(0, 1), target.flatten(), ignore_index=IGNORED, reduction="sum"
        )
        return total / counted
    losses = F.cross_entropy(
        logits.flatten(0, 1), target.flatten(), ignore_index=IGNORED, reduction="none"
    ).view_as(weights)
    weights = weights * (target != IGNORED)
    return (weights * losses).sum() / weights.sum().clamp(min=1e-6)
