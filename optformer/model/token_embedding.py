"""The tokens that the decoder works on: metric tokens of trials, and queries.

Shapes use the letters of `optformer.model.tensors`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from optformer.model.config import ModelConfig
from optformer.model.encoded import EncodedMetadata
from optformer.model.gp_mixture import GPMixture, GPMixturePrediction
from optformer.model.layers import NumberFeatures, ZeroLinear
from optformer.model.tensors import HistoryTensors
from optformer.tokenization.history import MetricKind


class TokenEmbedding(nn.Module):
    """Embeds trials as metric tokens, points as `*` tokens, partial points as parameter tokens.

    Args:
        config: Sizes of the model.
        numbers: Features of a number.
    """

    def __init__(self, config: ModelConfig, numbers: NumberFeatures):
        super().__init__()
        width, features = config.width, config.number_features
        self.numbers = numbers
        self.star = nn.Parameter(torch.zeros(width))
        self.star_pool = nn.Linear(width, width, bias=False)
        self.metric = nn.Parameter(torch.zeros(width))
        self.metric_pool = nn.Linear(width, width, bias=False)
        self.metric_value = nn.Linear(features, width, bias=False)
        self.metric_status = nn.Embedding(len(MetricKind), width)
        self.parameter = nn.Parameter(torch.zeros(width))
        self.parameter_pool = nn.Linear(width, width, bias=False)
        self.parameter_slot = nn.Linear(config.pool_width, width, bias=False)
        self.gp_trial = ZeroLinear(3 * features, width)
        self.gp_query = ZeroLinear(2 * features, width)

    def trials(
        self, points: Tensor, history: HistoryTensors, gp: GPMixture | None = None
    ) -> Tensor:
        """Metric tokens of trials.

        Args:
            points: Vectors of the trials' points, (B, T, D).
            history: The trials.
            gp: A mixture fitted to the first trials. The token of each of these then holds its
                leave-one-out prediction, and the quantile of the measured value in it.

        Returns:
            Tokens, (B, T, D).
        """
        measured = (history.metric_kinds == MetricKind.VALUE)[..., None]
        tokens: Tensor = (
            self.metric
            + self.metric_pool(points)
            + self.metric_value(self.numbers(history.metric)) * measured
            + self.metric_status(history.metric_kinds)
        )
        if gp is None:
            return tokens
        mean, deviation = gp.leave_one_out().moments()
        read = gp.history.metric.where(measured[:, : gp.length, 0], 0.0)
        quantile = torch.sigmoid((read - mean) / deviation)
        numbers = self._features(mean, _unit_log(deviation), quantile)
        expected = self.gp_trial(numbers) * measured[:, : gp.length]
        return tokens + F.pad(expected, (0, 0, 0, history.length - gp.length))

    def metric_queries(self, points: Tensor, prediction: GPMixturePrediction) -> Tensor:
        """The `*` tokens: queries for the metric of points.

        Args:
            points: Vectors of the points, (B, N, D).
            prediction: The mixture's prediction at the points.

        Returns:
            Tokens, (B, N, D).
        """
        mean, deviation = prediction.moments()
        expected = self.gp_query(self._features(mean, _unit_log(deviation)))
        pooled = self.star_pool(points)
        tokens: Tensor = self.star + pooled + expected * prediction.visible[:, None]
        return tokens

    def value_queries(self, points: Tensor, metadata: EncodedMetadata, slot: Tensor) -> Tensor:
        """The parameter tokens: queries for the value of a parameter.

        Args:
            points: Vectors of partial points, (B, N, D).
            metadata: Metadata of the studies.
            slot: Slot whose value is predicted for each point, int64, (N,).

        Returns:
            Tokens, (B, N, D).
        """
        slots = metadata.gather(metadata.slots, slot, len(points))
        tokens: Tensor = self.parameter + self.parameter_pool(points) + self.parameter_slot(slots)
        return tokens

    def _features(self, *numbers: Tensor) -> Tensor:
        return torch.cat([self.numbers(number) for number in numbers], -1)


def _unit_log(deviation: Tensor) -> Tensor:
    """Deviations on the unit interval: 0.001 and less at 0, 1 at 1."""
    return (1 + deviation.clamp(min=1e-3).log10() / 3).clamp(max=1.0)
