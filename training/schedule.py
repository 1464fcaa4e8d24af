"""Optimizers and the learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from optformer.model.state_keys import in_order
from optformer.training.config import TrainingConfig
from optformer.training.muon import Muon

FINAL_RATE = 0.02  # rate at the end, relative to the peak


def rate_at(step: int, seconds: float, config: TrainingConfig) -> float:
    """Learning rate relative to its peak: linear warm-up, then a cosine.

    Args:
        step: Steps taken.
        seconds: Time that they took, which counts where the schedule has a length in seconds.
        config: The run.
    """
    warm = min(1.0, (step + 1) / config.warmup)
    done = min(1.0, seconds / config.seconds if config.seconds else step / config.steps)
    return warm * (FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * done)))


def make_optimizers(model: nn.Module, config: TrainingConfig) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices of the layers, AdamW for everything else (Jordan et al. 2024).

    Embeddings, number features, heads, norms and biases have no orthogonal structure to keep.
    """
    hidden: list[nn.Parameter] = []
    other: list[nn.Parameter] = []
    for name, parameter in in_order(model.named_parameters()):
        in_layer = ".layers." in name and parameter.ndim == 2
        (hidden if in_layer else other).append(parameter)
    return [
        Muon(hidden, lr=config.matrix_learning_rate, weight_decay=config.weight_decay),
        torch.optim.AdamW(other, lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def parameter_names(
    model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> list[list[str]]:
    """Names of each optimizer's parameters, in the order of its state."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [
        [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]
        for optimizer in optimizers
    ]
