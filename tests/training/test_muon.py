"""Muon against the one of PyTorch, which computes in bf16."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from optformer.training.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(12, 12), (8, 24), (24, 8)])
def test_orthogonal__any_shape__keeps_directions_and_evens_their_sizes(
    shape: tuple[int, int],
) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, sizes, right = torch.linalg.svd(matrix, full_matrices=False)
    turned = left.mT @ orthogonal(matrix) @ right.mT  # diagonal where the directions are the same
    found = turned.diagonal()
    assert sizes.max() > 2 * sizes.min()
    assert 0.6 < float(found.min()) <= float(found.max()) < 1.3
    assert float((turned - torch.diag(found)).abs().max()) < 0.02


def test_orthogonal__zeros__stay_zeros() -> None:
    assert torch.equal(orthogonal(torch.zeros(3, 5)), torch.zeros(3, 5))


@pytest.mark.parametrize("shape", [(16, 16), (12, 40), (40, 12)])
def test_step__some_gradients__goes_where_torch_goes(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(shape, generator=generator)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    settings = {"lr": 0.02, "weight_decay": 0.1}
    optimizers = (
        Muon([ours], **settings),
        torch.optim.Muon([theirs], adjust_lr_fn="match_rms_adamw", **settings),
    )
    for _ in range(5):
        gradient = torch.randn(shape, generator=generator)
        for weight, optimizer in zip((ours, theirs), optimizers, strict=True):
            weight.grad = gradient.clone()
            optimizer.step()
    moved, apart = (theirs - start).detach().norm(), (ours - theirs).detach().norm()
    assert apart < 0.02 * moved  # rounding in bf16


def test_step__no_gradient__leaves_the_weight() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    Muon([weight], lr=1.0, weight_decay=1.0).step()
    assert torch.equal(weight, torch.ones(2, 2))
