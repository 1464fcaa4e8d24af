"""One training step's data: studies to read, and queries about them with known targets."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from optformer.model.tensors import HistoryTensors, MetadataTensors, PointTensors

IGNORED = -100
"""Target of a query without a known value (pending, missing or inactive)."""


@dataclass(frozen=True)
class Queries:
    """N queries a study; each sees the first `position` trials.

    Attributes:
        points: Queried points, (B, N, P); for a parameter, only the slots before its own are set.
        position: Number of trials each query sees, int64, (N,).
        target: Bin, or Q + choice, or Q for a failed metric; IGNORED for none; int64, (B, N).
    """

    points: PointTensors
    position: Tensor
    target: Tensor


@dataclass(frozen=True)
class StudyBatch:
    """B studies on S spaces (those of one space together) and the queries about them.

    Attributes:
        metadata: The spaces' metadata.
        history: T trials of each study.
        prefix: How many trials are given; they see each other both ways and fix the scale.
        metrics: Queries about the metric.
        values: Queries about parameters' values.
        value_slots: Slot of the parameter of each value query, int64, (N,).
        value_weights: Weight of each value query in the policy's loss, float32, (B, N); None
            weighs them equally.
        spare: Further metric queries after the prefix, to choose from; None for none.
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
        """Trials and metric queries, the unit of work."""
        studies, length = self.history.metric.shape
        return studies * (length + self.metrics.target.shape[1])
