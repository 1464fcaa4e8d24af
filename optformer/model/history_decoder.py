"""The decoder over the history of trials, and over queries that only read it.

Shapes use the letters of `optformer.model.tensors`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from optformer.model.attention_bias import AttentionBias, TokenKind
from optformer.model.config import ModelConfig
from optformer.model.encoded import EncodedMetadata, KVCache
from optformer.model.layers import DecoderLayer
from optformer.model.tensors import PointTensors


class HistoryDecoder(nn.Module):
    """Attends to the metadata and to the trials' metric tokens.

    Args:
        config: Sizes of the model.
        own: Which of its layers to hold; all when absent.
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

    def extend(
        self,
        metadata: EncodedMetadata,
        cache: KVCache,
        tokens: Tensor,
        points: PointTensors,
        visible: Tensor,
    ) -> tuple[KVCache, Tensor]:
        """Read trials behind those of a cache.

        Args:
            metadata: Metadata of the studies.
            cache: What was read before; without keys when nothing was.
            tokens: Metric tokens of N trials, (B, N, D).
            points: Points of these trials.
            visible: Which of all T trials each of them may see, bool, (N, T).

        Returns:
            The cache of all trials, and the tokens after the layers, (B, N, D). After the last
            layer of the model they are its input: nothing reads what it makes of a trial.
        """
        past = cache.points.join(points)
        position = torch.arange(cache.length, past.values.shape[1], device=tokens.device)
        biases = self._biases(metadata, TokenKind.METRIC, points, past, position, visible)
        keys, values = [], []
        for place, ((number, layer), bias) in enumerate(zip(self._numbered(), biases, strict=True)):
            known = (
                (cache.keys[place], cache.values[place])
                if cache.keys
                else layer.keys_values(metadata.tokens)
            )
            own = layer.keys_values(tokens)
            keys.append(torch.cat([known[0], own[0]], 2))
            values.append(torch.cat([known[1], own[1]], 2))
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
        """Let queries read a history; nothing reads them.

        Args:
            metadata: Metadata of the studies.
            cache: The encoded history.
            tokens: N queries a study, (B, N, D).
            points: Points of the queries.
            kind: Kind of the queries.
            position: How many trials each may see, (N,); all of them when absent.

        Returns:
            Tokens after the layers, (B, N, D); after the last layer of the model, normed.
        """
        if position is None:
            position = torch.full((tokens.shape[1],), cache.length, device=tokens.device)
        visible = torch.arange(cache.length, device=tokens.device)[None, :] < position[:, None]
        biases = self._biases(metadata, kind, points, cache.points, position, visible)
        for (_, layer), keys, values, bias in zip(
            self._numbered(), cache.keys, cache.values, biases, strict=True
        ):
            tokens = layer(tokens, keys, values, bias, see_self=True)
        return self.norm(tokens) if self.last in self.own else tokens

    def _biases(
        self,
        metadata: EncodedMetadata,
        kind: TokenKind,
        points: PointTensors,
        past: PointTensors,
        position: Tensor,
        visible: Tensor,
    ) -> list[Tensor]:
        layers = slice(self.own.start, self.own.stop)
        found: list[Tensor] = self.bias(metadata, kind, points, past, position, visible, layers)
        return found

    def _numbered(self) -> Iterable[tuple[int, DecoderLayer]]:
        layers = cast("Iterable[tuple[str, DecoderLayer]]", self.layers.items())
        return ((int(number), layer) for number, layer in layers)
