"""The model: an encoder over metadata, a causal decoder over the history of trials.

A trial is remembered by one token, its metric token: the values reach it through a pool that binds
every value to its parameter by a product. Everything that is predicted (a metric, the next value of
a parameter) is asked by a *query*: a token that reads the memory of the metadata and the metric
tokens, and that nothing else reads. So a candidate costs one token and a history one key a trial.

Shapes use the letters of `optformer.model.tensors`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from optformer.model.config import ModelConfig
from optformer.model.gp_mixture import GPMixture, GPMixturePrediction, fit_gp_mixture
from optformer.model.layers import DecoderLayer, EncoderLayer, NumberFeatures, RelativeBias
from optformer.model.tensors import HistoryTensors, MetadataTensors, PointTensors
from optformer.tokenization.history import MetricKind, ValueKind

_NEAR = 1e-5  # added to squared distances: points closer than 0.003 count as the same
_HIDDEN = -1e9  # attention score of what must not be seen


@dataclass(frozen=True)
class EncodedMetadata:
    """What the metadata says, ready for use by B studies.

    Attributes:
        tokens: Vectors the decoder attends to, (B, M, D).
        mask: Which of them are real, bool, (B, M).
        slots: Slot vectors s, (S, P, W) with W the pool's width.
        pool: Maps features of a point to its vector, (S, P * F, D).
        metric_weights: Weight of each parameter in each head's distance, (S, P, H).
        choices: Output vectors of the choices, zero where there is none, (S, P, K, W).
        legal: Bins and choices each slot may take, bool, (S, P, Q + max_choices).
    """

    tokens: Tensor
    mask: Tensor
    slots: Tensor
    pool: Tensor
    metric_weights: Tensor
    choices: Tensor
    legal: Tensor

    @property
    def max_choices(self) -> int:
        """Largest number of choices K of a parameter in these spaces."""
        return self.choices.shape[2]

    @property
    def spaces(self) -> int:
        """Number of spaces S."""
        return self.slots.shape[0]

    def repeat(self, studies: int) -> EncodedMetadata:
        """The memory for several studies of each space."""
        return replace(
            self,
            tokens=self.tokens.repeat_interleave(studies, 0),
            mask=self.mask.repeat_interleave(studies, 0),
        )


@dataclass(frozen=True)
class KVCache:
    """An encoded history.

    Attributes:
        points: The trials' points.
        processes: Fitted to the trials that see each other both ways.
        keys: Keys of memory and metric tokens, one (B, H, M + T, D / H) a layer.
        values: Values of the same.
    """

    points: PointTensors
    processes: GPMixture
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    @property
    def length(self) -> int:
        """Number of trials T."""
        return self.points.values.shape[1]


class OptFormerModel(nn.Module):
    """Predicts metrics and proposes values from metadata and a history of trials.

    Chen et al. 2022 ("OptFormer", US20230401451A1) in sequence and purpose; the embedding of
    numbers, the pooling of a trial and the attention to metric tokens only are this project's.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        width, pool = config.width, config.pool_width
        self.numbers = NumberFeatures(config.frequencies, config.num_bins)

        # MetadataTensors encoder.
        self.words = nn.Embedding(config.vocabulary_size, config.encoder_width)
        self.encoder_bias = RelativeBias(
            config.distance_buckets, config.max_distance, config.encoder_heads
        )
        self.encoder = nn.ModuleList(
            EncoderLayer(config.encoder_width, config.encoder_heads, config.encoder_feedforward)
            for _ in range(config.encoder_layers)
        )
        self.encoder_norm = nn.RMSNorm(config.encoder_width, eps=1e-6)
        self.study_queries = nn.Parameter(torch.randn(config.study_vectors, config.encoder_width))
        self.memory_projection = nn.Linear(config.encoder_width, width, bias=False)
        self.memory_kinds = nn.Embedding(3, width)  # parameter, choice, study
        self.memory_slots = nn.Linear(pool, width, bias=False)

        # Values bound to parameters.
        self.slot_table = nn.Embedding(config.max_parameters, pool)
        self.slot_metadata = nn.Linear(config.encoder_width, pool, bias=False)
        self.slot_meaning = nn.Linear(config.encoder_width, pool, bias=False)
        self.slot_study = nn.Linear(config.study_vectors * config.encoder_width, pool, bias=False)
        self.value_embedding = nn.Linear(config.number_features, pool, bias=False)
        self.choice_embedding = nn.Embedding(config.max_choices, pool)
        self.choice_metadata = nn.Linear(config.encoder_width, pool, bias=False)
        self.absent_embedding = nn.Embedding(2, pool)  # inactive, missing
        self.pool_projection = nn.Linear(pool, width, bias=False)
        self.pool_norm = nn.RMSNorm(width, eps=1e-6)

        # Tokens of the decoder.
        self.star = nn.Parameter(torch.zeros(width))
        self.star_pool = nn.Linear(width, width, bias=False)
        self.metric = nn.Parameter(torch.zeros(width))
        self.metric_pool = nn.Linear(width, width, bias=False)
        self.metric_value = nn.Linear(config.number_features, width, bias=False)
        self.metric_status = nn.Embedding(len(MetricKind), width)
        self.parameter = nn.Parameter(torch.zeros(width))
        self.parameter_pool = nn.Linear(width, width, bias=False)
        self.parameter_slot = nn.Linear(pool, width, bias=False)

        # What Gaussian processes say: of trials from the others, of asked points, of the answer.
        self.process_trial = nn.Linear(3 * config.number_features, width, bias=False)
        self.process_query = nn.Linear(2 * config.number_features, width, bias=False)
        self.process_gate = nn.Linear(width, 1, bias=False)

        # Decoder.
        self.layers = nn.ModuleList(
            DecoderLayer(width, config.heads, config.feedforward) for _ in range(config.layers)
        )
        self.trial_bias = RelativeBias(config.distance_buckets, config.max_distance, config.heads)
        # Score by kind of token (metric, star, parameter) and kind of key (memory by kind, metric).
        self.kind_bias = nn.Parameter(torch.zeros(3, 4, config.heads))
        self.distance_weights = nn.Linear(pool, config.heads, bias=False)
        self.distance_scale = nn.Parameter(torch.linspace(0.0, 3.0, config.heads))
        self.distance_mix = nn.Parameter(torch.zeros(config.layers, config.heads, config.heads))
        self.output_norm = nn.RMSNorm(width, eps=1e-6)

        # Outputs.
        self.metric_head = nn.Linear(width, config.num_bins + 1, bias=False)  # bins and failed
        self.metric_smooth = nn.Linear(width, config.number_features, bias=False)
        self.value_head = nn.Linear(width, config.num_bins + config.max_choices, bias=False)
        self.value_binding = nn.Linear(width, pool, bias=False)
        self.value_smooth = nn.Linear(config.number_features, pool, bias=False)
        self.choice_output = nn.Embedding(config.max_choices, pool)
        self._initialize()

    def _initialize(self) -> None:
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
            elif isinstance(module, nn.Embedding) and "bias" not in name:
                nn.init.normal_(module.weight, std=1.0)
        for module in (*self.layers, *self.encoder):
            nn.init.zeros_(module.get_submodule("output").weight)
            nn.init.zeros_(module.get_submodule("feedforward.down").weight)
        for zero in (
            *(self.slot_metadata, self.slot_meaning, self.slot_study, self.choice_metadata),
            *(self.process_trial, self.process_query, self.process_gate),
            *(self.metric_head, self.value_head),
        ):
            nn.init.zeros_(zero.weight)
        nn.init.normal_(self.distance_weights.weight, std=0.1 * self.config.pool_width**-0.5)
        with torch.no_grad():
            eye = torch.eye(self.config.heads)
            self.distance_mix.copy_(0.5 * eye.expand_as(self.distance_mix))

    def forward(
        self,
        metadata: MetadataTensors,
        history: HistoryTensors,
        prefix: int,
        metric_points: PointTensors,
        metric_position: Tensor,
        value_points: PointTensors,
        value_slot: Tensor,
        value_position: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """The training pass: answer questions about metrics and values.

        Args:
            metadata: S spaces.
            history: B studies, those of a space together.
            prefix: Trials that see each other both ways.
            metric_points: PointTensors whose metric is asked for, (B, N, P).
            metric_position: Trials each of them may see, (N,).
            value_points: Partial points, (B, M, P).
            value_slot: Parameter each of them asks for, (M,).
            value_position: Trials each of them may see, (M,).

        Returns:
            Metric logits (B, N, Q + 1) and value logits (B, M, Q + K).
        """
        memory = self.encode_metadata(metadata)
        memory = memory.repeat(history.metric.shape[0] // memory.spaces)
        cache = self.encode_history(memory, history, prefix)
        return (
            self.metric_logits(memory, cache, metric_points, metric_position),
            self.value_logits(memory, cache, value_points, value_slot, value_position),
        )

    # MetadataTensors.

    def encode_metadata(self, metadata: MetadataTensors) -> EncodedMetadata:
        """Read the metadata of S spaces."""
        config = self.config
        tokens = self.words(metadata.ids)  # (S, L, E)
        place = torch.arange(tokens.shape[1], device=tokens.device)
        bias = self.encoder_bias(place[:, None] - place[None, :])[None]  # (1, H, L, L)
        bias = bias.masked_fill(~metadata.mask[:, None, None, :], _HIDDEN)
        for layer in self.encoder:
            tokens = layer(tokens, bias)
        tokens = self.encoder_norm(tokens)

        count = metadata.slots.shape[1]
        parameters = _mean_by(tokens, metadata.parameter, count)  # (S, P, E)
        choices = _mean_by(tokens, metadata.choice, metadata.choice_parameter.shape[1])
        study = F.scaled_dot_product_attention(
            self.study_queries.to(tokens.dtype).expand(tokens.shape[0], -1, -1),
            tokens,
            tokens,
            attn_mask=metadata.mask[:, None, :],
        )  # (S, 4, E)

        slots = self._slots(metadata.slots, parameters, study)
        kinds = self.memory_kinds.weight
        memory = torch.cat(
            [
                self.memory_projection(parameters) + self.memory_slots(slots) + kinds[0],
                self.memory_projection(choices) + kinds[1],
                self.memory_projection(study) + kinds[2],
            ],
            1,
        )
        mask = torch.cat(
            [
                torch.ones_like(metadata.slots, dtype=torch.bool),
                metadata.choice_parameter >= 0,
                torch.ones(study.shape[:2], dtype=torch.bool, device=tokens.device),
            ],
            1,
        )
        described = self.choice_metadata(choices)  # (S, C, W)
        known = self._by_choice(self.choice_embedding, described, metadata, count)
        return EncodedMetadata(
            tokens=memory,
            mask=mask,
            slots=slots,
            pool=self._pool_table(slots, known),
            metric_weights=F.softplus(
                2 * self.distance_weights(slots).float() + self.distance_scale
            ),
            choices=self._by_choice(self.choice_output, described, metadata, count),
            legal=metadata.legal[..., : config.num_bins + known.shape[2]],
        )

    def _slots(self, index: Tensor, parameters: Tensor, study: Tensor) -> Tensor:
        """Slot vectors, (S, P, W): which parameter it is, and what it means in such a study.

        What a parameter means is the same in every slot, so that a value can be judged by it.
        """
        which = self.slot_table(index) * (1 + torch.tanh(self.slot_metadata(parameters)))
        context = 1 + self.slot_study(study.flatten(1))[:, None]  # (S, 1, W)
        vectors: Tensor = which + self.slot_meaning(parameters) * context
        return vectors

    def _by_choice(
        self, table: nn.Embedding, described: Tensor, metadata: MetadataTensors, parameters: int
    ) -> Tensor:
        """Vectors of all choices by parameter and index, (S, P, K, W)."""
        real = metadata.choice_parameter >= 0  # (S, C)
        most = int(metadata.choice_index.max()) + 1 if real.any() else 0
        vectors = table(metadata.choice_index) + described
        grid = vectors.new_zeros(real.shape[0], parameters, most, vectors.shape[-1])
        space, choice = real.nonzero(as_tuple=True)
        where = (space, metadata.choice_parameter[real], metadata.choice_index[real])
        filled: Tensor = grid.index_put(where, vectors[space, choice])
        return filled

    def _pool_table(self, slots: Tensor, choices: Tensor) -> Tensor:
        """Everything linear between a point's features and its vector, in one matrix a space."""
        spaces, parameters, _ = slots.shape
        shared = torch.cat([self.value_embedding.weight.T, self.absent_embedding.weight])
        shared = shared.expand(spaces, parameters, -1, -1)
        bound = torch.cat([shared.to(choices.dtype), choices], 2) * slots[:, :, None, :]
        table = self.pool_projection(bound) / math.sqrt(parameters)  # (S, P, F, D)
        flat: Tensor = table.flatten(1, 2)
        return flat

    # Points.

    def _pool(self, memory: EncodedMetadata, points: PointTensors) -> Tensor:
        """Vector of each point, (B, N, D)."""
        number = (points.kinds == ValueKind.NUMBER)[..., None]
        absent = torch.stack(
            [points.kinds == ValueKind.INACTIVE, points.kinds == ValueKind.MISSING], -1
        )
        parts = [self.numbers(points.values) * number, absent.float()]
        if memory.max_choices:
            chosen = (
                points.values.long()[..., None]
                == torch.arange(memory.max_choices, device=points.values.device)
            ) & (points.kinds == ValueKind.CHOICE)[..., None]
            parts.append(chosen.float())
        features = torch.cat(parts, -1).flatten(-2)  # (B, N, P * F)
        studies, count = features.shape[:2]
        rows = studies // memory.spaces * count
        grouped = features.reshape(memory.spaces, rows, features.shape[-1])
        pooled = torch.bmm(grouped.to(memory.pool.dtype), memory.pool)
        normed: Tensor = self.pool_norm(pooled.reshape(studies, count, self.config.width))
        return normed

    def _log_distances(
        self, memory: EncodedMetadata, points: PointTensors, past: PointTensors
    ) -> Tensor:
        """Logarithm of the squared distance to past points, one metric a head, (B, H, N, T)."""
        gap = _places(points)[:, :, None, :] - _places(past)[:, None, :, :]  # (B, N, T, P)
        squared = gap.square().clamp(max=1.0)
        unknown = (points.kinds >= ValueKind.MISSING)[:, :, None, :]
        unknown = unknown | (past.kinds >= ValueKind.MISSING)[:, None, :, :]
        squared = squared.masked_fill(unknown, 0.0)
        studies, count, length, parameters = squared.shape
        weights = memory.metric_weights.float()  # (S, P, H)
        with torch.autocast(squared.device.type, enabled=False):
            rows = studies // memory.spaces * count * length
            distances = torch.bmm(squared.reshape(memory.spaces, rows, parameters), weights)
        distances = distances.reshape(studies, count, length, self.config.heads)
        distances = distances.permute(0, 3, 1, 2)
        return torch.log(distances + _NEAR)

    def _bias(
        self, memory: EncodedMetadata, kind: int, position: Tensor, visible: Tensor, logs: Tensor
    ) -> list[Tensor]:
        """Attention bias of every layer, (B, H, N, M + T) each.

        Args:
            memory: MetadataTensors.
            kind: Row of `kind_bias`.
            position: Trial index of each token, (N,).
            visible: Which trials each token may see, bool, (N, T).
            logs: Log distances in search space, (B, H, N, T).
        """
        studies, _, count, length = logs.shape
        table = self.kind_bias[kind]  # (4, H)
        parameters = memory.slots.shape[1]
        kinds = torch.full((memory.tokens.shape[1],), 1, device=position.device)
        kinds[:parameters] = 0
        kinds[-self.config.study_vectors :] = 2
        to_memory = table[kinds].T[None, :, None, :].expand(studies, -1, count, -1)
        to_memory = to_memory.masked_fill(~memory.mask[:, None, None, :], _HIDDEN)
        place = torch.arange(length, device=position.device)
        shared = self.trial_bias(position[:, None] - place[None, :]) + table[3][:, None, None]
        shared = shared.masked_fill(~visible, _HIDDEN)  # (H, N, T)
        mixes = self.distance_mix.transpose(1, 2).flatten(0, 1)  # all layers in one product
        apart = (mixes @ logs.flatten(2)).float()
        apart = apart.reshape(studies, len(self.distance_mix), *logs.shape[1:])
        apart = shared - apart  # (B, L, H, N, T)
        to_memory = to_memory[:, None].expand(-1, len(self.distance_mix), -1, -1, -1)
        return list(torch.cat([to_memory, apart], -1).unbind(1))

    # History and queries.

    def encode_history(
        self, memory: EncodedMetadata, history: HistoryTensors, prefix: int | None = None
    ) -> KVCache:
        """Encode trials from the first on.

        Args:
            memory: Metadata of the studies.
            history: All trials.
            prefix: How many of the first trials see each other both ways (all when absent); later
                ones see the trials before them and themselves. 0 is causal throughout.
        """
        prefix = history.length if prefix is None else prefix
        return self._encode(memory, history, prefix, fit_gp_mixture(history.first(prefix)))

    def assume(self, memory: EncodedMetadata, cache: KVCache, history: HistoryTensors) -> KVCache:
        """Encode an encoded history with trials behind it whose values are assumed.

        All see each other both ways. The processes are conditioned on the new trials, not refitted.
        """
        return self._encode(memory, history, history.length, cache.processes.condition_on(history))

    def _encode(
        self, memory: EncodedMetadata, history: HistoryTensors, prefix: int, processes: GPMixture
    ) -> KVCache:
        visible = self._visible(history, prefix)
        empty = PointTensors(history.points.values[:, :0], history.points.kinds[:, :0])
        return self._append(memory, KVCache(empty, processes, (), ()), history, visible)

    def extend_history(
        self, memory: EncodedMetadata, cache: KVCache, history: HistoryTensors
    ) -> KVCache:
        """Append trials to an encoded history; each sees all trials before it and itself."""
        total = cache.length + history.length
        place = torch.arange(total, device=history.metric.device)
        visible = place[None, :] <= place[cache.length :, None]
        return self._append(memory, cache, history, visible)

    def _visible(self, history: HistoryTensors, prefix: int) -> Tensor:
        """Which trials each trial sees: those before it, itself, and the whole prefix from inside.

        Returns:
            bool, (T, T).
        """
        place = torch.arange(history.length, device=history.metric.device)
        inside = place < prefix
        return (place[None, :] <= place[:, None]) | (inside[None, :] & inside[:, None])

    def _trials(
        self, memory: EncodedMetadata, history: HistoryTensors, processes: GPMixture | None = None
    ) -> Tensor:
        """The metric tokens of trials, (B, T, D); the first are those of processes, if given.

        Processes tell of each of their trials what they expect from the others.
        """
        measured = (history.metric_kinds == MetricKind.VALUE)[..., None]
        tokens: Tensor = (
            self.metric
            + self.metric_pool(self._pool(memory, history.points))
            + self.metric_value(self.numbers(history.metric)) * measured
            + self.metric_status(history.metric_kinds)
        )
        if processes is None:
            return tokens
        mean, deviation = processes.leave_one_out().moments()
        missed = torch.sigmoid((processes.y.float() - mean) / deviation)
        parts = mean, _size(deviation), missed
        told = self.process_trial(torch.cat([self.numbers(part) for part in parts], -1))
        told = told * processes.measured[..., None]
        return tokens + F.pad(told, (0, 0, 0, history.length - processes.length))

    def _append(
        self, memory: EncodedMetadata, cache: KVCache, history: HistoryTensors, visible: Tensor
    ) -> KVCache:
        points = cache.points.join(history.points)
        x = self._trials(memory, history, None if cache.length else cache.processes)
        position = torch.arange(cache.length, points.values.shape[1], device=x.device)
        logs = self._log_distances(memory, history.points, points)
        biases = self._bias(memory, 0, position, visible, logs)
        keys, values = [], []
        for i, layer in enumerate(self._decoder):
            past = (
                (cache.keys[i], cache.values[i]) if cache.keys else layer.keys_values(memory.tokens)
            )
            own = layer.keys_values(x)
            keys.append(torch.cat([past[0], own[0]], 2))
            values.append(torch.cat([past[1], own[1]], 2))
            if i + 1 < len(self.layers):  # nothing reads what the last layer makes of a trial
                x = layer(x, keys[i], values[i], biases[i], see_self=False)
        return KVCache(points, cache.processes, tuple(keys), tuple(values))

    def metric_logits(
        self,
        memory: EncodedMetadata,
        cache: KVCache,
        points: PointTensors,
        position: Tensor | None = None,
    ) -> Tensor:
        """Predict the metric of points, each on its own (the `*` token).

        Args:
            memory: Metadata of the studies.
            cache: Encoded history.
            points: N points a study.
            position: How many trials each point may see, (N,); all of them when absent.

        Returns:
            Logits over the bins and `failed`, float32, (B, N, Q + 1).
        """
        expected = cache.processes.predict(points, position)
        x = self._metric_queries(memory, points, expected)
        state = self._query(memory, cache, points, x, 1, position)
        return self._metric_answers(state, expected)

    def _metric_queries(
        self, memory: EncodedMetadata, points: PointTensors, expected: GPMixturePrediction
    ) -> Tensor:
        """The `*` tokens of points, (B, N, D)."""
        mean, deviation = expected.moments()
        parts = mean, _size(deviation)
        told = self.process_query(torch.cat([self.numbers(part) for part in parts], -1))
        pooled = self.star_pool(self._pool(memory, points))
        tokens: Tensor = self.star + pooled + told * expected.visible[:, None]
        return tokens

    def _metric_answers(self, state: Tensor, expected: GPMixturePrediction) -> Tensor:
        """Logits from the decoder's output, (B, N, Q + 1).

        The processes' answer is multiplied in, to a power that the state decides.
        """
        smooth = self.metric_smooth(state).float() @ self.numbers.bins.T
        power = self.process_gate(state).float() * expected.visible[:, None]
        logits: Tensor = self.metric_head(state).float()
        return logits + F.pad(smooth + power * expected.log_density(self.config.num_bins), (0, 1))

    def value_logits(
        self,
        memory: EncodedMetadata,
        cache: KVCache,
        points: PointTensors,
        slot: Tensor,
        position: Tensor | None = None,
    ) -> Tensor:
        """Propose the value of one parameter of a partial point, given the parameters before it.

        Args:
            memory: Metadata of the studies.
            cache: Encoded history.
            points: N partial points a study; the asked slot and those after it are UNSET.
            slot: Which parameter each point asks for, int64, (N,).
            position: How many trials each point may see, (N,); all of them when absent.

        Returns:
            Logits over the bins and choices, -inf where not legal, float32, (B, N, Q + K).
        """
        x = self._value_queries(memory, points, slot)
        return self._value_answers(memory, self._query(memory, cache, points, x, 2, position), slot)

    def _value_queries(self, memory: EncodedMetadata, points: PointTensors, slot: Tensor) -> Tensor:
        """The tokens that ask for a parameter's value, (B, N, D)."""
        studies = points.values.shape[0] // memory.spaces
        bound = memory.slots[:, slot].repeat_interleave(studies, 0)  # (B, N, W)
        tokens: Tensor = (
            self.parameter
            + self.parameter_pool(self._pool(memory, points))
            + self.parameter_slot(bound)
        )
        return tokens

    def _value_answers(self, memory: EncodedMetadata, state: Tensor, slot: Tensor) -> Tensor:
        """Logits from the decoder's output, (B, N, Q + K)."""
        studies = state.shape[0] // memory.spaces
        bound = memory.slots[:, slot].repeat_interleave(studies, 0)  # (B, N, W)
        asked = self.value_binding(state) * bound * self.config.pool_width**-0.5  # (B, N, W)
        bins = (asked @ self.value_smooth.weight).float() @ self.numbers.bins.T
        vectors = memory.choices[:, slot].repeat_interleave(studies, 0)  # (B, N, K, W)
        chosen = (vectors * asked[:, :, None, :]).sum(-1)
        smooth = torch.cat([bins, chosen], -1).float()
        logits = self.value_head(state).float()[..., : smooth.shape[-1]] + smooth
        legal = memory.legal[:, slot].repeat_interleave(studies, 0)
        possible: Tensor = logits.masked_fill(~legal, -torch.inf)
        return possible

    def _query(
        self,
        memory: EncodedMetadata,
        cache: KVCache,
        points: PointTensors,
        x: Tensor,
        kind: int,
        position: Tensor | None,
    ) -> Tensor:
        if position is None:
            position = torch.full((x.shape[1],), cache.length, device=x.device)
        visible = torch.arange(cache.length, device=x.device)[None, :] < position[:, None]
        logs = self._log_distances(memory, points, cache.points)
        biases = self._bias(memory, kind, position, visible, logs)
        for layer, keys, values, bias in zip(
            self._decoder, cache.keys, cache.values, biases, strict=True
        ):
            x = layer(x, keys, values, bias, see_self=True)
        state: Tensor = self.output_norm(x)
        return state

    @property
    def _decoder(self) -> Sequence[DecoderLayer]:
        return cast("Sequence[DecoderLayer]", self.layers)


def _places(points: PointTensors) -> Tensor:
    """Values on one axis: numbers inside a unit, a choice or inactive 1 or more from all else."""
    choice = (points.kinds == ValueKind.CHOICE) * (2 + points.values.detach())
    inactive = (points.kinds == ValueKind.INACTIVE).float()
    number = (points.kinds == ValueKind.NUMBER) * points.values
    return number + choice - 2 * inactive


def _size(deviation: Tensor) -> Tensor:
    """Deviations on the unit interval: 0.001 and less at 0, 1 at 1."""
    return (1 + deviation.clamp(min=1e-3).log10() / 3).clamp(max=1.0)


def _mean_by(tokens: Tensor, owner: Tensor, count: int) -> Tensor:
    """Mean of the tokens of each owner, (S, L, E) to (S, count, E); zero where there are none."""
    member = owner[:, None, :] == torch.arange(count, device=owner.device)[None, :, None]
    weights = member.to(tokens.dtype)
    return weights @ tokens / weights.sum(-1, keepdim=True).clamp(min=1)
