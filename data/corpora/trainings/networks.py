"""Networks of K configurations at once: from inputs, (N, ...), to outputs, (K, N, outputs)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from optformer.data.corpora.trainings.columns import Columns
from optformer.data.corpora.trainings.layers import (
    Activation,
    Attention,
    Dropout,
    Linear,
    Recurrence,
    Units,
    standardized,
)
from optformer.data.corpora.trainings.layout import Layout


class Network(Protocol):
    """K networks apart from their weights."""

    layout: Layout

    def __call__(
        self, weights: list[Tensor], inputs: Tensor, noise: torch.Generator | None = None
    ) -> Tensor:
        """Outputs, (K, N, outputs), from inputs, (N, ...) or (K, N, ...); noise is for training."""


Architecture = Callable[[Columns, Sequence[int], int], Network]
"""Makes networks of configurations, the shape of an example and the number of outputs."""


class Perceptron:
    """Hidden layers one after the other; a network with fewer passes its state on.

    Searches `width`, `layers`, `activation`, `normalization`, `dropout`, `input_dropout`,
    `init_scale`.
    """

    def __init__(self, columns: Columns, shape: Sequence[int], outputs: int) -> None:
        self.layout = Layout(columns)
        self._units = Units(columns)
        gain = 1.4 * columns.numbers("init_scale")
        most, count = self._units.most, self._units.count
        self._layers = [Linear(self.layout, shape[0], most, gain=gain)]
        for _ in range(columns.largest("layers") - 1):
            self._layers.append(Linear(self.layout, most, most, fan_in=count, gain=gain))
        self._out = Linear(self.layout, most, outputs, fan_in=count)
        self._depth = columns.numbers("layers")[:, None, None]
        self._activation = Activation(columns)
        self._normal = columns.where("normalization", "layer")[:, None, None]
        self._dropout, self._inputs = Dropout(columns), Dropout(columns, "input_dropout")

    def hidden(
        self, weights: list[Tensor], inputs: Tensor, noise: torch.Generator | None = None
    ) -> Tensor:
        """The last hidden layer, (K, N, W)."""
        hidden = self._inputs(inputs, noise)
        for depth, layer in enumerate(self._layers):
            new = layer(weights, hidden) * self._units.mask
            if bool(self._normal.any()):
                new = torch.where(self._normal, self._units.normalized(new), new)
            new = self._dropout(self._activation(new), noise) * self._units.mask
            hidden = new if depth == 0 else torch.where(depth < self._depth, new, hidden)
        return hidden

    def __call__(
        self, weights: list[Tensor], inputs: Tensor, noise: torch.Generator | None = None
    ) -> Tensor:
        """See `Network`."""
        return self._out(weights, self.hidden(weights, inputs, noise))


class Affine:
    """A linear model; searches `init_scale` only."""

    def __init__(self, columns: Columns, shape: Sequence[int], outputs: int) -> None:
        self.layout = Layout(columns)
        gain = 0.1 * columns.numbers("init_scale")
        self._out = Linear(self.layout, shape[0], outputs, gain=gain)
        self._inputs = Dropout(columns, "input_dropout")

    def __call__(
        self, weights: list[Tensor], inputs: Tensor, noise: torch.Generator | None = None
    ) -> Tensor:
        """See `Network`."""
        return self._out(weights, self._inputs(inputs, noise))


class Residual:
    """Blocks that add to a stream: normalize, widen, activate, drop, narrow.

    Searches `width` (within a block), `layers` (blocks), `activation`, `dropout`, `init_scale`
    and `residual_scale`.
    """

    def __init__(
        self, columns: Columns, shape: Sequence[int], outputs: int, stream: int = 16
    ) -> None:
        self.layout = Layout(columns)
        self._units = Units(columns)
        gain = columns.numbers("init_scale")
        most, count = self._units.most, self._units.count
        self._in = Linear(self.layout, shape[0], stream)
        self._blocks = [
            (
                Linear(self.layout, stream, most, gain=1.4 * gain),
                Linear(self.layout, most, stream, fan_in=count, gain=gain),
            )
            for _ in range(columns.largest("layers"))
        ]
        self._out = Linear(self.layout, stream, outputs)
        self._depth = columns.numbers("layers")[:, None, None]
        self._activation, self._dropout = Activation(columns), Dropout(columns)

    def __call__(
        self, weights: list[Tensor], inputs: Tensor, noise: torch.Generator | None = None
    ) -> Tensor:
        """See `Network`."""
        stream = self._in(weights, inputs)
        for depth, (widen, narrow) in enumerate(self._blocks):
            hidden = self._activation(widen(weights, standardized(stream))) * self._units.mask
            added = narrow(weights, self._dropout(hidden, noise))
            stream = stream + added * (depth < self._depth)
        return self._out(weights, standardized(stream))


class Convolutional:
    """Two convolutions of 3 by 3 with pooling between them, on one-channel images of even size.

    Searches `width` (channels), `activation`, `dropout`, `init_scale`, `skip` and `pooling`.
    """

    def __init__(self, columns: Columns, shape: Sequence[int], outputs: int) -> None:
        self.layout = Layout(columns)
        self._units = Units(columns)
        gain = 1.4 * columns.numbers("init_scale")
        most, count = self._units.most, self._units.count
        self._size = shape[0]
        self._first = Linear(self.layout, 9, most, gain=gain)
        self._second = Linear(self.layout, 9 * most, most, fan_in=9 * count, gain=gain)
        self._out = Linear(self.layout, 4 * most, outputs, fan_in=4 * count)
        self._skip = columns.numbers("skip")[:, None, None] if columns.searched("skip") else None
        self._mean = (
            columns.where("pooling", "average")[:, None, None, None, None]
            if columns.searched("pooling")
            else None
        )
        self._activation, self._dropout = Activation(columns), Dropout(columns)

    def __call__(
        self, weights: list[Tensor], inputs: Tensor, noise: torch.Generator | None = None
    ) -> Tensor:
        """See `Network`."""
        count, mask = len(weights[0]), self._units.mask
        images = inputs.reshape(-1, 1, self._size, self._size)
        shared = len(images) == inputs.shape[0]
        patches = functional.unfold(images, 3, padding=1).transpose(1, 2)  # (N, places, 9)
        patches = patches.reshape(-1, 9) if shared else patches.reshape(count, -1, 9)
        hidden = self._activation(self._first(weights, patches)) * mask
        hidden = self._pooled(hidden, self._size)
        half = self._size // 2
        maps = hidden.view(-1, half, half, self._units.most).permute(0, 3, 1, 2)
        spread = functional.unfold(maps, 3, padding=1).transpose(1, 2)
        new = self._second(weights, spread.reshape(count, -1, spread.shape[-1]))
        new = self._activation(new) * mask
        if self._skip is not None:
            new = new + self._skip * hidden
        flat = self._pooled(new, half, half // 2).view(count, -1, 4 * self._units.most)
        return self._out(weights, self._dropout(flat, noise))

    def _pooled(self, hidden: Tensor, size: int, window: int = 2) -> Tensor:
        """The largest, or the mean, of each window, (K, N * places, W)."""
        count, _, width = hidden.shape
        parts = hidden.view(count, -1, size // window, window, size // window, window, width)
        found = parts.amax((3, 5))
        if self._mean is not None:
            found = torch.where(self._mean, parts.mean((3, 5)), found)
        return found.reshape(count, -1, width)


class Recurrent:
    """A recurrent layer over a sequence of numbers or tokens, read out at its end.

    Searches `width`, `init_scale`, `dropout`, and `readout`: the last state or the mean of all.
    """

    def __init__(
        self, columns: Columns, shape: Sequence[int], outputs: int, cell: str = "gru"
    ) -> None:
        self.layout = Layout(columns)
        self._layer = Recurrence(self.layout, columns, shape[1], cell)
        units = self._layer.units
        self._out = Linear(self.layout, units.most, outputs, fan_in=units.count)
        self._dropout = Dropout(columns)
        self._mean = (
            columns.where("readout", "mean")[:, None, None] if columns.searched("readout") else None
        )

    def __call__(
        self, weights: list[Tensor], inputs: Tensor, noise: torch.Generator | None = None
    ) -> Tensor:
        """See `Network`."""
        states = self._layer(weights, list(inputs.unbind(-2)))
        last = states[-1]
        if self._mean is not None:
            last = torch.where(self._mean, torch.stack(states).mean(0), last)
        return self._out(weights, self._dropout(last, noise))


class RecurrentLanguageModel:
    """A recurrent layer that predicts each token from those before it.

    Inputs are one-hot tokens, (N, T, V); outputs (K, N * T, V).
    """

    def __init__(
        self, columns: Columns, shape: Sequence[int], outputs: int, cell: str = "gru"
    ) -> None:
        self.layout = Layout(columns)
        self._layer = Recurrence(self.layout, columns, shape[1], cell)
        units = self._layer.units
        self._out = Linear(self.layout, units.most, outputs, fan_in=units.count)
        self._dropout = Dropout(columns)

    def __call__(
        self, weights: list[Tensor], inputs: Tensor, noise: torch.Generator | None = None
    ) -> Tensor:
        """See `Network`."""
        states = torch.stack(self._layer(weights, list(inputs.unbind(1))), 2)
        flat = states.flatten(1, 2)  # (K, N * T, W)
        return self._out(weights, self._dropout(flat, noise))


class Transformer:
    """Blocks of attention and feed-forward layers; the width of the stream is fixed.

    Searches `width` (feed-forward), `layers`, `dropout`, `init_scale`, `activation`, and
    `normalization`: "pre" or "post".

    Args:
        columns: The configurations.
        shape: Places T and numbers of each.
        outputs: Outputs of an example, or of each place.
        stream: Width of the stream.
        heads: Attention heads.
        causal: Predict at every place from those before it, outputs (K, N * T, outputs); or from
            the mean of all places.
    """

    def __init__(
        self,
        columns: Columns,
        shape: Sequence[int],
        outputs: int,
        *,
        stream: int = 16,
        heads: int = 2,
        causal: bool = False,
    ) -> None:
        self.layout = Layout(columns)
        self._places, self._causal = shape[0], causal
        self._units = Units(columns)
        gain = columns.numbers("init_scale")
        most, count = self._units.most, self._units.count
        self._in = Linear(self.layout, shape[1], stream, fan_in=torch.ones(len(columns)))
        self._position = self.layout.add(1, shape[0], stream, scale=0.5 * gain)
        self._blocks = [
            (
                Attention(self.layout, stream, heads, causal, gain),
                Linear(self.layout, stream, most, gain=1.4 * gain),
                Linear(self.layout, most, stream, fan_in=count, gain=gain),
            )
            for _ in range(columns.largest("layers"))
        ]
        self._out = Linear(self.layout, stream, outputs)
        self._depth = columns.numbers("layers")[:, None, None]
        self._post = columns.where("normalization", "post")[:, None, None]
        self._activation, self._dropout = Activation(columns), Dropout(columns)

    def __call__(
        self, weights: list[Tensor], inputs: Tensor, noise: torch.Generator | None = None
    ) -> Tensor:
        """See `Network`."""
        count, places = len(weights[0]), self._places
        stream = self._in(weights, inputs.flatten(-3, -2))
        stream = (torch.unflatten(stream, 1, (-1, places)) + weights[self._position]).flatten(1, 2)
        mixed = bool(self._post.any())
        for depth, (attention, widen, narrow) in enumerate(self._blocks):
            before = stream
            read = standardized(stream)
            if mixed:
                read = torch.where(self._post, stream, read)
            stream = stream + self._dropout(attention(weights, read, places), noise)
            if mixed:
                stream = torch.where(self._post, standardized(stream), stream)
            read = torch.where(self._post, stream, standardized(stream))
            hidden = self._activation(widen(weights, read)) * self._units.mask
            stream = stream + self._dropout(narrow(weights, hidden), noise)
            if mixed:
                stream = torch.where(self._post, standardized(stream), stream)
            stream = torch.where(depth < self._depth, stream, before)
        stream = standardized(stream)
        if not self._causal:
            stream = stream.view(count, -1, places, stream.shape[-1]).mean(2)
        return self._out(weights, stream)


class Mixer:
    """A layer over patches and one over channels, in turns, as in MLP-Mixer.

    Searches `width` (of both hidden layers), `layers`, `dropout`, `activation`, `init_scale`.
    """

    def __init__(
        self, columns: Columns, shape: Sequence[int], outputs: int, stream: int = 16
    ) -> None:
        self.layout = Layout(columns)
        self._units, self._size = Units(columns), shape[0]
        gain = columns.numbers("init_scale")
        most, count = self._units.most, self._units.count
        self._places, self._stream = (shape[0] // 2) ** 2, stream
        self._in = Linear(self.layout, 4, stream)
        self._blocks = [
            (
                Linear(self.layout, self._places, most, gain=1.4 * gain),
                Linear(self.layout, most, self._places, fan_in=count, gain=gain),
                Linear(self.layout, stream, most, gain=1.4 * gain),
                Linear(self.layout, most, stream, fan_in=count, gain=gain),
            )
            for _ in range(columns.largest("layers"))
        ]
        self._out = Linear(self.layout, stream, outputs)
        self._depth = columns.numbers("layers")[:, None, None]
        self._activation, self._dropout = Activation(columns), Dropout(columns)

    def __call__(
        self, weights: list[Tensor], inputs: Tensor, noise: torch.Generator | None = None
    ) -> Tensor:
        """See `Network`."""
        count, mask = len(weights[0]), self._units.mask
        images = inputs.reshape(-1, 1, self._size, self._size)
        patches = functional.unfold(images, 2, stride=2).transpose(1, 2).reshape(-1, 4)
        stream = self._in(weights, patches)  # (K, N * places, stream)
        for depth, (across, back, widen, narrow) in enumerate(self._blocks):
            on = depth < self._depth
            columns = standardized(stream).view(count, -1, self._places, self._stream)
            columns = columns.transpose(2, 3).reshape(count, -1, self._places)
            hidden = self._dropout(self._activation(across(weights, columns)) * mask, noise)
            added = back(weights, hidden).view(count, -1, self._stream, self._places)
            stream = stream + added.transpose(2, 3).reshape(stream.shape) * on
            hidden = self._activation(widen(weights, standardized(stream))) * mask
            stream = stream + narrow(weights, self._dropout(hidden, noise)) * on
        mean = standardized(stream).view(count, -1, self._places, self._stream).mean(2)
        return self._out(weights, mean)


class Mixture:
    """Experts of one hidden layer, mixed by a gate.

    Searches `experts`, `width` (of an expert), `top_k`, `temperature` and `init_scale`.
    """

    def __init__(self, columns: Columns, shape: Sequence[int], outputs: int) -> None:
        self.layout = Layout(columns)
        self._units, self._outputs = Units(columns), outputs
        self._experts = columns.largest("experts")
        gain = 1.4 * columns.numbers("init_scale")
        most, count = self._units.most, self._units.count
        self._widen = Linear(self.layout, shape[0], self._experts * most, gain=gain)
        self._narrow = self.layout.add(
            self._experts, most, outputs, scale=columns.numbers("init_scale") * count.rsqrt()
        )
        self._gate = Linear(self.layout, shape[0], self._experts)
        self._there = torch.arange(self._experts) < columns.numbers("experts")[:, None]
        self._top = columns.numbers("top_k").long()
        self._temperature = columns.numbers("temperature")[:, None, None]
        self.usage = torch.zeros(len(columns), self._experts)

    def __call__(
        self, weights: list[Tensor], inputs: Tensor, noise: torch.Generator | None = None
    ) -> Tensor:
        """See `Network`; `usage` tells the mean gate of each expert, (K, experts)."""
        del noise
        scores = self._gate(weights, inputs) / self._temperature
        scores = scores.masked_fill(~self._there[:, None], -1e9)
        ordered = scores.sort(-1, descending=True).values
        last = (self._top.clamp_max(self._experts) - 1)[:, None, None]
        least = ordered.gather(-1, last.expand(-1, scores.shape[1], 1))
        gate = scores.masked_fill(scores < least, -1e9).softmax(-1)
        self.usage = scores.softmax(-1).mean(1)
        hidden = torch.relu(self._widen(weights, inputs))
        hidden = torch.unflatten(hidden, -1, (self._experts, -1))
        hidden = hidden * self._units.mask[:, :, None] * gate[..., None]
        return torch.bmm(hidden.flatten(2), weights[self._narrow].flatten(1, 2))


class Sets:
    """A perceptron on each point of a set, pooled, and one hidden layer after that.

    Searches `width`, `pooling` ("mean", "max" or "sum"), `dropout`, `activation`, `init_scale`.
    """

    def __init__(self, columns: Columns, shape: Sequence[int], outputs: int) -> None:
        self.layout = Layout(columns)
        self._units, self._places = Units(columns), shape[0]
        gain = 1.4 * columns.numbers("init_scale")
        most, count = self._units.most, self._units.count
        self._layers = [
            Linear(self.layout, shape[1], most, gain=gain),
            Linear(self.layout, most, most, fan_in=count, gain=gain),
        ]
        self._out = Linear(self.layout, most, outputs, fan_in=count)
        self._pooling = {
            name: columns.where("pooling", name)[:, None, None] for name in ("max", "sum")
        }
        self._activation, self._dropout = Activation(columns), Dropout(columns)

    def __call__(
        self, weights: list[Tensor], inputs: Tensor, noise: torch.Generator | None = None
    ) -> Tensor:
        """See `Network`."""
        first, second = self._layers
        mask = self._units.mask
        points = self._activation(first(weights, inputs.flatten(0, 1))) * mask
        points = torch.unflatten(points, 1, (-1, self._places))
        pooled = torch.where(self._pooling["max"], points.amax(2), points.mean(2))
        pooled = torch.where(self._pooling["sum"], points.sum(2), pooled)
        hidden = self._activation(second(weights, pooled)) * mask
        return self._out(weights, self._dropout(hidden, noise))
