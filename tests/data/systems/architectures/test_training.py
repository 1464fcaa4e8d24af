"""Images, training and costs: real, repeatable, and leaving no trace."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from optformer.data.objectives.images import digits, glyphs
from optformer.data.studies.errors import ObjectiveError
from optformer.data.systems.architectures.cost import (
    cost_aware_reward,
    count_flops,
    measure_latencies,
)
from optformer.data.systems.architectures.networks import (
    Resample,
    SqueezeExcite,
    classifier,
    convolution,
    separable,
)
from optformer.data.systems.architectures.training import Recipe, accuracy, train


def small() -> nn.Module:
    return nn.Sequential(
        convolution(1, 8, 3), nn.MaxPool2d(2), convolution(8, 16, 3), classifier(16)
    )


def test_train__small_network__learns_and_repeats_itself_without_global_seeds() -> None:
    images = digits()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = train(small, images, Recipe(epochs=4), seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    second, other = (train(small, images, Recipe(epochs=4), seed=seed) for seed in (1, 2))
    weights = [network.state_dict()["0.0.weight"] for network in (first, second, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert accuracy(first, images.validation, images.validation_classes) > 0.5
    assert not first.training


def test_train__loss_that_explodes__is_a_failed_evaluation() -> None:
    class Exploding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = small()

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.body(inputs) * math.inf
            return logits

    with pytest.raises(ObjectiveError, match="the loss is no longer a number"):
        train(Exploding, digits(), Recipe(epochs=1))


def test_digits__parts__are_disjoint_and_scaled() -> None:
    images = digits(train=50, validation=60)
    assert images.train.shape == (50, 1, 8, 8)
    assert images.validation.shape == (60, 1, 8, 8)
    assert abs(float(images.train.mean())) < 1e-5
    rows = torch.cat([images.train, images.validation, images.test]).flatten(1)
    assert len(rows.unique(dim=0)) >= len(rows) - 1


def test_glyphs__other_resolution__shows_the_same_drawings() -> None:
    coarse, fine = glyphs(8, 40, 30), glyphs(16, 40, 30)
    assert (coarse.size, fine.size) == (8, 16)
    assert torch.equal(coarse.train_classes, fine.train_classes)
    pooled = nn.functional.avg_pool2d(fine.train, 2)
    agreement = nn.functional.cosine_similarity(pooled.flatten(1), coarse.train.flatten(1))
    assert float(agreement.min()) > 0.5


def test_count_flops__convolutions_and_head__match_the_count_by_hand() -> None:
    network = nn.Sequential(convolution(1, 4, 3), separable(4, 6, 5), classifier(6))
    by_hand = 64 * (9 * 4) + 64 * (25 * 4) + 64 * (4 * 6) + 6 * 10
    assert count_flops(network, 8) == 2 * by_hand


def test_measure_latencies__large_and_small_network__are_told_apart() -> None:
    large = nn.Sequential(convolution(1, 64, 3), *(convolution(64, 64, 3) for _ in range(6)))
    fast, slow = measure_latencies([small(), large], 16)
    assert 0 < fast < slow


def test_cost_aware_reward__twice_the_target__loses_five_percent() -> None:
    assert cost_aware_reward(0.8, 3.0, 3.0) == pytest.approx(0.8)
    assert cost_aware_reward(0.8, 6.0, 3.0) == pytest.approx(0.8 * 0.9526, rel=1e-4)
    assert cost_aware_reward(0.8, 1.5, 3.0) > 0.8


@pytest.mark.parametrize("size", [2, 4, 8])
def test_resample__any_target__has_its_size_and_width(size: int) -> None:
    assert Resample(3, 5, size)(torch.rand(2, 3, 4, 4)).shape == (2, 5, size, size)


def test_squeeze_excite__gates__scale_whole_channels() -> None:
    inputs = torch.rand(2, 6, 4, 4) + 1.0
    ratio = SqueezeExcite(6, 0.25)(inputs) / inputs
    assert ratio.shape == inputs.shape
    assert torch.allclose(ratio, ratio[:, :, :1, :1].expand_as(ratio))
    assert ((ratio > 0) & (ratio < 1)).all()
