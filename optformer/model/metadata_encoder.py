"""The encoder of metadata: what names, ranges and descriptions say of a study.

Shapes use the letters of `optformer.model.tensors`; E is the encoder's width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from optformer.model.attention_bias import AttentionBias
from optformer.model.config import ModelConfig
from optformer.model.encoded import EncodedMetadata, PooledMetadata
from optformer.model.layers import HIDDEN, EncoderLayer, RelativeBias
from optformer.model.tensors import MetadataTensors
from optformer.model.value_binding import ValueBinding


class MetadataEncoder(nn.Module):
    """A narrow T5 encoder over metadata tokens, whose output is pooled."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        width, heads = config.encoder_width, config.encoder_heads
        self.embed_tokens = nn.Embedding(config.vocabulary_size, width)
        self.relative_bias = RelativeBias(config.distance_buckets, config.max_distance, heads)
        self.layers = nn.ModuleList(
            EncoderLayer(width, heads, config.encoder_feedforward)
            for _ in range(config.encoder_layers)
        )
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.study_queries = nn.Parameter(torch.randn(config.study_vectors, width))
        self.projection = nn.Linear(width, config.width, bias=False)
        self.kinds = nn.Embedding(3, config.width)  # parameter, choice, study
        self.slot_projection = nn.Linear(config.pool_width, config.width, bias=False)

    def forward(
        self, metadata: MetadataTensors, binding: ValueBinding, bias: AttentionBias
    ) -> EncodedMetadata:
        """Encode the metadata of S spaces.

        Args:
            metadata: The metadata.
            binding: Gives parameters and choices their vectors.
            bias: Weighs parameters in distances.
        """
        pooled = self.pool(metadata)
        slots = binding.slots(metadata.slots, pooled)
        tokens = self._decoder_tokens(pooled, slots)
        inputs, outputs = binding.choices(metadata, pooled)
        return EncodedMetadata(
            tokens=tokens,
            mask=decoder_mask(metadata, pooled.study.shape[1]),
            slots=slots,
            pooling=binding.pooling(slots, inputs),
            distance_weights=bias.weights(slots),
            choices=outputs,
            legal=metadata.legal,
        )

    def pool(self, metadata: MetadataTensors) -> PooledMetadata:
        """Read the tokens, and pool them by what they describe."""
        tokens = self.embed_tokens(metadata.ids)  # (S, L, E)
        position = torch.arange(tokens.shape[1], device=tokens.device)
        bias = self.relative_bias(position[:, None] - position[None, :])[None]  # (1, H, L, L)
        bias = bias.masked_fill(~metadata.mask[:, None, None, :], HIDDEN)
        for layer in self.layers:
            tokens = layer(tokens, bias)
        tokens = self.norm(tokens)
        return PooledMetadata(
            parameters=_mean_by(tokens, metadata.parameter, metadata.slots.shape[1]),
            choices=_mean_by(tokens, metadata.choice, metadata.choice_parameter.shape[1]),
            study=F.scaled_dot_product_attention(
                self.study_queries.to(tokens.dtype).expand(tokens.shape[0], -1, -1),
                tokens,
                tokens,
                attn_mask=metadata.mask[:, None, :],
            ),
        )

    def _decoder_tokens(self, pooled: PooledMetadata, slots: Tensor) -> Tensor:
        """What the decoder attends to: parameters, choices, then the study; (S, M, D)."""
        kinds = self.kinds.weight
        return torch.cat(
            [
                self.projection(pooled.parameters) + self.slot_projection(slots) + kinds[0],
                self.projection(pooled.choices) + kinds[1],
                self.projection(pooled.study) + kinds[2],
            ],
            1,
        )


def decoder_mask(metadata: MetadataTensors, study_vectors: int) -> Tensor:
    """Which of the decoder's metadata tokens are real, bool, (S, M)."""
    parameters = torch.ones_like(metadata.slots, dtype=torch.bool)
    study = parameters.new_ones(len(parameters), study_vectors)
    return torch.cat([parameters, metadata.choice_parameter >= 0, study], 1)


def _mean_by(tokens: Tensor, owner: Tensor, count: int) -> Tensor:
    """Mean of the tokens of each owner, (S, L, E) to (S, count, E); zero where there are none."""
    member = owner[:, None, :] == torch.arange(count, device=owner.device)[None, :, None]
    weights = member.to(tokens.dtype)
    return weights @ tokens / weights.sum(-1, keepdim=True).clamp(min=1)
