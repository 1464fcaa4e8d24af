"""The model against a slow twin, and what may influence what."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.model.checkpoint import Checkpoint
from optformer.model.config import ModelConfig
from optformer.model.encoded import EncodedMetadata
from optformer.model.gp_mixture import fit_gp_mixture
from optformer.model.layers import relative_bucket
from optformer.model.network import OptFormerModel
from optformer.model.tensors import (
    UNSET,
    HistoryTensors,
    MetadataTensors,
    PointTensors,
    history_batch,
    metadata_batch,
    points_batch,
)
from optformer.tokenization.history import (
    HistoryEncoding,
    MetricKind,
    ValueKind,
    encode_points,
)
from optformer.tokenization.legality import legal_values
from optformer.tokenization.metadata import encode_metadata
from optformer.tokenization.vocabulary import default_vocabulary

Array = NDArray[np.float64]

SPACE = SearchSpace(
    lr=Float(1e-5, 1.0, log=True, description="Step size."),
    optimizer=Categorical(["sgd", "adam", "lion"]),
    momentum=Float(0.0, 0.9, when={"optimizer": ["sgd", "lion"]}),
    layers=Int(1, 8),
    width=Ordinal([16, 32, 64]),
)
OTHER = SearchSpace(
    activation=Categorical(["relu", "tanh"], description="What is applied after each layer."),
    depth=Int(2, 30),
    criterion=Categorical(["gini", "entropy", "log loss", "friedman mse", "poisson"]),
    alpha=Float(0.0, 1.0),
    beta=Float(0.0, 1.0, when={"activation": ["relu"]}),
)


def _metadata(*spaces: SearchSpace) -> MetadataTensors:
    configs = [StudyConfig(space, "accuracy", "maximize") for space in spaces]
    vocabulary = default_vocabulary()
    encodings = [encode_metadata(config, vocabulary) for config in configs]
    return metadata_batch(encodings, [legal_values(space) for space in spaces])


def _points(space: SearchSpace, count: int, seed: int) -> PointTensors:
    rng = np.random.default_rng(seed)
    return points_batch(encode_points(space, [space.sample(rng) for _ in range(count)]))


def _history(space: SearchSpace, trials: int, seed: int) -> HistoryTensors:
    """Random trials of every kind; a value is missing here and there."""
    rng = np.random.default_rng(seed)
    points = [space.sample(rng) for _ in range(trials)]
    for point in points[2::3]:
        del point[space.names[3]]
    kinds = np.arange(trials) % 7
    kinds = np.where(kinds < 4, int(MetricKind.VALUE), kinds - 3).astype(np.int64)
    metric = np.where(kinds == MetricKind.VALUE, rng.random(trials), 0.0).astype(np.float32)
    return history_batch(HistoryEncoding(encode_points(space, points), metric, kinds))


def _changed(history: HistoryTensors, trial: int) -> HistoryTensors:
    """The same history with another value in one trial."""
    values = history.points.values.clone()
    values[:, trial, 0] = (values[:, trial, 0] + 0.37) % 1.0
    metric = history.metric.clone()
    metric[:, trial] = 0.9 - 0.5 * metric[:, trial]
    kinds = history.metric_kinds.clone()
    kinds[:, trial] = int(MetricKind.VALUE)
    return HistoryTensors(PointTensors(values, history.points.kinds), metric, kinds)


def _cut(history: HistoryTensors, trials: slice) -> HistoryTensors:
    points = PointTensors(history.points.values[:, trials], history.points.kinds[:, trials])
    return HistoryTensors(points, history.metric[:, trials], history.metric_kinds[:, trials])


def _some(points: PointTensors, index: Any) -> PointTensors:
    return PointTensors(points.values[:, index], points.kinds[:, index])


def _same(first: Tensor, second: Tensor) -> None:
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Checkpoint) -> OptFormerModel:
    return tiny_checkpoint.model


@pytest.fixture(scope="module")
def metadata(model: OptFormerModel) -> EncodedMetadata:
    return model.encode_metadata(_metadata(SPACE))


class SlowTwin:
    """The model for one study, in plain loops: no cache, no batches, one token at a time."""

    def __init__(self, model: OptFormerModel, metadata: MetadataTensors):
        self.config = model.config
        self.weights = {n: w.double().numpy() for n, w in model.state_dict().items()}
        self.cycles = np.geomspace(0.25, 8.0, self.config.frequencies)
        bins = self.config.num_bins
        self.bins = [self.features((b + 0.5) / bins) for b in range(bins)]
        self.metadata = metadata
        self._read_metadata()

    def linear(self, name: str, x: Array) -> Array:
        product: Array = self.weights[f"{name}.weight"] @ x
        return product

    def norm(self, name: str, x: Array) -> Array:
        normed: Array = x / math.sqrt((x * x).mean() + 1e-6) * self.weights[f"{name}.weight"]
        return normed

    def feed_forward(self, name: str, x: Array) -> Array:
        normed = self.norm(f"{name}.norm", x)
        gate = self.linear(f"{name}.gate", normed)
        gate = 0.5 * gate * (1 + np.tanh(math.sqrt(2 / math.pi) * (gate + 0.044715 * gate**3)))
        return self.linear(f"{name}.down", gate * self.linear(f"{name}.up", normed))

    def features(self, number: float) -> Array:
        damping = 1 / (1 + self.cycles)
        angle = 2 * math.pi * self.cycles * number
        centred = 2 * number - 1
        return np.concatenate(
            [[centred, centred**2], np.sin(angle) * damping, np.cos(angle) * damping]
        )

    def relative(self, table: str, distance: int) -> Array:
        bucket = relative_bucket(
            torch.tensor(distance), self.config.distance_buckets, self.config.max_distance
        )
        row: Array = self.weights[f"{table}.table.weight"][int(bucket)]
        return row

    def _read_metadata(self) -> None:
        config, metadata = self.config, self.metadata
        tokens = [self.weights["encoder.embed_tokens.weight"][i] for i in metadata.ids[0].tolist()]
        for number in range(config.encoder_layers):
            tokens = self._encoder_layer(f"encoder.layers.{number}", tokens)
        tokens = [self.norm("encoder.norm", token) for token in tokens]

        def mean_of(owner: Tensor, which: int) -> Array:
            own = [token for token, o in zip(tokens, owner[0].tolist(), strict=True) if o == which]
            return np.mean(own, axis=0) if own else np.zeros(config.encoder_width)

        studies = []
        for query in self.weights["encoder.study_queries"]:
            scores = np.array([query @ token for token in tokens])
            chances = _softmax(scores / math.sqrt(config.encoder_width))
            studies.append(sum(c * token for c, token in zip(chances, tokens, strict=True)))
        context = 1 + self.linear("binding.slot_study", np.concatenate(studies))

        self.slots = []
        decoder_tokens = []
        for p, slot in enumerate(metadata.slots[0].tolist()):
            said = mean_of(metadata.parameter, p)
            s = self.weights["binding.slot_embedding.weight"][slot]
            s = s * (1 + np.tanh(self.linear("binding.slot_metadata", said)))
            s = s + self.linear("binding.slot_meaning", said) * context
            self.slots.append(s)
            token = self.linear("encoder.projection", said) + self.linear(
                "encoder.slot_projection", s
            )
            decoder_tokens.append((0, token + self.weights["encoder.kinds.weight"][0]))
        self.inputs: dict[tuple[int, int], Array] = {}
        self.outputs: dict[tuple[int, int], Array] = {}
        for c, slot in enumerate(metadata.choice_parameter[0].tolist()):
            said = mean_of(metadata.choice, c)
            index = metadata.choice_parameter[0, :c].tolist().count(slot)
            described = self.linear("binding.choice_metadata", said)
            self.inputs[slot, index] = (
                self.weights["binding.choice_embedding.weight"][index] + described
            )
            self.outputs[slot, index] = (
                self.weights["binding.choice_output.weight"][index] + described
            )
            token = self.linear("encoder.projection", said)
            decoder_tokens.append((1, token + self.weights["encoder.kinds.weight"][1]))
        for said in studies:
            token = self.linear("encoder.projection", said)
            decoder_tokens.append((2, token + self.weights["encoder.kinds.weight"][2]))
        self.decoder_tokens = decoder_tokens

    def _encoder_layer(self, name: str, tokens: list[Array]) -> list[Array]:
        heads = self.config.encoder_heads
        parts = [
            self.linear(f"{name}.project", self.norm(f"{name}.norm", token)).reshape(3, heads, -1)
            for token in tokens
        ]
        result = []
        for i, token in enumerate(tokens):
            mixed = []
            for h in range(heads):
                scores = np.array(
                    [
                        parts[i][0, h] @ part[1, h] / math.sqrt(part.shape[-1])
                        + self.relative("encoder.relative_bias", i - j)[h]
                        for j, part in enumerate(parts)
                    ]
                )
                mixed.append(_softmax(scores) @ np.stack([part[2, h] for part in parts]))
            x = token + self.linear(f"{name}.output", np.concatenate(mixed))
            result.append(x + self.feed_forward(f"{name}.feedforward", x))
        return result

    def pool(self, values: Array, kinds: list[int]) -> Array:
        total = np.zeros(self.config.pool_width)
        for p, (value, kind) in enumerate(zip(values, kinds, strict=True)):
            if kind == ValueKind.NUMBER:
                u = self.linear("binding.number_projection", self.features(value))
            elif kind == ValueKind.CHOICE:
                u = self.inputs[p, int(value)]
            elif kind == UNSET:
                continue
            else:
                row = 0 if kind == ValueKind.INACTIVE else 1
                u = self.weights["binding.absent_embedding.weight"][row]
            total += u * self.slots[p]
        return self.norm(
            "binding.norm", self.linear("binding.projection", total) / math.sqrt(len(values))
        )

    def log_distances(self, first: tuple[Array, list[int]], second: Any) -> Array:
        """One logarithm a head."""
        total = np.zeros(self.config.heads)
        for p, slot in enumerate(self.slots):
            ours, theirs = first[1][p], second[1][p]
            if {ours, theirs} & {ValueKind.MISSING, UNSET}:
                continue
            if ours != theirs:
                gap = 1.0
            elif ours == ValueKind.CHOICE:
                gap = float(first[0][p] != second[0][p])
            else:
                gap = (first[0][p] - second[0][p]) ** 2
            raw = (
                2 * self.linear("decoder.bias.distance_weights", slot)
                + self.weights["decoder.bias.distance_scale"]
            )
            total += gap * np.log1p(np.exp(raw))
        logs: Array = np.log(total + 1e-5)
        return logs

    def consult(
        self, history: HistoryTensors, count: int, point: tuple[Array, list[int]], without: int
    ) -> list[tuple[float, bool, float, float]]:
        """What processes of the first `count` trials, but for one, expect of a point.

        Of each its chance, whether it is of straight values, mean and deviation.
        """
        fitted = fit_gp_mixture(history.first(count))
        trials = [
            (v.double().numpy(), k.tolist())
            for v, k in zip(history.points.values[0], history.points.kinds[0], strict=True)
        ]

        def gap(first: Any, second: Any, p: int) -> float:
            kinds = first[1][p], second[1][p]
            if ValueKind.CHOICE in kinds:
                return float(kinds[0] != kinds[1] or first[0][p] != second[0][p])
            places = [
                side[0][p] if kind == ValueKind.NUMBER else 0.5
                for side, kind in zip((first, second), kinds, strict=True)
            ]
            apart = (kinds[0] == ValueKind.NUMBER) != (kinds[1] == ValueKind.NUMBER)
            return float((places[0] - places[1]) ** 2 + 0.25 * apart)

        measured = (history.metric_kinds[0, :count] == MetricKind.VALUE).nonzero()[:, 0].tolist()
        kept = [t for t in measured if t != without]
        self.bend = _Bend([float(history.metric[0, t]) for t in measured])
        said = []
        for k, chance in enumerate(fitted.weights[0].tolist()):
            weights = fitted.inverse_squared_lengthscales[0, k].numpy()
            noise, straight = float(fitted.noise[0, k]), bool(fitted.unwarped[0, k])

            def covariance(first: Any, second: Any, weights: Array = weights) -> float:
                squared = sum(w * gap(first, second, p) for p, w in enumerate(weights))
                scaled = math.sqrt(5 * squared)
                return (1 + scaled + scaled**2 / 3) * math.exp(-scaled)

            among = np.array([[covariance(trials[a], trials[b]) for b in kept] for a in kept])
            among = among.reshape(len(kept), len(kept)) + noise * np.eye(len(kept))
            across = np.array([covariance(point, trials[t]) for t in kept])
            mean = float(fitted.posterior.mean[0, k])
            variance = float(fitted.posterior.variance[0, k])
            values = [float(history.metric[0, t]) for t in kept]
            if straight:
                values = [self.bend.straight(value) for value in values]
            explained = across @ np.linalg.solve(among, across) if kept else 0.0
            moved = across @ np.linalg.solve(among, np.array(values) - mean) if kept else 0.0
            deviation = math.sqrt(variance * (1 - explained + noise))
            said.append((chance, straight, mean + moved, deviation))
        return said

    def moments(self, said: list[tuple[float, bool, float, float]]) -> tuple[float, float]:
        parts = []
        for chance, straight, *normal in said:
            centre, size = normal
            low, middle, high = (
                self.bend.bent(place) if straight else place
                for place in (centre - size, centre, centre + size)
            )
            parts.append((chance, middle, (high - low) / 2))
        mean = sum(chance * middle for chance, middle, _ in parts)
        spread = sum(c * (half**2 + (middle - mean) ** 2) for c, middle, half in parts)
        return mean, math.sqrt(spread)

    def numbers(self, *numbers: float) -> Array:
        return np.concatenate([self.features(number) for number in numbers])

    def run(
        self, history: HistoryTensors, prefix: int, query: tuple[Array, list[int], Array, int, int]
    ) -> Array:
        """State of one query: its values, kinds, token, kind of token and position."""
        config = self.config
        trials = [
            (v.double().numpy(), k.tolist())
            for v, k in zip(history.points.values[0], history.points.kinds[0], strict=True)
        ]
        count = len(trials)
        points = [*trials, query[:2]]
        logs = {
            (i, t): self.log_distances(points[i], points[t])
            for i in range(count + 1)
            for t in range(count)
        }
        x = []
        for t in range(count):
            kind = int(history.metric_kinds[0, t])
            token = self.weights["tokens.metric"] + self.linear(
                "tokens.metric_pool", self.pool(*trials[t])
            )
            token = token + self.weights["tokens.metric_status.weight"][kind]
            if kind == MetricKind.VALUE:
                said = self.features(float(history.metric[0, t]))
                token = token + self.linear("tokens.metric_value", said)
                if t < prefix:
                    mean, deviation = self.moments(self.consult(history, prefix, trials[t], t))
                    missed = 1 / (1 + math.exp((mean - float(history.metric[0, t])) / deviation))
                    said = self.numbers(mean, _size(deviation), missed)
                    token = token + self.linear("tokens.gp_trial", said)
            x.append(token)
        x.append(query[2])
        for number in range(config.layers):
            name = f"decoder.layers.{number}"
            context = [*(token for _, token in self.decoder_tokens), *x]
            keys, values = [], []
            for token in context:
                both = self.linear(f"{name}.key_value", self.norm(f"{name}.norm", token))
                key, value = both.reshape(2, config.heads, -1)
                keys.append(key)
                values.append(value)
            fresh = []
            for i, token in enumerate(x):
                asks = self.linear(f"{name}.query", self.norm(f"{name}.norm", token))
                asks = asks.reshape(config.heads, -1) / math.sqrt(config.width // config.heads)
                is_query = i == count
                row = query[3] if is_query else 0
                place = query[4] if is_query else i
                mixed = []
                for h in range(config.heads):
                    seen: list[int] = []
                    scores: list[float] = []
                    for m, (kind, _) in enumerate(self.decoder_tokens):
                        seen.append(m)
                        scores.append(
                            asks[h] @ keys[m][h] + self.weights["decoder.bias.kinds"][row, kind, h]
                        )
                    for t in range(count):
                        visible = t < place if is_query else t <= i or (t < prefix and i < prefix)
                        if not visible:
                            continue
                        mix = self.weights["decoder.bias.distance_mix"][number][:, h]
                        seen.append(len(self.decoder_tokens) + t)
                        scores.append(
                            asks[h] @ keys[seen[-1]][h]
                            + self.weights["decoder.bias.kinds"][row, 3, h]
                            + self.relative("decoder.bias.position", place - t)[h]
                            - logs[i, t] @ mix
                        )
                    if is_query:
                        seen.append(len(context) - 1)
                        scores.append(asks[h] @ keys[-1][h])
                    chances = _softmax(np.array(scores))
                    mixed.append(sum(c * values[s][h] for c, s in zip(chances, seen, strict=True)))
                y = token + self.linear(f"{name}.output", np.concatenate(mixed))
                fresh.append(y + self.feed_forward(f"{name}.feedforward", y))
            x = fresh
        return self.norm("decoder.norm", x[-1])

    def metric_logits(
        self, history: HistoryTensors, prefix: int, values: Array, kinds: list[int], position: int
    ) -> Array:
        token = self.weights["tokens.star"] + self.linear(
            "tokens.star_pool", self.pool(values, kinds)
        )
        said = self.consult(history, prefix, (values, kinds), -1)
        mean, deviation = self.moments(said)
        if position >= prefix:
            token = token + self.linear("tokens.gp_query", self.numbers(mean, _size(deviation)))
        state = self.run(history, prefix, (values, kinds, token, 1, position))
        logits = self.linear("metric_head.linear", state)
        smooth = self.linear("metric_head.smooth", state)
        power = float(self.linear("metric_head.gp_gate", state)[0]) * (position >= prefix)
        for b in range(self.config.num_bins):
            centre = (b + 0.5) / self.config.num_bins
            density = 0.0
            for chance, straight, middle, size in said:
                place = self.bend.straight(centre) if straight else centre
                slope = self.bend.slope(centre) if straight else 1.0
                height = math.exp(-(((place - middle) / size) ** 2) / 2) / size
                density += chance * slope * height / math.sqrt(2 * math.pi)
            logits[b] += smooth @ self.bins[b] + power * math.log(0.99 * density + 0.01)
        return logits

    def value_logits(
        self,
        history: HistoryTensors,
        prefix: int,
        values: Array,
        kinds: list[int],
        slot: int,
        position: int,
    ) -> Array:
        s = self.slots[slot]
        token = self.weights["tokens.parameter"] + self.linear("tokens.parameter_slot", s)
        token = token + self.linear("tokens.parameter_pool", self.pool(values, kinds))
        state = self.run(history, prefix, (values, kinds, token, 2, position))
        asked = self.linear("value_head.binding", state) * s / math.sqrt(self.config.pool_width)
        logits = self.linear("value_head.linear", state)
        bins = self.config.num_bins
        for b in range(bins):
            logits[b] += asked @ self.linear("value_head.smooth", self.bins[b])
        for (owner, index), vector in self.outputs.items():
            if owner == slot:
                logits[bins + index] += asked @ vector
        legal = self.metadata.legal[0, slot].numpy()
        return np.where(legal, logits, -np.inf)


class _Bend:
    """The lower half of a scale, which is logarithmic."""

    def __init__(self, values: list[float]):
        ranked = sorted(values)
        self.median = ranked[(len(ranked) - 1) // 2] if ranked else 0.5
        self.spread = ranked[-1] - self.median if ranked else 0.0

    def straight(self, value: float) -> float:
        if self.spread <= 0.005 or value >= self.median:
            return value
        return self.median + self.spread * (1 - math.exp((self.median - value) / self.spread))

    def bent(self, value: float) -> float:
        if self.spread <= 0.005 or value >= self.median:
            return value
        return self.median - self.spread * math.log(1 + (self.median - value) / self.spread)

    def slope(self, value: float) -> float:
        if self.spread <= 0.005 or value >= self.median:
            return 1.0
        return math.exp((self.median - value) / self.spread)


def _size(deviation: float) -> float:
    return float(np.clip(1 + math.log10(deviation) / 3, 0.0, 1.0))


def _softmax(scores: Array) -> Array:
    chances = np.exp(scores - scores.max())
    normed: Array = chances / chances.sum()
    return normed


@pytest.mark.parametrize(("prefix", "position"), [(8, 8), (0, 8), (0, 3), (5, 8), (8, 0)])
def test_metric_logits__slow_twin__agrees(
    model: OptFormerModel, metadata: EncodedMetadata, prefix: int, position: int
) -> None:
    history, asked = _history(SPACE, 8, 1), _points(SPACE, 2, 2)
    encoded = model.encode_history(metadata, history, prefix)
    fast = model.metric_logits(metadata, encoded, asked, torch.full((2,), position))
    twin = SlowTwin(model, _metadata(SPACE))
    for n in range(2):
        point = asked.values[0, n].double().numpy(), asked.kinds[0, n].tolist()
        slow = twin.metric_logits(history, prefix, *point, position)
        np.testing.assert_allclose(fast[0, n].numpy(), slow, rtol=2e-3, atol=2e-4)
    assert fast.shape == (1, 2, model.config.num_bins + 1)
    assert float(fast.std()) > 0.01  # nothing is constant


@pytest.mark.parametrize("slot", range(len(SPACE)))
def test_value_logits__slow_twin__agrees(
    model: OptFormerModel, metadata: EncodedMetadata, slot: int
) -> None:
    history, full = _history(SPACE, 5, 3), _points(SPACE, 1, 4)
    later = torch.arange(len(SPACE)) >= slot
    partial = PointTensors(
        full.values.masked_fill(later, 0.0), full.kinds.masked_fill(later, UNSET)
    )
    encoded = model.encode_history(metadata, history, 3)
    fast = model.value_logits(metadata, encoded, partial, torch.tensor([slot]), torch.tensor([4]))
    slow = SlowTwin(model, _metadata(SPACE)).value_logits(
        history, 3, partial.values[0, 0].double().numpy(), partial.kinds[0, 0].tolist(), slot, 4
    )
    kept = model.config.num_bins + metadata.max_choices
    assert np.isneginf(slow[kept:]).all()
    np.testing.assert_allclose(fast[0, 0].numpy(), slow[:kept], rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("given", [0, 1, 5, 8])
def test_extend_history__after_a_prefix__equals_one_encoding(
    model: OptFormerModel, metadata: EncodedMetadata, given: int
) -> None:
    history = _history(SPACE, 8, 5)
    whole = model.encode_history(metadata, history, prefix=given)
    grown = model.encode_history(metadata, _cut(history, slice(given)))
    grown = model.extend_history(metadata, grown, _cut(history, slice(given, 8)))
    assert grown.length == whole.length == 8
    for first, second in zip(
        whole.cache.keys + whole.cache.values, grown.cache.keys + grown.cache.values, strict=True
    ):
        _same(first, second)


def test_metric_logits__many_candidates__equal_one_at_a_time(
    model: OptFormerModel, metadata: EncodedMetadata
) -> None:
    encoded = model.encode_history(metadata, _history(SPACE, 6, 6))
    asked = _points(SPACE, 20, 7)
    together = model.metric_logits(metadata, encoded, asked)
    for n in range(20):
        _same(together[:, [n]], model.metric_logits(metadata, encoded, _some(asked, [n])))


def test_metric_logits__permuted_candidates__permute(
    model: OptFormerModel, metadata: EncodedMetadata
) -> None:
    encoded = model.encode_history(metadata, _history(SPACE, 6, 6))
    asked, order = _points(SPACE, 9, 8), torch.randperm(9)
    first = model.metric_logits(metadata, encoded, asked)[:, order]
    _same(first, model.metric_logits(metadata, encoded, _some(asked, order)))


def _ask(
    model: OptFormerModel, metadata: EncodedMetadata, history: HistoryTensors, prefix: int
) -> list[Tensor]:
    """Predictions at every position, for the metric and for a value."""
    encoded = model.encode_history(metadata, history, prefix)
    positions = torch.arange(history.length + 1)
    asked = _some(_points(SPACE, 1, 9), torch.zeros(len(positions), dtype=torch.int64))
    metric = model.metric_logits(metadata, encoded, asked, positions)
    partial = PointTensors(
        asked.values * torch.tensor([1, 0, 0, 0, 0]),
        asked.kinds.masked_fill(torch.arange(len(SPACE)) >= 1, UNSET),
    )
    slots = torch.ones(len(positions), dtype=torch.int64)
    value = model.value_logits(metadata, encoded, partial, slots, positions)
    return [metric[0], value[0, :, -metadata.max_choices :]]


@pytest.mark.parametrize("trial", range(6))
def test_causal_history__changed_trial__moves_later_predictions_only(
    model: OptFormerModel, metadata: EncodedMetadata, trial: int
) -> None:
    history = _history(SPACE, 6, 10)
    before = _ask(model, metadata, history, 0)
    after = _ask(model, metadata, _changed(history, trial), 0)
    for first, second in zip(before, after, strict=True):
        moved = (first - second).abs().amax(-1)
        assert moved[: trial + 1].max() == 0  # a query at position k sees exactly k trials
        assert moved[trial + 1 :].min() > 1e-5


def test_prefix_history__changed_trial__moves_predictions_that_see_any_of_the_prefix(
    model: OptFormerModel, metadata: EncodedMetadata
) -> None:
    history = _history(SPACE, 6, 10)
    for trial, untouched in [(3, 0), (5, 5)]:
        before = _ask(model, metadata, history, 4)
        after = _ask(model, metadata, _changed(history, trial), 4)
        moved = (before[0] - after[0]).abs().amax(-1)
        assert moved[: untouched + 1].max() == 0
        assert moved[untouched + 1 :].min() > 1e-5


def test_batch__several_spaces_and_studies__equals_one_at_a_time(model: OptFormerModel) -> None:
    spaces, studies = [SPACE, OTHER], 3
    histories = [_history(spaces[b // studies], 5, 20 + b) for b in range(2 * studies)]
    asked = [_points(spaces[b // studies], 4, 40 + b) for b in range(2 * studies)]
    together = HistoryTensors(
        PointTensors(
            torch.cat([h.points.values for h in histories]),
            torch.cat([h.points.kinds for h in histories]),
        ),
        torch.cat([h.metric for h in histories]),
        torch.cat([h.metric_kinds for h in histories]),
    )
    points = PointTensors(torch.cat([a.values for a in asked]), torch.cat([a.kinds for a in asked]))
    partial = PointTensors(
        points.values[:, :2] * torch.tensor([1, 1, 0, 0, 0]),
        points.kinds[:, :2].masked_fill(torch.arange(5) >= 2, UNSET),
    )
    slots, position = torch.tensor([2, 2]), torch.tensor([5, 2])
    metric, value = model(
        _metadata(*spaces),
        together,
        3,
        points,
        torch.tensor([5, 3, 4, 0]),
        partial,
        slots,
        position,
    )
    for b in range(2 * studies):
        own = PointTensors(partial.values[[b]], partial.kinds[[b]])
        one_metric, one_value = model(
            _metadata(spaces[b // studies]),
            histories[b],
            3,
            asked[b],
            torch.tensor([5, 3, 4, 0]),
            own,
            slots,
            position,
        )
        _same(metric[[b]], one_metric)
        _same(value[[b]][..., : one_value.shape[-1]], one_value)
        assert value[[b]][..., one_value.shape[-1] :].isneginf().all()


def test_metadata__numeric_space__has_no_choices(model: OptFormerModel) -> None:
    space = SearchSpace(x=Float(0, 1), y=Float(0, 1), z=Int(0, 5), v=Float(0, 1))
    metadata = model.encode_metadata(_metadata(space))
    assert metadata.max_choices == 0
    encoded = model.encode_history(metadata, _history(space, 3, 0))
    logits = model.metric_logits(metadata, encoded, _points(space, 2, 1))
    assert logits.isfinite().all()


def test_value_logits__illegal_values__are_impossible(
    model: OptFormerModel, metadata: EncodedMetadata
) -> None:
    encoded = model.encode_history(metadata, _history(SPACE, 3, 0))
    count = len(SPACE)
    partial = PointTensors(
        torch.zeros(1, count, count), torch.full((1, count, count), UNSET, dtype=torch.int64)
    )
    logits = model.value_logits(metadata, encoded, partial, torch.arange(count))[0]
    legal = torch.from_numpy(legal_values(SPACE).copy())
    assert torch.equal(logits.isfinite(), legal[:, : logits.shape[-1]])
    assert not legal[:, logits.shape[-1] :].any()
    assert legal[3].sum() == 8  # one bin for each number of layers
    assert legal[4].sum() == 3


def test_predictions__unset_and_missing_slots__ignore_the_number_behind_them(
    model: OptFormerModel, metadata: EncodedMetadata
) -> None:
    encoded = model.encode_history(metadata, _history(SPACE, 4, 0))
    points = _points(SPACE, 1, 3)
    for kind in (UNSET, int(ValueKind.MISSING)):
        kinds = points.kinds.clone()
        kinds[..., 0] = kind
        junk = points.values.clone()
        junk[..., 0] = 0.77
        first = model.metric_logits(metadata, encoded, PointTensors(points.values, kinds))
        _same(first, model.metric_logits(metadata, encoded, PointTensors(junk, kinds)))


def test_predictions__kinds_of_one_slot__all_differ(
    model: OptFormerModel, metadata: EncodedMetadata
) -> None:
    encoded = model.encode_history(metadata, _history(SPACE, 4, 0))
    points = _points(SPACE, 1, 3)
    results = []
    for kind in (ValueKind.NUMBER, ValueKind.INACTIVE, ValueKind.MISSING, UNSET):
        kinds = points.kinds.clone()
        kinds[..., 2] = int(kind)
        results.append(model.metric_logits(metadata, encoded, PointTensors(points.values, kinds)))
    for i, first in enumerate(results):
        for second in results[:i]:
            assert (first - second).abs().max() > 1e-4


def test_predictions__metric_kinds_of_one_trial__all_differ(
    model: OptFormerModel, metadata: EncodedMetadata
) -> None:
    history, asked = _history(SPACE, 4, 0), _points(SPACE, 1, 3)
    results = []
    for kind in MetricKind:
        kinds = history.metric_kinds.clone()
        kinds[:, 1] = int(kind)
        encoded = model.encode_history(metadata, replace(history, metric_kinds=kinds))
        results.append(model.metric_logits(metadata, encoded, asked))
    for i, first in enumerate(results):
        for second in results[:i]:
            assert (first - second).abs().max() > 1e-4


def test_metric_logits__gradient__reaches_every_number(
    model: OptFormerModel, metadata: EncodedMetadata
) -> None:
    encoded = model.encode_history(metadata, _history(SPACE, 5, 0))
    points = _points(SPACE, 6, 1)
    values = points.values.clone().requires_grad_()
    logits = model.metric_logits(metadata, encoded, PointTensors(values, points.kinds))
    (gradient,) = torch.autograd.grad(logits.log_softmax(-1)[..., 900:].sum(), values)
    number = points.kinds == ValueKind.NUMBER
    assert gradient.isfinite().all()
    assert (gradient[number].abs() > 1e-7).all()
    assert (gradient[points.kinds == ValueKind.CHOICE] == 0).all()


def test_attention_bias__repeated_point__is_finite_with_its_gradient(
    model: OptFormerModel, metadata: EncodedMetadata
) -> None:
    history = _history(SPACE, 5, 0)
    same = _some(history.points, torch.zeros(5, dtype=torch.int64))
    encoded = model.encode_history(metadata, replace(history, points=same))
    values = same.values[:, :1].clone().requires_grad_()
    logits = model.metric_logits(metadata, encoded, PointTensors(values, same.kinds[:, :1]))
    logs = model.decoder.bias.log_distances(metadata, _some(same, [0]), same)
    assert torch.allclose(logs, torch.full_like(logs, math.log(1e-5)))
    (gradient,) = torch.autograd.grad(logits.logsumexp(-1).sum(), values)
    assert logits.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize(
    ("size", "low", "high"),
    [("tiny", 1e5, 4e5), ("small", 2.5e6, 5e6), ("base", 8e6, 12e6)],  # base: below 24 MB
)
def test_model_sizes__parameters__are_as_designed(size: str, low: float, high: float) -> None:
    with torch.device("meta"):
        model = OptFormerModel(ModelConfig.named(size, default_vocabulary().size))
    assert low < sum(weight.numel() for weight in model.parameters()) < high


def test_fresh_model__random_weights__predicts_finite_and_nothing_extreme() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = OptFormerModel(ModelConfig.named("tiny", default_vocabulary().size)).eval()
    with torch.no_grad():
        metadata = model.encode_metadata(_metadata(SPACE))
        encoded = model.encode_history(metadata, _history(SPACE, 10, 0))
        logits = model.metric_logits(metadata, encoded, _points(SPACE, 5, 1))
    assert logits.isfinite().all()
    assert logits.softmax(-1).max() < 0.1


def test_bfloat16__autocast__stays_near_single_precision(
    model: OptFormerModel, metadata: EncodedMetadata
) -> None:
    history, asked = _history(SPACE, 6, 0), _points(SPACE, 8, 1)
    exact = model.metric_logits(metadata, model.encode_history(metadata, history), asked)
    with torch.autocast("cpu", torch.bfloat16):
        coarse_metadata = model.encode_metadata(_metadata(SPACE))
        encoded = model.encode_history(coarse_metadata, history)
        coarse = model.metric_logits(coarse_metadata, encoded, asked)
    assert coarse.dtype is torch.float32
    assert float((coarse - exact).abs().mean()) < 0.05 * float(exact.std())


def test_relative_bucket__growing_distance__is_exact_then_coarse_then_shared() -> None:
    distance = torch.arange(-300, 301)
    bucket = relative_bucket(distance, 32, 128)
    assert bucket.min() >= 0
    assert bucket.max() < 32
    forward = bucket[300:]
    assert forward[:8].tolist() == list(range(8))
    assert (forward.diff() >= 0).all()
    assert (forward[128:] == forward[128]).all()
    assert torch.equal(bucket[:300].flip(0), forward[1:] + 16)  # the other sign, other buckets
