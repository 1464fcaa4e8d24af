"""The weights of a new model."""

from __future__ import annotations

from torch import nn

from optformer.model.attention_bias import AttentionBias
from optformer.model.layers import ZeroLinear
from optformer.model.state_keys import in_order


def initialize(model: nn.Module) -> None:
    """Draw the weights from torch's global generator.

    Linear maps keep the size of what they are given, embeddings have unit variance, and what adds
    to a residual, a slot vector or a prediction begins at zero. Biases of the attention keep what
    their module gave them. The order of the draws is fixed, so that a seed always gives the same
    weights.
    """
    for name, module in in_order(model.named_modules()):
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
        elif isinstance(module, nn.Embedding) and "bias" not in name:
            nn.init.normal_(module.weight, std=1.0)
        if isinstance(module, ZeroLinear):
            nn.init.zeros_(module.weight)
    for module in model.modules():
        if isinstance(module, AttentionBias):
            distance = module.distance_weights
            nn.init.normal_(distance.weight, std=0.1 * distance.in_features**-0.5)
