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

MAX_ATTENDED = 2048
"""Most tokens that attend to each other; longer metadata are read in pieces."""

MAX_CHOICES = 512
"""Most choices of a space that the decoder attends to."""

_PIECE, _HEAD = 448, 64  # tokens of a piece, and those before each; training saw 512


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
        tokens = self._decoder_tokens(metadata, pooled, slots)
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
        if tokens.shape[1] <= MAX_ATTENDED:
            bias = self._distance_bias(tokens.shape[1], tokens.device)
            tokens = self._read(tokens, metadata.mask, bias)
        else:
            tokens = self._read_in_pieces(tokens, metadata.mask)
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

    def _read(self, tokens: Tensor, mask: Tensor, bias: Tensor) -> Tensor:
        """Let tokens attend to each other.

        Args:
            tokens: (S, L, E).
            mask: Which of them are real, bool, (S, L).
            bias: By their distances, (1, H, L, L).

        Returns:
            Tokens, (S, L, E).
        """
        bias = bias.masked_fill(~mask[:, None, None, :], HIDDEN)
        for layer in self.layers:
            tokens = layer(tokens, bias)
        normed: Tensor = self.norm(tokens)
        return normed

    def _read_in_pieces(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Let tokens attend to those of their piece and to the first of all, so at linear cost.

        The first tokens say what the study is about. Shapes are as in `_read`.
        """
        first, pieces = tokens[:, :_HEAD], []
        bias = self._distance_bias(_HEAD + _PIECE, tokens.device)
        for start in range(0, tokens.shape[1], _PIECE):
            piece, real = tokens[:, start : start + _PIECE], mask[:, start : start + _PIECE]
            length = _HEAD + piece.shape[1]
            together = torch.cat([first, piece], 1), torch.cat([mask[:, :_HEAD], real], 1)
            pieces.append(self._read(*together, bias[:, :, :length, :length])[:, _HEAD:])
        return torch.cat(pieces, 1)

    def _distance_bias(self, length: int, device: torch.device) -> Tensor:
        """Bias by the distances of tokens, (1, H, L, L)."""
        position = torch.arange(length, device=device)
        bias: Tensor = self.relative_bias(position[:, None] - position[None, :])[None]
        return bias

    def _decoder_tokens(
        self, metadata: MetadataTensors, pooled: PooledMetadata, slots: Tensor
    ) -> Tensor:
        """What the decoder attends to: parameters, choices, then the study; (S, M, D)."""
        kinds, choices = self.kinds.weight, pooled.choices
        if (shown := shown_choices(metadata)) is not None:
            choices = choices.gather(1, shown[:, :, None].expand(-1, -1, choices.shape[-1]))
        return torch.cat(
            [
                self.projection(pooled.parameters) + self.slot_projection(slots) + kinds[0],
                self.projection(choices) + kinds[1],
                self.projection(pooled.study) + kinds[2],
            ],
            1,
        )


def decoder_mask(metadata: MetadataTensors, study_vectors: int) -> Tensor:
    """Which of the decoder's metadata tokens are real, bool, (S, M)."""
    parameters = torch.ones_like(metadata.slots, dtype=torch.bool)
    study = parameters.new_ones(len(parameters), study_vectors)
    choices = metadata.choice_parameter >= 0
    if (shown := shown_choices(metadata)) is not None:
        choices = choices.gather(1, shown)
    return torch.cat([parameters, choices, study], 1)


def shown_choices(metadata: MetadataTensors) -> Tensor | None:
    """Which choices the decoder attends to, int64, (S, MAX_CHOICES); None for all.

    Of very many it attends to the first ones of each parameter. It may choose any.
    """
    owner = metadata.choice_parameter
    if owner.shape[1] <= MAX_CHOICES:
        return None
    padding = (owner < 0) * metadata.choice_index.amax()
    order = (metadata.choice_index + padding).sort(dim=-1, stable=True).indices
    return order[:, :MAX_CHOICES]


def _mean_by(tokens: Tensor, owner: Tensor, count: int) -> Tensor:
    """Mean of the tokens of each owner, (S, L, E) to (S, count, E); zero where there are none."""
    spaces, length, width = tokens.shape
    if length <= MAX_ATTENDED:
        member = owner[:, None, :] == torch.arange(count, device=owner.device)[None, :, None]
        weights = member.to(tokens.dtype)
        return weights @ tokens / weights.sum(-1, keepdim=True).clamp(min=1)
    index = owner.where(owner >= 0, count)[:, :, None]  # the last one is nobody's
    total = tokens.new_zeros(spaces, count + 1, width)
    total = total.scatter_add(1, index.expand(-1, -1, width), tokens)
    counts = tokens.new_zeros(spaces, count + 1, 1).scatter_add(
        1, index, tokens.new_ones(spaces, length, 1)
    )
    return (total / counts.clamp(min=1))[:, :count]
