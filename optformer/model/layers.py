"""Building blocks of the model: T5-style layers and number features.

RMSNorm before each block, no biases, gated GELU, bucketed relative positions (Raffel et al. 2020;
Shazeer 2020).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from optformer.model.tensors import bin_centers

MIN_CYCLES, MAX_CYCLES = 0.25, 8.0  # range of frequencies over the unit interval

HIDDEN = -1e9
"""Attention score of what must not be seen."""


class NumberFeatures(nn.Module):
    """Embed numbers of the unit interval as numbers.

    Linear, quadratic, sine and cosine features at frequencies log-spaced over 0.25 to 8 cycles,
    damped by 1 / (1 + frequency).

    Attributes:
        cycles: The frequencies, in cycles over the unit interval.
        bins: Features of the bins' centers, (bins, 2 + 2 * frequencies).
    """

    cycles: Tensor
    bins: Tensor

    def __init__(self, frequencies: int, bins: int):
        super().__init__()
        cycles = torch.logspace(math.log2(MIN_CYCLES), math.log2(MAX_CYCLES), frequencies, base=2)
        self.register_buffer("cycles", cycles, persistent=False)
        self.register_buffer("bins", self(bin_centers(bins)), persistent=False)

    def forward(self, unit: Tensor) -> Tensor:
        """Features of numbers: (...) to (..., 2 + 2 * frequencies), always in float32."""
        unit = unit.float()[..., None]
        phase = 2 * math.pi * self.cycles * unit
        damping = 1 / (1 + self.cycles)
        centred = 2 * unit - 1
        return torch.cat(
            [centred, centred.square(), phase.sin() * damping, phase.cos() * damping], -1
        )


class ZeroLinear(nn.Linear):
    """A linear map without a bias whose weights begin at zero."""

    def __init__(self, width: int, out: int):
        super().__init__(width, out, bias=False)


class GatedFeedForward(nn.Module):
    """RMSNorm, then a feed-forward block gated by GELU; returns the residual's update."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = ZeroLinear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        normed = self.norm(x)
        update: Tensor = self.down(F.gelu(self.gate(normed), approximate="tanh") * self.up(normed))
        return update


class RelativeBias(nn.Module):
    """One learned number a head for each bucket of a signed distance (T5)."""

    def __init__(self, buckets: int, max_distance: int, heads: int):
        super().__init__()
        self.buckets, self.max_distance = buckets, max_distance
        self.table = nn.Embedding(buckets, heads)
        nn.init.zeros_(self.table.weight)

    def forward(self, distance: Tensor) -> Tensor:
        """Bias of signed distances: (N, K) to (H, N, K)."""
        bias: Tensor = self.table(relative_bucket(distance, self.buckets, self.max_distance))
        return bias.permute(2, 0, 1)


def relative_bucket(distance: Tensor, buckets: int, max_distance: int) -> Tensor:
    """Bucket of a signed distance: exact when small, logarithmic up to `max_distance`."""
    half = buckets // 2
    exact = half // 2
    size = distance.abs()
    scale = (half - exact) / math.log(max_distance / exact)
    far = exact + (torch.log(size.clamp(min=1) / exact) * scale).long()
    return (distance < 0) * half + torch.where(size < exact, size, far.clamp(exact, half - 1))


class EncoderLayer(nn.Module):
    """Self-attention over metadata tokens and a feed-forward block."""

    def __init__(self, width: int, heads: int, feedforward: int):
        super().__init__()
        self.heads = heads
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.project = nn.Linear(width, 3 * width, bias=False)
        self.output = ZeroLinear(width, width)
        self.feedforward = GatedFeedForward(width, feedforward)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Args: x (S, L, D); bias (S, H, L, L), -inf where masked. Returns (S, L, D)."""
        query, key, value = (
            _split_heads(part, self.heads) for part in self.project(self.norm(x)).chunk(3, -1)
        )
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        x = x + self.output(_merge_heads(mixed))
        transformed: Tensor = x + self.feedforward(x)
        return transformed


class DecoderLayer(nn.Module):
    """Attention to a context (metadata and metric tokens) and a feed-forward block.

    The caller decides whether a token is itself part of the context, so that one layer serves the
    history and the queries over it.
    """

    def __init__(self, width: int, heads: int, feedforward: int):
        super().__init__()
        self.heads = heads
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.output = ZeroLinear(width, width)
        self.feedforward = GatedFeedForward(width, feedforward)

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of tokens: (B, N, D) to two of (B, H, N, D / H)."""
        key, value = self.key_value(self.norm(x)).chunk(2, -1)
        return _split_heads(key, self.heads), _split_heads(value, self.heads)

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, bias: Tensor, see_self: bool
    ) -> Tensor:
        """Attend and transform.

        Args:
            x: Tokens, (B, N, D).
            keys: Keys of the context, (B, H, K, D / H).
            values: Values of the context, (B, H, K, D / H).
            bias: Added to the attention scores, -inf where hidden, (B, H, N, K).
            see_self: Let each token also attend to itself, outside the context.

        Returns:
            Tokens, (B, N, D).
        """
        normed = self.norm(x)
        query = _split_heads(self.query(normed), self.heads)  # (B, H, N, D / H)
        query = query * query.shape[-1] ** -0.5
        scores = (query @ keys.transpose(-1, -2)).float() + bias  # (B, H, N, K)
        if see_self:
            own_key, own_value = (
                _split_heads(part, self.heads) for part in self.key_value(normed).chunk(2, -1)
            )
            own_score = (query * own_key).sum(-1, keepdim=True).float()
            weights = torch.cat([scores, own_score], -1).softmax(-1).to(values.dtype)
            mixed = weights[..., :-1] @ values + weights[..., -1:] * own_value
        else:
            mixed = scores.softmax(-1).to(values.dtype) @ values
        x = x + self.output(_merge_heads(mixed))
        transformed: Tensor = x + self.feedforward(x)
        return transformed


def _split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, N, D) to (B, H, N, D / H)."""
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads).transpose(1, 2)


def _merge_heads(x: Tensor) -> Tensor:
    """(B, H, N, D / H) to (B, N, D)."""
    return x.transpose(1, 2).flatten(-2)
