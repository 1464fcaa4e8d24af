"""The model without one of its decisions each, for `ablations.py`.

An ablated model replaces a piece of the model by one that takes the same weights.
"""

from __future__ import annotations

import math
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from optformer.model.attention_bias import AttentionBias, TokenKind
from optformer.model.config import ModelConfig
from optformer.model.encoded import EncodedHistory, EncodedMetadata, KVCache
from optformer.model.gp_mixture import fit_gp_mixture
from optformer.model.history_decoder import HistoryDecoder
from optformer.model.network import OptFormerModel
from optformer.model.tensors import UNSET, HistoryTensors, PointTensors
from optformer.model.value_binding import ValueBinding

Piece = TypeVar("Piece", bound=nn.Module)


def with_weights_of(old: nn.Module, new: Piece) -> Piece:
    """The new piece, with the weights of the old one."""
    new.load_state_dict(old.state_dict())
    return new


class BinTable(OptFormerModel):
    """A number is a word: one learned vector a bin, on the way in and out."""

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        vectors = BinVectors(config.num_bins, self.binding.numbers.bins)
        for piece in (self.binding, self.tokens, self.metric_head, self.value_head):
            piece.numbers = vectors


class BinVectors(nn.Module):
    """Takes the place of `NumberFeatures`, as large and as wide."""

    def __init__(self, bins: int, features: Tensor):
        super().__init__()
        self.table = nn.Embedding(bins, features.shape[1])
        nn.init.normal_(self.table.weight, std=float(features.std()))

    @property
    def bins(self) -> Tensor:
        """Vectors of the bins, (Q, F)."""
        return self.table.weight

    def forward(self, unit: Tensor) -> Tensor:
        """Vectors of the bins that numbers lie in: (...) to (..., F)."""
        count = self.table.num_embeddings
        vectors: Tensor = self.table((unit * count).long().clamp(0, count - 1))
        return vectors


class SumPooling(OptFormerModel):
    """A trial is a sum of gelu(value + slot) over its parameters: nothing is multiplied."""

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        numbers = self.binding.numbers
        self.binding = with_weights_of(self.binding, SumBinding(config, numbers))


class SumBinding(ValueBinding):
    """Adds values to their parameters' slot vectors."""

    def pooling(self, slots: Tensor, choices: Tensor) -> Tensor:
        """What the features of a value give before the sum, (S, P, F, W)."""
        shared = torch.cat([self.number_projection.weight.T, self.absent_embedding.weight])
        return torch.cat([shared.expand(*slots.shape[:2], -1, -1), choices], 2)

    def forward(self, metadata: EncodedMetadata, points: PointTensors) -> Tensor:
        """See `ValueBinding`."""
        features = self.features(points, metadata.max_choices)  # (B, N, P, F)
        spaces, parameters = metadata.slots.shape[:2]
        by_space = features.reshape(spaces, -1, *features.shape[2:])
        values = torch.einsum("srpf,spfw->srpw", by_space, metadata.pooling)
        hidden = F.gelu(values + metadata.slots[:, None]).reshape(*points.kinds.shape, -1)
        summed = (hidden * (points.kinds != UNSET)[..., None]).sum(2) / math.sqrt(parameters)
        pooled: Tensor = self.norm(self.projection(summed))
        return pooled


class NoDistance(OptFormerModel):
    """Attention knows nothing of distances in search space."""

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        self.decoder.bias = with_weights_of(self.decoder.bias, NoDistanceBias(config))


class NoDistanceBias(AttentionBias):
    """All points are at the same distance."""

    def log_distances(
        self, metadata: EncodedMetadata, points: PointTensors, past: PointTensors
    ) -> Tensor:
        """Zero, whatever the points."""
        studies, count = points.values.shape[:2]
        heads = metadata.distance_weights.shape[-1]
        return torch.zeros(studies, heads, count, past.values.shape[1])


class CausalHistory(OptFormerModel):
    """Trials of the history see those before them alone."""

    def encode_history(
        self, metadata: EncodedMetadata, history: HistoryTensors, prefix: int | None = None
    ) -> EncodedHistory:
        """See `OptFormerModel`; the prefix is not used."""
        return super().encode_history(metadata, history, 0)


class NoMeaning(OptFormerModel):
    """What is known of a parameter changes its slot's own vector alone."""

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        for part in (self.binding.slot_meaning, self.binding.slot_study):
            part.requires_grad_(False)  # they are zero


class LearnedSlots(NoMeaning):
    """Slot vectors know nothing of names and ranges; the decoder still reads the metadata."""

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        self.binding.slot_metadata.requires_grad_(False)  # it is zero


class Alone(OptFormerModel):
    """No Gaussian process is consulted: what it says has no weight."""

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        for part in (self.tokens.gp_trial, self.tokens.gp_query, self.metric_head.gp_gate):
            part.requires_grad_(False)  # they are zero


class FullAttention(OptFormerModel):
    """The history is a sequence of P + 1 tokens a trial, and all of them are keys.

    A parameter's token holds its own value; it sees what its trial's metric token sees, the trial's
    later tokens only inside the prefix. `*` and metric tokens keep their pools.
    """

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        self.decoder = with_weights_of(self.decoder, TokenDecoder(config))
        self.decoder.bias = with_weights_of(self.decoder.bias, TokenBias(config))

    def encode_history(
        self, metadata: EncodedMetadata, history: HistoryTensors, prefix: int | None = None
    ) -> EncodedHistory:
        """See `OptFormerModel`; the cache holds P + 1 tokens a trial."""
        prefix = history.length if prefix is None else prefix
        gp = fit_gp_mixture(history.first(prefix))
        parameters = metadata.slots.shape[1]
        each, points = parameters + 1, history.points
        alone = torch.eye(parameters, dtype=torch.bool)
        single = PointTensors(
            (points.values[:, :, None] * alone).flatten(1, 2),
            torch.where(alone, points.kinds[:, :, None], UNSET).flatten(1, 2),
        )
        values = self.tokens.parameter + self.tokens.parameter_pool(self.binding(metadata, single))
        values = values.unflatten(1, (-1, parameters))  # (B, T, P, D)
        metrics = self.tokens.trials(self.binding(metadata, points), history, gp)[:, :, None]
        tokens = torch.cat([values, metrics], 2).flatten(1, 2)
        repeated = HistoryTensors(
            PointTensors(
                points.values.repeat_interleave(each, 1), points.kinds.repeat_interleave(each, 1)
            ),
            history.metric.repeat_interleave(each, 1),
            history.metric_kinds.repeat_interleave(each, 1),
        )
        visible, start = repeated.visible(prefix * each), self.decoder.start(metadata, points)
        cache, _ = self.decoder.extend(metadata, start, tokens, repeated.points, visible)
        return EncodedHistory(cache, gp)


class TokenDecoder(HistoryDecoder):
    """Positions count trials, keys are P + 1 a trial."""

    def query(
        self,
        metadata: EncodedMetadata,
        cache: KVCache,
        tokens: Tensor,
        points: PointTensors,
        kind: TokenKind,
        position: Tensor | None = None,
    ) -> Tensor:
        """See `HistoryDecoder`."""
        if position is not None:
            position = position * (metadata.slots.shape[1] + 1)
        return super().query(metadata, cache, tokens, points, kind, position)


class TokenBias(AttentionBias):
    """All tokens of a trial are at the same distance."""

    def log_distances(
        self, metadata: EncodedMetadata, points: PointTensors, past: PointTensors
    ) -> Tensor:
        """See `AttentionBias`; computed once a trial."""
        each = metadata.slots.shape[1] + 1
        trials = PointTensors(past.values[:, ::each], past.kinds[:, ::each])
        return super().log_distances(metadata, points, trials).repeat_interleave(each, -1)
