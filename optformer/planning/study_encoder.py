"""The model asked about one study: history encoded once, points scored against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from scipy.stats import qmc
from torch import Tensor

from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.model.checkpoint import Checkpoint
from optformer.model.gp_mixture import GPMixturePrediction
from optformer.model.network import EncodedMetadata, KVCache, OptFormerModel
from optformer.model.tensors import HistoryTensors, history_batch, metadata_batch, points_batch
from optformer.planning.acquisition import moments
from optformer.planning.space_transform import SpaceTransform
from optformer.tokenization.history import (
    MetricKind,
    encode_history,
    objective_values,
)
from optformer.tokenization.history import Points as EncodedPoints
from optformer.tokenization.legality import legal_values
from optformer.tokenization.metadata import encode_metadata
from optformer.tokenization.objective_scale import ObjectiveScale, fit_scale

_SPREAD_POINTS = 64


@dataclass(frozen=True)
class EncodedStudy:
    """A study as the model sees it.

    Attributes:
        model: The network.
        memory: Its reading of the metadata.
        history: The trials that it reads.
        cache: Its reading of them.
        scale: The objective's scale, fitted on the measured trials.
        best: Best scaled value measured, scalar; 0 when none is.
    """

    model: OptFormerModel
    memory: EncodedMetadata
    history: HistoryTensors
    cache: KVCache
    scale: ObjectiveScale
    best: Tensor

    def metric_logits(self, points: EncodedPoints) -> Tensor:
        """Logits over bins and `failed` of each point, (N, Q + 1)."""
        return self.model.metric_logits(self.memory, self.cache, points_batch(points))[0]

    def expected(self, points: EncodedPoints) -> GPMixturePrediction:
        """What the processes alone expect of each of N points."""
        return self.cache.processes.predict(points_batch(points))

    def condition_on(self, point: EncodedPoints, metric: float | None) -> EncodedStudy:
        """The study with one more trial: pending, or with a value assumed as if it were measured.

        Args:
            point: The trial, one row.
            metric: Scaled value to assume; the pending placeholder when absent.
        """
        kind = MetricKind.PENDING if metric is None else MetricKind.VALUE
        trial = HistoryTensors(
            points_batch(point),
            torch.tensor([[metric or 0.0]]),
            torch.tensor([[int(kind)]]),
        )
        history = self.history.join(trial)
        if kind is MetricKind.PENDING:
            cache = self.model.extend_history(self.memory, self.cache, trial)
        else:
            cache = self.model.assume(self.memory, self.cache, history)
        return replace(self, history=history, cache=cache)


class StudyEncoder:
    """Encodes histories of one study; its metadata are read once.

    Args:
        checkpoint: The model.
        config: The study.
        algorithm: Search method to imitate, named in the metadata.
    """

    def __init__(self, checkpoint: Checkpoint, config: StudyConfig, algorithm: str | None = None):
        self.model, self.config = checkpoint.model, config
        encoding = encode_metadata(config, checkpoint.vocabulary, algorithm=algorithm)
        metadata = metadata_batch([encoding], [legal_values(config.space)])
        with torch.no_grad():
            self._memory = self.model.encode_metadata(metadata)

    @cached_property
    def metadata_signal(self) -> float:
        """How much the metadata tell of where the metric is good, at least 0.

        The spread of the predicted means over the space before any trial, in units of the predicted
        deviation: .02 for parameters that mean nothing, .2 to .5 for models known from training.
        """
        space = SpaceTransform(self.config.space, {})
        unit = qmc.Sobol(len(space.names), rng=np.random.default_rng(0)).random(_SPREAD_POINTS)
        mean, deviation = moments(
            self.encode([]).metric_logits(space.points(space.from_uniform(unit)))
        )
        return float(mean.std() / deviation.mean())

    def encode(self, history: Sequence[Trial]) -> EncodedStudy:
        """Encode a history, pending and failed trials too."""
        model, config = self.model, self.config
        values, observed = objective_values(config, history)
        scale = fit_scale(torch.from_numpy(values), torch.from_numpy(observed))
        kept = [history[i] for i in subsample_history(history, config, model.config.trained_length)]
        encoded = history_batch(encode_history(config, kept, scale))
        with torch.no_grad():
            cache = model.encode_history(self._memory, encoded)
        measured = encoded.metric_kinds == MetricKind.VALUE
        best = encoded.metric[measured].amax() if measured.any() else torch.zeros(())
        return EncodedStudy(model, self._memory, encoded, cache, scale, best)


def subsample_history(history: Sequence[Trial], config: StudyConfig, limit: int) -> list[int]:
    """Which trials of a long history the model reads, in order.

    A third are the best, a third the most recent (pending trials among them first), and the rest is
    spread evenly over the others in the order of their values, so that every level of the response
    is represented.

    Args:
        history: All trials.
        config: Its goal orders the values.
        limit: Most trials to keep.
    """
    if len(history) <= limit:
        return list(range(len(history)))
    values, observed = objective_values(config, history)
    rank = np.where(observed, values, -np.inf)
    order = np.argsort(-rank, kind="stable")
    pending = [i for i, t in enumerate(history) if t.status is TrialStatus.PENDING]
    kept = set(order[: limit // 3].tolist())
    recent = [*reversed(pending), *reversed(range(len(history)))]
    for index in recent:
        if len(kept) >= 2 * limit // 3:
            break
        kept.add(index)
    rest = [int(i) for i in order if int(i) not in kept]
    chosen = np.linspace(0, len(rest) - 1, limit - len(kept)).round().astype(int)
    kept.update(rest[i] for i in chosen)
    return sorted(kept)
