"""The model: an encoder over metadata, a causal decoder over the history of trials.

A trial is one token, its metric token: the values reach it through a pool that binds every value to
its parameter by a product. Everything that is predicted (a metric, the next value of a parameter)
has a *query*: a token that attends to the metadata and the metric tokens, and to which nothing else
attends. So a candidate costs one token and a history one key a trial.

Shapes use the letters of `optformer.model.tensors`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from optformer.model.attention_bias import TokenKind
from optformer.model.config import ModelConfig
from optformer.model.encoded import EncodedHistory, EncodedMetadata
from optformer.model.gp_mixture import GPMixture, OutcomeWarp, fit_gp_mixture
from optformer.model.heads import MetricHead, ValueHead
from optformer.model.history_decoder import HistoryDecoder
from optformer.model.initialization import initialize
from optformer.model.layers import NumberFeatures
from optformer.model.metadata_encoder import MetadataEncoder
from optformer.model.tensors import HistoryTensors, MetadataTensors, PointTensors
from optformer.model.token_embedding import TokenEmbedding
from optformer.model.value_binding import ValueBinding


class OptFormerModel(nn.Module):
    """Predicts metrics and proposes values from metadata and a history of trials.

    Chen et al. 2022 ("OptFormer", US20230401451A1) in sequence and purpose; the embedding of
    numbers, the pooling of a trial and the attention to metric tokens only are this project's.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        numbers = NumberFeatures(config.frequencies, config.num_bins)
        self.encoder = MetadataEncoder(config)
        self.binding = ValueBinding(config, numbers)
        self.tokens = TokenEmbedding(config, numbers)
        self.decoder = HistoryDecoder(config)
        self.metric_head = MetricHead(config, numbers)
        self.value_head = ValueHead(config, numbers)
        initialize(self)

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
        """The training pass: predict metrics and values.

        Args:
            metadata: S spaces.
            history: B studies, those of a space together.
            prefix: How many of the first trials see each other both ways.
            metric_points: Points whose metric is predicted, (B, N, P).
            metric_position: How many trials each metric query sees, (N,).
            value_points: Partial points, (B, M, P).
            value_slot: Slot whose value is predicted for each partial point, int64, (M,).
            value_position: How many trials each value query sees, (M,).

        Returns:
            Metric logits (B, N, Q + 1) and value logits (B, M, Q + K).
        """
        encoded = self.encode_metadata(metadata).expand(history.studies)
        past = self.encode_history(encoded, history, prefix)
        return (
            self.metric_logits(encoded, past, metric_points, metric_position),
            self.value_logits(encoded, past, value_points, value_slot, value_position),
        )

    def encode_metadata(self, metadata: MetadataTensors) -> EncodedMetadata:
        """Read the metadata of S spaces."""
        encoded: EncodedMetadata = self.encoder(metadata, self.binding, self.decoder.bias)
        return encoded

    def encode_history(
        self,
        metadata: EncodedMetadata,
        history: HistoryTensors,
        prefix: int | None = None,
        further: HistoryTensors | None = None,
        warp: OutcomeWarp | None = None,
    ) -> EncodedHistory:
        """Encode trials from the first on.

        Args:
            metadata: Metadata of the studies.
            history: All trials.
            prefix: How many of the first trials see each other both ways (all when absent); later
                ones see the trials before them and themselves. 0 is causal throughout.
            further: More trials, which the Gaussian processes alone read.
            warp: Warp of the scale, where all of these trials are a part of the study's.
        """
        prefix = history.length if prefix is None else prefix
        gp = fit_gp_mixture(history.first(prefix), further, warp)
        return self._encode(metadata, history, prefix, gp)

    def condition_on(
        self, metadata: EncodedMetadata, past: EncodedHistory, history: HistoryTensors
    ) -> EncodedHistory:
        """Encode a history with trials behind it whose values are assumed.

        All see each other both ways. The processes are conditioned on the new trials, not refitted.

        Args:
            metadata: Metadata of the studies.
            past: The history without them, encoded.
            history: All trials.
        """
        return self._encode(metadata, history, history.length, past.gp.condition_on(history))

    def extend_history(
        self, metadata: EncodedMetadata, past: EncodedHistory, history: HistoryTensors
    ) -> EncodedHistory:
        """Append trials to an encoded history; each sees all trials before it and itself.

        Args:
            metadata: Metadata of the studies.
            past: The history without them, encoded.
            history: The new trials alone.
        """
        position = torch.arange(past.length + history.length, device=history.metric.device)
        visible = position[None, :] <= position[past.length :, None]
        tokens = self.tokens.trials(self.binding(metadata, history.points), history)
        cache, _ = self.decoder.extend(metadata, past.cache, tokens, history.points, visible)
        return EncodedHistory(cache, past.gp)

    def _encode(
        self, metadata: EncodedMetadata, history: HistoryTensors, prefix: int, gp: GPMixture
    ) -> EncodedHistory:
        tokens = self.tokens.trials(self.binding(metadata, history.points), history, gp)
        points, visible = history.points, history.visible(prefix)
        start = self.decoder.start(metadata, points)
        cache, _ = self.decoder.extend(metadata, start, tokens, points, visible)
        return EncodedHistory(cache, gp)

    def metric_logits(
        self,
        metadata: EncodedMetadata,
        history: EncodedHistory,
        points: PointTensors,
        position: Tensor | None = None,
    ) -> Tensor:
        """Predict the metric of points, each on its own.

        Args:
            metadata: Metadata of the studies.
            history: Their trials.
            points: N points a study.
            position: How many trials each query sees, (N,); all of them when absent.

        Returns:
            Logits over the bins and `failed`, float32, (B, N, Q + 1).
        """
        prediction = history.gp.predict(points, position)
        tokens = self.tokens.metric_queries(self.binding(metadata, points), prediction)
        state = self.decoder.query(
            metadata, history.cache, tokens, points, TokenKind.STAR, position
        )
        logits: Tensor = self.metric_head(state, prediction)
        return logits

    def value_logits(
        self,
        metadata: EncodedMetadata,
        history: EncodedHistory,
        points: PointTensors,
        slot: Tensor,
        position: Tensor | None = None,
    ) -> Tensor:
        """Predict the value of one parameter of a partial point, given the parameters before it.

        Args:
            metadata: Metadata of the studies.
            history: Their trials.
            points: N partial points a study; the predicted slot and those after it are UNSET.
            slot: Slot whose value is predicted for each point, int64, (N,).
            position: How many trials each query sees, (N,); all of them when absent.

        Returns:
            Logits over the bins and choices, -inf where not legal, float32, (B, N, Q + K).
        """
        tokens = self.tokens.value_queries(self.binding(metadata, points), metadata, slot)
        state = self.decoder.query(
            metadata, history.cache, tokens, points, TokenKind.PARAMETER, position
        )
        logits: Tensor = self.value_head(state, metadata, slot)
        return logits
