"""The part of the model that one stage of a pipeline holds; see `optformer.training.pipeline`.

Letters as in `optformer.model.tensors`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from optformer.model.attention_bias import TokenKind
from optformer.model.config import ModelConfig
from optformer.model.encoded import EncodedMetadata
from optformer.model.gp_mixture import GPMixture, GPMixturePrediction, fit_gp_mixture
from optformer.model.heads import MetricHead, ValueHead
from optformer.model.history_decoder import HistoryDecoder
from optformer.model.layers import NumberFeatures
from optformer.model.metadata_encoder import MetadataEncoder, decoder_mask
from optformer.model.token_embedding import TokenEmbedding
from optformer.model.value_binding import ValueBinding
from optformer.training.mixtures.batch import Queries, StudyBatch

COPIED = ("decoder.bias.", "decoder.norm.")
"""Beginnings of the names of weights that every stage has a copy of."""


class StageModel(nn.Module):
    """Some layers of the decoder; the first stage has the embeddings, the last the heads, as well.

    Weights have the names that they have in an `OptFormerModel`.

    Args:
        config: The whole model.
        stage: Which stage, from 0.
        stages: How many there are, at most one a layer.
    """

    def __init__(self, config: ModelConfig, stage: int, stages: int):
        super().__init__()
        self.config = config
        self.first, self.last = stage == 0, stage == stages - 1
        own = range(stage * config.layers // stages, (stage + 1) * config.layers // stages)
        numbers = NumberFeatures(config.frequencies, config.num_bins)
        self.decoder = HistoryDecoder(config, own)
        if self.first:
            self.encoder = MetadataEncoder(config)
            self.binding = ValueBinding(config, numbers)
            self.tokens = TokenEmbedding(config, numbers)
        if self.last:
            self.metric_head = MetricHead(config, numbers)
            self.value_head = ValueHead(config, numbers)

    def shapes(self, batch: StudyBatch) -> list[tuple[int, ...]]:
        """Shapes of what goes from stage to stage: see `enter`."""
        config, metadata = self.config, batch.metadata
        spaces, parameters = metadata.slots.shape
        studies = batch.history.studies
        tokens = parameters + metadata.choice_parameter.shape[1] + config.study_vectors
        return [
            (studies, batch.history.length, config.width),
            (studies, batch.metrics.target.shape[1], config.width),
            (studies, batch.values.target.shape[1], config.width),
            (spaces, tokens, config.width),
            (spaces, parameters, config.pool_width),
            (spaces, parameters, config.heads),
            (spaces, parameters, metadata.max_choices, config.pool_width),
        ]

    def enter(self, batch: StudyBatch) -> list[Tensor]:
        """Tokens of trials, metric and value queries; then the encoded metadata, by space."""
        metadata = self.encoder(batch.metadata, self.binding, self.decoder.bias)
        gp, prediction = _fit_gp(batch)
        metrics, values = batch.metrics.points, batch.values.points
        return [
            self.tokens.trials(self.binding(metadata, batch.history.points), batch.history, gp),
            self.tokens.metric_queries(self.binding(metadata, metrics), prediction),
            self.tokens.value_queries(self.binding(metadata, values), metadata, batch.value_slots),
            metadata.tokens,
            metadata.slots,
            metadata.distance_weights,
            metadata.choices,
        ]

    def through(self, carried: Sequence[Tensor], batch: StudyBatch) -> list[Tensor]:
        """Run this stage's layers."""
        trials, metrics, values, *encoded = carried
        metadata = self._metadata(encoded, batch)
        points, visible = batch.history.points, batch.history.visible(batch.prefix)
        start = self.decoder.start(metadata, points)
        cache, trials = self.decoder.extend(metadata, start, trials, points, visible)

        def attended(tokens: Tensor, queries: Queries, kind: TokenKind) -> Tensor:
            return self.decoder.query(
                metadata, cache, tokens, queries.points, kind, queries.position
            )

        metrics = attended(metrics, batch.metrics, TokenKind.STAR)
        values = attended(values, batch.values, TokenKind.PARAMETER)
        return [trials, metrics, values, *encoded]

    def logits(self, carried: Sequence[Tensor], batch: StudyBatch) -> tuple[Tensor, Tensor]:
        """Metric and value logits, those of the whole model."""
        _, metrics, values, *encoded = carried
        _, prediction = _fit_gp(batch)  # anew: it is not carried
        metadata = self._metadata(encoded, batch)
        return (
            self.metric_head(metrics, prediction),
            self.value_head(values, metadata, batch.value_slots),
        )

    def _metadata(self, encoded: Sequence[Tensor], batch: StudyBatch) -> EncodedMetadata:
        """The metadata but for the pooling of points, which only the first stage needs."""
        tokens, slots, distance_weights, choices = encoded
        return EncodedMetadata(
            tokens=tokens,
            mask=decoder_mask(batch.metadata, self.config.study_vectors),
            slots=slots,
            pooling=tokens.new_zeros(0),
            distance_weights=distance_weights,
            choices=choices,
            legal=batch.metadata.legal,
        ).expand(batch.history.studies)


def _fit_gp(batch: StudyBatch) -> tuple[GPMixture, GPMixturePrediction]:
    """A Gaussian-process mixture for each study, and its prediction for the metric queries."""
    gp = fit_gp_mixture(batch.history.first(batch.prefix))
    return gp, gp.predict(batch.metrics.points, batch.metrics.position)
