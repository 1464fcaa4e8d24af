"""One study as the model reads it: the history is encoded once, then points are predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.model.checkpoint import Checkpoint
from optformer.model.encoded import EncodedHistory, EncodedMetadata
from optformer.model.gp_mixture import OutcomeWarp
from optformer.model.network import OptFormerModel
from optformer.model.tensors import HistoryTensors, history_batch, metadata_batch, points_batch
from optformer.planning.distribution import BinnedDistribution, NormalDistribution
from optformer.planning.sobol import sobol_points
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

GP_LENGTH = 512  # trials that the Gaussian processes read at most: their cost grows with the cube
_SIGNAL_POINTS = 64  # quasi-random; enough for the first digit of a metadata signal


@dataclass(frozen=True)
class EncodedStudy:
    """The model, conditioned on the metadata and trials of a study.

    Attributes:
        model: The network.
        metadata: Encoded metadata.
        history: The trials that the model reads, which may be a part of the study's.
        encoded: Encoded trials.
        scale: The objective's scale, fitted on the measured trials.
        best: Best y measured, scalar; 0 when none is.
    """

    model: OptFormerModel
    metadata: EncodedMetadata
    history: HistoryTensors
    encoded: EncodedHistory
    scale: ObjectiveScale
    best: Tensor

    def predict(self, points: EncodedPoints) -> BinnedDistribution:
        """The model's prediction of y at N points."""
        logits = self.model.metric_logits(self.metadata, self.encoded, points_batch(points))[0]
        return BinnedDistribution(logits)

    def predict_by_gp(self, points: EncodedPoints) -> NormalDistribution:
        """The prediction of the Gaussian-process mixture alone, at N points; much cheaper."""
        mean, stddev = self.encoded.gp.predict(points_batch(points)).moments()
        return NormalDistribution(mean[0], stddev[0])

    def condition_on(self, points: EncodedPoints, ys: Sequence[float] | None) -> EncodedStudy:
        """Condition on more trials, which are pending.

        Args:
            points: The trials.
            ys: Values to assume as if they were measured; the pending placeholder when None.
        """
        count = len(points.values)
        kind = MetricKind.PENDING if ys is None else MetricKind.VALUE
        trials = HistoryTensors(
            points_batch(points),
            torch.tensor([[0.0] * count if ys is None else list(ys)]),
            torch.full((1, count), int(kind)),
        )
        history = self.history.join(trials)
        if kind is MetricKind.PENDING:
            encoded = self.model.extend_history(self.metadata, self.encoded, trials)
        else:
            encoded = self.model.condition_on(self.metadata, self.encoded, history)
        return replace(self, history=history, encoded=encoded)


class StudyEncoder:
    """Encodes histories of one study; its metadata are encoded once.

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
            self._metadata = self.model.encode_metadata(metadata)

    @cached_property
    def metadata_signal(self) -> float:
        """How much the metadata tell of where the metric is good, at least 0.

        The standard deviation over the space of the mean predicted before any trial, relative to
        the predicted standard deviation: .02 for parameters that mean nothing, .2 to .5 for models
        known from training.
        """
        space = SpaceTransform(self.config.space, {})
        unit = sobol_points(_SIGNAL_POINTS, len(space.names), np.random.default_rng(0))
        prediction = self.encode([]).predict(space.points(space.from_uniform(unit)))
        return float(prediction.mean.std() / prediction.stddev.mean())

    def encode(self, history: Sequence[Trial]) -> EncodedStudy:
        """Encode a history, pending and failed trials too."""
        model, config = self.model, self.config
        values, observed = objective_values(config, history)
        scale = fit_scale(torch.from_numpy(values), torch.from_numpy(observed))
        read = subsample_history(history, config, model.config.trained_length)
        further = sorted({*subsample_history(history, config, GP_LENGTH)} - {*read})
        trials, beyond = (
            history_batch(encode_history(config, [history[i] for i in part], scale))
            for part in (read, further)
        )
        with torch.no_grad():
            warp = None  # follows from the trials where all are read
            if len(read) < len(history):
                y = scale.to_unit(torch.from_numpy(values))[None]
                warp = OutcomeWarp.fit(y, torch.from_numpy(observed)[None])
            encoded = model.encode_history(self._metadata, trials, further=beyond, warp=warp)
        measured = trials.metric_kinds == MetricKind.VALUE
        best = trials.metric[measured].amax() if measured.any() else torch.zeros(())
        return EncodedStudy(model, self._metadata, trials, encoded, scale, best)


def subsample_history(history: Sequence[Trial], config: StudyConfig, limit: int) -> list[int]:
    """Choose the trials of a long history that the model reads.

    A third are the best, a third the most recent (pending trials among them first), and the rest is
    spread evenly over the others in the order of their values, so that every level of the response
    is represented.

    Args:
        history: All trials.
        config: Its goal orders the values.
        limit: Most trials to keep.

    Returns:
        Positions in the history, ascending.
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
