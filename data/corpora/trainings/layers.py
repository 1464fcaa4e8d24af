"""Layers of K networks at once.

Weights have a leading axis K. What flows through has shape (K, N, features), where N are examples,
or examples and places together; inputs that all networks share may lack the first axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from optformer.data.corpora.trainings.columns import Columns
from optformer.data.corpora.trainings.layout import Layout

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "tanh": torch.tanh,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "elu": functional.elu,
    "leaky_relu": functional.leaky_relu,
    "sine": torch.sin,
}
_EPSILON = 1e-5  # of normalizations


class Linear:
    """An affine map.

    Args:
        layout: Where its weights are to lie.
        inputs: Width of what it reads.
        outputs: Width of what it writes.
        fan_in: How many of the inputs each network uses, (K,); all when absent.
        gain: Factor of the first weights, of all networks or of each, (K,).
        bias: Whether it adds one.
    """

    def __init__(
        self,
        layout: Layout,
        inputs: int,
        outputs: int,
        *,
        fan_in: Tensor | None = None,
        gain: Tensor | float = 1.0,
        bias: bool = True,
    ) -> None:
        read = torch.full((layout.count,), float(inputs)) if fan_in is None else fan_in
        self.matrix = layout.add(inputs, outputs, scale=gain * read.rsqrt())
        self.bias = layout.add(1, outputs) if bias else None

    def __call__(self, weights: list[Tensor], inputs: Tensor) -> Tensor:
        """(K, N, outputs) from (K, N, inputs) or (N, inputs)."""
        matrix = weights[self.matrix]
        if inputs.dim() == 2:
            inputs = inputs.expand(len(matrix), -1, -1)
        if self.bias is None:
            return torch.bmm(inputs, matrix)
        return torch.baddbmm(weights[self.bias], inputs, matrix)


class Units:
    """Widths of K networks: the units beyond a network's own are 0.

    Args:
        columns: The configurations.
        name: The parameter that tells the width.
    """

    def __init__(self, columns: Columns, name: str = "width") -> None:
        self.most = columns.largest(name)
        self.count = columns.numbers(name)  # (K,)
        self.mask = (torch.arange(self.most) < self.count[:, None]).float()[:, None]  # (K, 1, W)

    def normalized(self, hidden: Tensor) -> Tensor:
        """Standardized over each example's units, (K, N, W), which are 0 beyond the width."""
        count = self.count[:, None, None]
        mean = hidden.sum(-1, keepdim=True) / count
        centred = (hidden - mean) * self.mask
        variance = centred.square().sum(-1, keepdim=True) / count
        return centred * (variance + _EPSILON).rsqrt()


class Activation:
    """The activation of each network, by the parameter `activation`."""

    def __init__(self, columns: Columns) -> None:
        names = columns.values("activation")
        self._masks = {
            name: columns.where("activation", name)[:, None, None] for name in sorted(set(names))
        }

    def __call__(self, hidden: Tensor) -> Tensor:
        """Of (K, N, W)."""
        (first, _), *others = self._masks.items()
        active = ACTIVATIONS[first](hidden)
        for name, mask in others:
            active = torch.where(mask, ACTIVATIONS[name](hidden), active)
        return active


class Dropout:
    """Drops units in training; the same draws decide in all networks.

    Args:
        columns: The configurations.
        name: The parameter that tells the share.
    """

    def __init__(self, columns: Columns, name: str = "dropout") -> None:
        self._used = columns.searched(name)
        self._share = columns.numbers(name)[:, None, None]

    def __call__(self, hidden: Tensor, noise: torch.Generator | None) -> Tensor:
        """Of (K, N, W), or of (N, W) that all share; nothing is dropped without noise."""
        if noise is None or not self._used:
            return hidden
        kept = torch.rand(hidden.shape[-2:], generator=noise) >= self._share
        return hidden * (kept / (1 - self._share).clamp_min(1e-3))


class Recurrence:
    """A recurrent layer: `elman`, or `gru` with gates.

    Args:
        layout: Where its weights are to lie.
        columns: The configurations, with `width` and `init_scale`.
        inputs: Width of what it reads.
        cell: "elman" or "gru".
    """

    def __init__(self, layout: Layout, columns: Columns, inputs: int, cell: str) -> None:
        self.units = Units(columns)
        self._parts = 3 if cell == "gru" else 1
        gain = columns.numbers("init_scale")
        size = self._parts * self.units.most
        self._read = Linear(layout, inputs, size)
        self._carry = Linear(layout, self.units.most, size, fan_in=self.units.count, gain=gain)

    def __call__(self, weights: list[Tensor], steps: list[Tensor]) -> list[Tensor]:
        """States after each step, (K, N, W) each, from inputs, (K, N, inputs) or (N, inputs)."""
        states: list[Tensor] = []
        state: Tensor | None = None
        for inputs in steps:
            read = self._read(weights, inputs)
            if state is None:
                state = torch.zeros(*read.shape[:2], self.units.most)
            carried = self._carry(weights, state)
            if self._parts == 1:
                state = torch.tanh(read + carried) * self.units.mask
            else:
                reset, update, new = read.chunk(3, -1)
                reset_by, update_by, new_by = carried.chunk(3, -1)
                gate = torch.sigmoid(update + update_by)
                fresh = torch.tanh(new + torch.sigmoid(reset + reset_by) * new_by)
                state = torch.lerp(fresh, state, gate) * self.units.mask
            states.append(state)
        return states


class Attention:
    """Self-attention over T places; the width is a multiple of the heads.

    Args:
        layout: Where its weights are to lie.
        width: Width of the stream.
        heads: Number of heads.
        causal: Whether places see only those before them.
        gain: Factor of the first weights, (K,).
    """

    def __init__(
        self, layout: Layout, width: int, heads: int, causal: bool, gain: Tensor | float = 1.0
    ) -> None:
        self._heads, self._causal = heads, causal
        self._read = Linear(layout, width, 3 * width)
        self._write = Linear(layout, width, width, gain=gain)

    def __call__(self, weights: list[Tensor], hidden: Tensor, places: int) -> Tensor:
        """Of (K, N * T, W)."""
        count, rows, width = hidden.shape
        examples = count * (rows // places)
        read = self._read(weights, hidden).view(examples, places, 3, self._heads, -1)
        queries, keys, values = read.permute(2, 0, 3, 1, 4)  # (K * N, heads, T, W / heads) each
        scores = queries @ keys.transpose(-1, -2) / math.sqrt(width / self._heads)
        if self._causal:
            later = torch.ones(places, places, dtype=torch.bool).triu(1)
            scores = scores.masked_fill(later, -1e9)
        mixed = (scores.softmax(-1) @ values).transpose(1, 2).reshape(count, rows, width)
        return self._write(weights, mixed)


def standardized(hidden: Tensor) -> Tensor:
    """Layer normalization over all units, without weights of its own."""
    return functional.layer_norm(hidden, hidden.shape[-1:])
