"""The weights of a new model."""

from __future__ import annotations

import pytest
import torch

from optformer.model.config import ModelConfig
from optformer.model.layers import ZeroLinear
from optformer.model.network import OptFormerModel


def test_new_model__maps_that_begin_at_zero__are_zero_and_no_others() -> None:
    model = OptFormerModel(ModelConfig.named("tiny", 300))
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            assert (module.weight == 0).all() == isinstance(module, ZeroLinear), name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("encoder.study_queries", [-1.09784, 1.15303]),
        ("binding.choice_output.weight", [0.23942, 0.57092]),
        ("decoder.layers.1.query.weight", [0.26844, 0.08181]),
        ("decoder.bias.distance_weights.weight", [-0.00206, 0.00765]),
    ],
)
def test_new_model__seed__gives_the_weights_that_it_has_always_given(
    name: str, expected: list[float]
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights = OptFormerModel(ModelConfig.named("tiny", 300)).state_dict()
    assert weights[name].flatten()[:2].tolist() == pytest.approx(expected, abs=2e-5)
