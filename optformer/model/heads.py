"""The heads: distributions of a metric and of a parameter's value.

Shapes use the letters of `optformer.model.tensors`; W is the width of the binding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from optformer.model.config import ModelConfig
from optformer.model.encoded import EncodedMetadata
from optformer.model.gp_mixture import GPMixturePrediction
from optformer.model.layers import NumberFeatures, ZeroLinear

_WIDE = 128  # choices, of which each query would need a copy


class MetricHead(nn.Module):
    """Logits of a metric: one a bin, a smooth function of the bin's centre, the GPs' density.

    Args:
        config: Sizes of the model.
        numbers: Features of a number.
    """

    def __init__(self, config: ModelConfig, numbers: NumberFeatures):
        super().__init__()
        self.numbers, self.num_bins = numbers, config.num_bins
        self.linear = ZeroLinear(config.width, config.num_bins + 1)  # bins and failed
        self.smooth = nn.Linear(config.width, config.number_features, bias=False)
        self.gp_gate = ZeroLinear(config.width, 1)

    def forward(self, state: Tensor, prediction: GPMixturePrediction) -> Tensor:
        """Logits over the bins and `failed`.

        The mixture's density is multiplied in, to a power that the state decides.

        Args:
            state: The decoder's output, (B, N, D).
            prediction: The Gaussian-process mixture's prediction at the points.

        Returns:
            Logits, float32, (B, N, Q + 1).
        """
        smooth = self.smooth(state).float() @ self.numbers.bins.T
        power = self.gp_gate(state).float() * prediction.visible[:, None]
        logits: Tensor = self.linear(state).float()
        return logits + F.pad(smooth + power * prediction.log_density(self.num_bins), (0, 1))


class ValueHead(nn.Module):
    """Logits of a parameter's value: the policy.

    Args:
        config: Sizes of the model.
        numbers: Features of a number.
    """

    def __init__(self, config: ModelConfig, numbers: NumberFeatures):
        super().__init__()
        self.numbers, self.scale = numbers, config.pool_width**-0.5
        values = config.num_bins + config.max_choices
        self.linear = ZeroLinear(config.width, values)
        self.binding = nn.Linear(config.width, config.pool_width, bias=False)
        self.smooth = nn.Linear(config.number_features, config.pool_width, bias=False)

    def forward(self, state: Tensor, metadata: EncodedMetadata, slot: Tensor) -> Tensor:
        """Logits over the bins and choices, -inf where not legal.

        Args:
            state: The decoder's output, (B, N, D).
            metadata: Metadata of the studies.
            slot: Slot whose value is predicted by each query, int64, (N,).

        Returns:
            Logits, float32, (B, N, Q + K).
        """
        studies = len(state)
        slots = metadata.gather(metadata.slots, slot, studies)  # (B, N, W)
        bound = self.binding(state) * slots * self.scale
        bins = (bound @ self.smooth.weight).float() @ self.numbers.bins.T
        chosen = self._choices(metadata, slot, bound)
        smooth = torch.cat([bins, chosen], -1).float()
        logits = self.linear(state).float()[..., : smooth.shape[-1]] + smooth
        legal = metadata.gather(metadata.legal[..., : smooth.shape[-1]], slot, studies)
        possible: Tensor = logits.masked_fill(~legal, -torch.inf)
        return possible

    @staticmethod
    def _choices(metadata: EncodedMetadata, slot: Tensor, bound: Tensor) -> Tensor:
        """Products of bound states, (B, N, W), with the choices of their slots, (B, N, K)."""
        if metadata.max_choices > _WIDE and bool((slot == slot[0]).all()):
            table = metadata.choices[:, int(slot[0])]  # (S, K, W)
            by_space = bound.reshape(metadata.spaces, -1, bound.shape[-1])
            return (by_space @ table.transpose(-1, -2)).reshape(*bound.shape[:-1], -1)
        choices = metadata.gather(metadata.choices, slot, len(bound))  # (B, N, K, W)
        return (choices * bound[:, :, None, :]).sum(-1)
