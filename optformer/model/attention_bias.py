"""What is added to the decoder's attention scores.

Shapes use the letters of `optformer.model.tensors`; W is the width of the binding.
"""

from __future__ import annotations

from enum import IntEnum

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from optformer.model.config import ModelConfig
from optformer.model.encoded import EncodedMetadata
from optformer.model.layers import HIDDEN, RelativeBias
from optformer.model.tensors import PointTensors
from optformer.tokenization.history import ValueKind

_NEAR = 1e-5  # added to squared distances: points closer than 0.003 count as the same


class TokenKind(IntEnum):
    """Kinds of tokens that attend: row of the bias by kind."""

    METRIC = 0
    STAR = 1
    PARAMETER = 2


class AttentionBias(nn.Module):
    """Biases by kind of key, by distance in trials, and by a learned distance in search space."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        heads = config.heads
        self.study_vectors = config.study_vectors
        self.position = RelativeBias(config.distance_buckets, config.max_distance, heads)
        # Columns: keys of parameters, of choices, of the study, of trials.
        self.kinds = nn.Parameter(torch.zeros(len(TokenKind), 4, heads))
        self.distance_weights = nn.Linear(config.pool_width, heads, bias=False)
        self.distance_scale = nn.Parameter(torch.linspace(0.0, 3.0, heads))
        self.distance_mix = nn.Parameter(0.5 * torch.eye(heads).repeat(config.layers, 1, 1))

    def weights(self, slots: Tensor) -> Tensor:
        """Weight of each parameter in each head's squared distance: (S, P, W) to (S, P, H)."""
        return F.softplus(2 * self.distance_weights(slots).float() + self.distance_scale)

    def log_distances(
        self, metadata: EncodedMetadata, points: PointTensors, past: PointTensors
    ) -> Tensor:
        """Logarithm of the squared distance of N points to T past ones, (B, H, N, T)."""
        gap = _coordinates(points)[:, :, None, :] - _coordinates(past)[:, None, :, :]
        squared = gap.square().clamp(max=1.0)  # (B, N, T, P)
        unknown = (points.kinds >= ValueKind.MISSING)[:, :, None, :]
        unknown = unknown | (past.kinds >= ValueKind.MISSING)[:, None, :, :]
        squared = squared.masked_fill(unknown, 0.0)
        studies, count, length, parameters = squared.shape
        weights = metadata.distance_weights.float()  # (S, P, H)
        with torch.autocast(squared.device.type, enabled=False):
            rows = studies // metadata.spaces * count * length
            distances = torch.bmm(squared.reshape(metadata.spaces, rows, parameters), weights)
        distances = distances.reshape(studies, count, length, weights.shape[-1])
        return torch.log(distances.permute(0, 3, 1, 2) + _NEAR)

    def forward(
        self,
        metadata: EncodedMetadata,
        kind: TokenKind,
        points: PointTensors,
        past: PointTensors,
        position: Tensor,
        visible: Tensor,
        layers: slice,
    ) -> list[Tensor]:
        """Biases of some layers.

        Args:
            metadata: The metadata that is attended to.
            kind: What attends.
            points: Points of the N tokens that attend.
            past: Points of the T trials that are attended to.
            position: Trial index of each token, (N,).
            visible: Which trials each token may see, bool, (N, T).
            layers: Which layers.

        Returns:
            For each layer (B, H, N, M + T).
        """
        logs = self.log_distances(metadata, points, past)
        studies, _, count, length = logs.shape
        table = self.kinds[kind]  # (4, H)
        columns = torch.full((metadata.tokens.shape[1],), 1, device=position.device)
        columns[: metadata.slots.shape[1]] = 0
        columns[-self.study_vectors :] = 2
        to_metadata = table[columns].T[None, :, None, :].expand(studies, -1, count, -1)
        to_metadata = to_metadata.masked_fill(~metadata.mask[:, None, None, :], HIDDEN)
        trial = torch.arange(length, device=position.device)
        by_trial = self.position(position[:, None] - trial[None, :]) + table[3][:, None, None]
        by_trial = by_trial.masked_fill(~visible, HIDDEN)  # (H, N, T)
        mix = self.distance_mix[layers]
        mixed = (mix.transpose(1, 2).flatten(0, 1) @ logs.flatten(2)).float()
        to_trials = by_trial - mixed.reshape(studies, len(mix), *logs.shape[1:])
        to_metadata = to_metadata[:, None].expand(-1, len(mix), -1, -1, -1)
        return list(torch.cat([to_metadata, to_trials], -1).unbind(1))


def _coordinates(points: PointTensors) -> Tensor:
    """Values on one axis: numbers inside a unit, a choice or inactive 1 or more from all else."""
    choice = (points.kinds == ValueKind.CHOICE) * (2 + points.values.detach())
    inactive = (points.kinds == ValueKind.INACTIVE).float()
    number = (points.kinds == ValueKind.NUMBER) * points.values
    return number + choice - 2 * inactive
