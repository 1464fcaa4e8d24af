"""The model without one of its decisions each, for `ablations.py`."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from optformer.model.config import ModelConfig
from optformer.model.gp_mixture import GPMixture, fit_gp_mixture
from optformer.model.network import EncodedMetadata, KVCache, OptFormerModel
from optformer.model.tensors import UNSET, HistoryTensors, PointTensors
from optformer.tokenization.history import ValueKind


class BinTable(OptFormerModel):
    """A number is a word: one learned vector a bin, on the way in and out."""

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        self.numbers = _BinVectors(config.num_bins, self.numbers.bins)


class _BinVectors(nn.Module):
    """Takes the place of `NumberFeatures`, as large and as wide."""

    def __init__(self, bins: int, features: Tensor):
        super().__init__()
        self.table = nn.Embedding(bins, features.shape[1])
        nn.init.normal_(self.table.weight, std=float(features.std()))

    @property
    def bins(self) -> Tensor:
        return self.table.weight

    def forward(self, unit: Tensor) -> Tensor:
        count = self.table.num_embeddings
        vectors: Tensor = self.table((unit * count).long().clamp(0, count - 1))
        return vectors


class SumPooling(OptFormerModel):
    """A trial is a sum of gelu(value + slot) over its parameters: nothing is multiplied."""

    def _pool_table(self, slots: Tensor, choices: Tensor) -> Tensor:
        """What the features of a value give before the sum, (S, P, F, W)."""
        shared = torch.cat([self.value_embedding.weight.T, self.absent_embedding.weight])
        return torch.cat([shared.expand(*slots.shape[:2], -1, -1), choices], 2)

    def _pool(self, memory: EncodedMetadata, points: PointTensors) -> Tensor:
        kinds = points.kinds
        absent = torch.stack([kinds == ValueKind.INACTIVE, kinds == ValueKind.MISSING], -1)
        chosen = points.values.long()[..., None] == torch.arange(memory.max_choices)
        parts = [
            self.numbers(points.values) * (kinds == ValueKind.NUMBER)[..., None],
            absent.float(),
            (chosen & (kinds == ValueKind.CHOICE)[..., None]).float(),
        ]
        features = torch.cat(parts, -1)  # (B, N, P, F)
        spaces, parameters = memory.slots.shape[:2]
        grouped = features.reshape(spaces, -1, *features.shape[2:])
        values = torch.einsum("srpf,spfw->srpw", grouped, memory.pool)
        hidden = F.gelu(values + memory.slots[:, None]).reshape(*kinds.shape, -1)
        summed = (hidden * (kinds != UNSET)[..., None]).sum(2) / math.sqrt(parameters)
        pooled: Tensor = self.pool_norm(self.pool_projection(summed))
        return pooled


class NoDistance(OptFormerModel):
    """Attention knows nothing of distances in search space."""

    def _log_distances(
        self, memory: EncodedMetadata, points: PointTensors, past: PointTensors
    ) -> Tensor:
        studies, count = points.values.shape[:2]
        return torch.zeros(studies, self.config.heads, count, past.values.shape[1])


class CausalHistory(OptFormerModel):
    """Trials of the history see those before them alone."""

    def encode_history(
        self, memory: EncodedMetadata, history: HistoryTensors, prefix: int | None = None
    ) -> KVCache:
        """See `OptFormerModel`; the prefix is not used."""
        return super().encode_history(memory, history, 0)


class NoMeaning(OptFormerModel):
    """What is known of a parameter changes its slot's own vector alone."""

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        for part in (self.slot_meaning, self.slot_study):
            part.requires_grad_(False)  # they are zero


class LearnedSlots(NoMeaning):
    """Slot vectors know nothing of names and ranges; the decoder still reads the metadata."""

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        self.slot_metadata.requires_grad_(False)  # it is zero


class Alone(OptFormerModel):
    """No Gaussian process is consulted: what it says has no weight."""

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        for part in (self.process_trial, self.process_query, self.process_gate):
            part.requires_grad_(False)  # they are zero


class FullAttention(OptFormerModel):
    """The history is a sequence of P + 1 tokens a trial, and all of them are keys.

    A parameter's token holds its own value; it sees what its trial's metric token sees, the trial's
    later tokens only inside the prefix. `*` and metric tokens keep their pools.
    """

    def encode_history(
        self, memory: EncodedMetadata, history: HistoryTensors, prefix: int | None = None
    ) -> KVCache:
        """See `OptFormerModel`; the cache holds P + 1 tokens a trial."""
        each = memory.slots.shape[1] + 1
        points = history.points
        repeated = HistoryTensors(
            PointTensors(
                points.values.repeat_interleave(each, 1), points.kinds.repeat_interleave(each, 1)
            ),
            history.metric.repeat_interleave(each, 1),
            history.metric_kinds.repeat_interleave(each, 1),
        )
        prefix = history.length if prefix is None else prefix
        processes = fit_gp_mixture(history.first(prefix))
        return self._encode(memory, repeated, prefix * each, processes)

    def _trials(
        self, memory: EncodedMetadata, history: HistoryTensors, processes: GPMixture | None = None
    ) -> Tensor:
        parameters = memory.slots.shape[1]
        each = parameters + 1
        points = PointTensors(history.points.values[:, ::each], history.points.kinds[:, ::each])
        own = HistoryTensors(points, history.metric[:, ::each], history.metric_kinds[:, ::each])
        alone = torch.eye(parameters, dtype=torch.bool)
        single = PointTensors(
            (points.values[:, :, None] * alone).flatten(1, 2),
            torch.where(alone, points.kinds[:, :, None], UNSET).flatten(1, 2),
        )
        tokens = self.parameter + self.parameter_pool(self._pool(memory, single))
        tokens = tokens.unflatten(1, (-1, parameters))  # (B, T, P, D)
        metric = super()._trials(memory, own, processes)[:, :, None]
        return torch.cat([tokens, metric], 2).flatten(1, 2)

    def _log_distances(
        self, memory: EncodedMetadata, points: PointTensors, past: PointTensors
    ) -> Tensor:
        each = memory.slots.shape[1] + 1
        trials = replace(past, values=past.values[:, ::each], kinds=past.kinds[:, ::each])
        return super()._log_distances(memory, points, trials).repeat_interleave(each, -1)

    def _query(
        self,
        memory: EncodedMetadata,
        cache: KVCache,
        points: PointTensors,
        x: Tensor,
        kind: int,
        position: Tensor | None,
    ) -> Tensor:
        if position is not None:
            position = position * (memory.slots.shape[1] + 1)
        return super()._query(memory, cache, points, x, kind, position)
