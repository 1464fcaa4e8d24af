"""One training step's data: studies to read, and questions about them with known answers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from optformer.model.tensors import HistoryTensors, MetadataTensors, PointTensors

IGNORED = -100
"""Target of a question that has no answer (pending, missing or inactive)."""


@dataclass(frozen=True)
class Queries:
    """N questions a study; each sees the first `position` trials.

    Attributes:
        points: PointTensors, (B, N, P); for a parameter, those before the asked slot are set.
        position: Trials each question may see, int64, (N,).
        target: Bin, or Q + choice, or Q for a failed metric; IGNORED for none; int64, (B, N).
    """

    points: PointTensors
    position: Tensor
    target: Tensor


@dataclass(frozen=True)
class StudyBatch:
    """B studies on S spaces (those of one space together) and what to ask about them.

    Attributes:
        metadata: The spaces' metadata.
        history: T trials of each study.
        prefix: How many trials are given; they see each other both ways and fix the scale.
        metrics: Queries about the metric.
        values: Queries about parameters' values.
        value_slots: Parameter that each value question asks for, int64, (N,).
        value_weights: Weight of each value question in the policy's loss, float32, (B, N); None for
            equal ones.
        spare: Further questions about the metric after the prefix, to choose from; None for none.
    """

    metadata: MetadataTensors
    history: HistoryTensors
    prefix: int
    metrics: Queries
    values: Queries
    value_slots: Tensor
    value_weights: Tensor | None = None
    spare: Queries | None = None

    @property
    def trials(self) -> int:
        """Trials and metric questions, the unit of work."""
        studies, length = self.history.metric.shape
        return studies * (length + self.metrics.target.shape[1])
