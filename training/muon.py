"""Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks")."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from optformer.training.speed import fast_precision

MOMENTUM = 0.95
ITERATIONS = 5
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_TINY = 1e-7


class Muon(torch.optim.Optimizer):
    """Momentum whose steps are made orthogonal, for matrices.

    As `torch.optim.Muon` with the root mean square of a step matched to AdamW's (Liu et al. 2025),
    but for its arithmetic: that one computes in bf16 alone, which takes a CPU without the
    instructions seconds a step.

    Args:
        matrices: Parameters of two dimensions.
        lr: Learning rate.
        weight_decay: Share of the weights that a step of rate 1 removes.
    """

    def __init__(self, matrices: Iterable[nn.Parameter], lr: float, weight_decay: float):
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Move the weights that have a gradient; closures are not supported."""
        del closure
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(weight)
                mean = state["momentum_buffer"]
                mean.lerp_(weight.grad, 1 - MOMENTUM)
                direction = orthogonal(weight.grad.lerp(mean, MOMENTUM))
                size = 0.2 * max(weight.shape) ** 0.5
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(direction, alpha=-group["lr"] * size)


def orthogonal(matrix: Tensor) -> Tensor:
    """A matrix with about the same singular vectors, and singular values of about 1, (N, M).

    Newton-Schulz iterations with coefficients that are steep at zero.
    """
    wide = matrix.to(fast_precision(matrix.device))
    wide = wide.mT if matrix.shape[0] > matrix.shape[1] else wide
    wide = wide / wide.norm().clamp(min=_TINY)
    first, third, fifth = _COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = wide @ wide.mT
        gram = torch.addmm(gram, gram, gram, beta=third, alpha=fifth)
        wide = torch.addmm(wide, gram, wide, beta=first)
    wide = wide.mT if matrix.shape[0] > matrix.shape[1] else wide
    return wide.to(matrix.dtype)
