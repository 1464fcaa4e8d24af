"""The decoder: trials attend to metadata and trials, queries attend to both and to themselves.

Shapes use the letters of `optformer.model.tensors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from optformer.model.attention_bias import AttentionBias, TokenKind
from optformer.model.config import ModelConfig
from optformer.model.encoded import EncodedMetadata, KVCache
from optformer.model.layers import DecoderLayer
from optformer.model.tensors import PointTensors


class HistoryDecoder(nn.Module):
    """Layers over the metric tokens of trials and over queries, which only read.

    Args:
        config: Sizes of the model.
        own: The layers to hold; all of the model's when absent.
    """

    def __init__(self, config: ModelConfig, own: range | None = None):
        super().__init__()
        self.own = range(config.layers) if own is None else own
        self.last = config.layers - 1
        self.layers = nn.ModuleDict(
            {
                str(number): DecoderLayer(config.width, config.heads, config.feedforward)
                for number in self.own
            }
        )
        self.bias = AttentionBias(config)
        self.norm = nn.RMSNorm(config.width, eps=1e-6)

    def start(self, metadata: EncodedMetadata, points: PointTensors) -> KVCache:
        """The cache of a history without trials, which holds the metadata alone.

        Args:
            metadata: Metadata of the studies.
            points: Points of any number of trials; the cache's points have their type and device.
        """
        pairs = [layer.keys_values(metadata.tokens) for layer in self._layers]
        keys, values = zip(*pairs, strict=True)
        return KVCache(points.select(slice(0)), keys, values)

    def extend(
        self,
        metadata: EncodedMetadata,
        cache: KVCache,
        tokens: Tensor,
        points: PointTensors,
        visible: Tensor,
    ) -> tuple[KVCache, Tensor]:
        """Append trials to a cache.

        Args:
            metadata: Metadata of the studies.
            cache: The trials before them.
            tokens: Metric tokens of N trials, (B, N, D).
            points: Points of these trials.
            visible: Which of all T trials each of them sees, bool, (N, T).

        Returns:
            The cache of all T trials, and the tokens after these layers, (B, N, D). The last layer
            of the model leaves the tokens as they are: nothing reads them.
        """
        past = cache.points.join(points)
        position = torch.arange(cache.length, past.values.shape[1], device=tokens.device)
        rows = slice(self.own.start, self.own.stop)
        biases = self.bias(metadata, TokenKind.METRIC, points, past, position, visible, rows)
        keys, values = [], []
        for number, layer, old_keys, old_values, bias in zip(
            self.own, self._layers, cache.keys, cache.values, biases, strict=True
        ):
            new_keys, new_values = layer.keys_values(tokens)
            keys.append(torch.cat([old_keys, new_keys], 2))
            values.append(torch.cat([old_values, new_values], 2))
            if number < self.last:
                tokens = layer(tokens, keys[-1], values[-1], bias, see_self=False)
        return KVCache(past, tuple(keys), tuple(values)), tokens

    def query(
        self,
        metadata: EncodedMetadata,
        cache: KVCache,
        tokens: Tensor,
        points: PointTensors,
        kind: TokenKind,
        position: Tensor | None = None,
    ) -> Tensor:
        """Let queries attend to a history.

        Args:
            metadata: Metadata of the studies.
            cache: Their trials.
            tokens: N queries a study, (B, N, D).
            points: Points of the queries.
            kind: Kind of the queries.
            position: How many trials each query sees, (N,); all of them when absent.

        Returns:
            Tokens after these layers, (B, N, D); normed after the last layer of the model.
        """
        if position is None:
            position = torch.full((tokens.shape[1],), cache.length, device=tokens.device)
        visible = torch.arange(cache.length, device=tokens.device)[None, :] < position[:, None]
        rows = slice(self.own.start, self.own.stop)
        biases = self.bias(metadata, kind, points, cache.points, position, visible, rows)
        for layer, keys, values, bias in zip(
            self._layers, cache.keys, cache.values, biases, strict=True
        ):
            tokens = layer(tokens, keys, values, bias, see_self=True)
        return self.norm(tokens) if self.last in self.own else tokens

    @property
    def _layers(self) -> Sequence[DecoderLayer]:
        return cast("Sequence[DecoderLayer]", list(self.layers.values()))
