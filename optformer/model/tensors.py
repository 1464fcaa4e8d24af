"""What the model reads, as tensors.

Letters in shapes: S spaces, B studies (B is a multiple of S, studies of one space stand together),
L metadata tokens, P parameters, C categorical choices of a space, T trials, N points, V vocabulary,
Q bins, H heads, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from optformer.tokenization.history import HistoryEncoding, ValueKind
from optformer.tokenization.history import Points as EncodedPoints
from optformer.tokenization.metadata import MetadataEncoding

UNSET = len(ValueKind)
"""Kind of a value that is not chosen yet, beside the kinds of `ValueKind`."""

_Batch = TypeVar("_Batch")


@dataclass(frozen=True)
class MetadataTensors:
    """The metadata of S spaces.

    Attributes:
        ids: Token ids, int64, (S, L); padded with 0.
        mask: Which tokens are real, bool, (S, L).
        parameter: Slot that a token describes, -1 for none, int64, (S, L).
        choice: Choice that a token describes, -1 for none, int64, (S, L).
        choice_parameter: Slot of each choice, -1 for padding, int64, (S, C).
        choice_index: Position of each choice in its parameter, int64, (S, C).
        legal: Bins and choices each slot may take, bool, (S, P, Q + max_choices).
        slots: Slot vector each parameter uses, int64, (S, P).
    """

    ids: Tensor
    mask: Tensor
    parameter: Tensor
    choice: Tensor
    choice_parameter: Tensor
    choice_index: Tensor
    legal: Tensor
    slots: Tensor

    @property
    def max_choices(self) -> int:
        """Largest number of choices K of a parameter in these spaces."""
        real = bool((self.choice_parameter >= 0).any())
        return int(self.choice_index.max()) + 1 if real else 0


@dataclass(frozen=True)
class PointTensors:
    """Points of a search space.

    Attributes:
        values: Unit-interval values, or choice indices, float32, (B, N, P).
        kinds: `ValueKind` of each value, or UNSET, int64, (B, N, P).
    """

    values: Tensor
    kinds: Tensor

    def select(self, index: Tensor | slice) -> PointTensors:
        """Some of the points."""
        return PointTensors(self.values[:, index], self.kinds[:, index])

    def partial(self, index: Tensor, slot: Tensor) -> PointTensors:
        """Some of the points, with a slot and all later ones not chosen yet.

        Args:
            index: Which points, int64, (M,).
            slot: The first UNSET slot of each, int64, (M,).

        Returns:
            Points, (B, M, P).
        """
        later = torch.arange(self.values.shape[-1], device=slot.device) >= slot[:, None]
        points = self.select(index)
        return PointTensors(
            points.values.masked_fill(later, 0.0), points.kinds.masked_fill(later, UNSET)
        )

    def expand(self, studies: int) -> PointTensors:
        """The same points for each of B studies."""
        return PointTensors(self.values.expand(studies, -1, -1), self.kinds.expand(studies, -1, -1))

    def join(self, later: PointTensors) -> PointTensors:
        """These points, then others."""
        return PointTensors(
            torch.cat([self.values, later.values], 1), torch.cat([self.kinds, later.kinds], 1)
        )


@dataclass(frozen=True)
class HistoryTensors:
    """Trials with their outcomes.

    Attributes:
        points: What was tried, T points.
        metric: Scaled objective in [0, 1], float32, (B, T).
        metric_kinds: `MetricKind` of each outcome, int64, (B, T).
    """

    points: PointTensors
    metric: Tensor
    metric_kinds: Tensor

    @property
    def length(self) -> int:
        """Number of trials T."""
        return self.metric.shape[1]

    @property
    def studies(self) -> int:
        """Number of studies B."""
        return self.metric.shape[0]

    def visible(self, prefix: int) -> Tensor:
        """Which trials each trial sees: those before it, itself, and the whole prefix from inside.

        Args:
            prefix: How many of the first trials see each other both ways.

        Returns:
            bool, (T, T).
        """
        trial = torch.arange(self.length, device=self.metric.device)
        inside = trial < prefix
        return (trial[None, :] <= trial[:, None]) | (inside[None, :] & inside[:, None])

    def first(self, count: int) -> HistoryTensors:
        """The first trials."""
        points = self.points.select(slice(count))
        return HistoryTensors(points, self.metric[:, :count], self.metric_kinds[:, :count])

    def expand(self, studies: int) -> HistoryTensors:
        """The same trials for each of B studies."""
        return HistoryTensors(
            self.points.expand(studies),
            self.metric.expand(studies, -1),
            self.metric_kinds.expand(studies, -1),
        )

    def join(self, later: HistoryTensors) -> HistoryTensors:
        """These trials, then others."""
        return HistoryTensors(
            self.points.join(later.points),
            torch.cat([self.metric, later.metric], 1),
            torch.cat([self.metric_kinds, later.metric_kinds], 1),
        )


def metadata_batch(
    encodings: Sequence[MetadataEncoding],
    legal: Sequence[np.ndarray],
    slots: np.ndarray | None = None,
) -> MetadataTensors:
    """Pad the metadata of several spaces with the same number of parameters.

    Args:
        encodings: One encoding a space.
        legal: Legal bins and choices of each space, bool, (P, Q + max_choices).
        slots: Slot vectors to use, (S, P); 0..P-1 in order when absent.
    """
    length = max(len(encoding.ids) for encoding in encodings)
    choices = max(len(encoding.choice_parameter) for encoding in encodings)

    def padded(rows: Sequence[np.ndarray], width: int, fill: int) -> Tensor:
        out = np.full((len(rows), width), fill, dtype=np.int64)
        for row, values in zip(out, rows, strict=True):
            row[: len(values)] = values
        return torch.from_numpy(out)

    legal_array = np.stack(legal)
    if slots is None:
        slots = np.tile(np.arange(legal_array.shape[1]), (len(encodings), 1))
    lengths = torch.tensor([len(encoding.ids) for encoding in encodings])
    return MetadataTensors(
        ids=padded([encoding.ids for encoding in encodings], length, 0),
        mask=torch.arange(length) < lengths[:, None],
        parameter=padded([encoding.parameter for encoding in encodings], length, -1),
        choice=padded([encoding.choice for encoding in encodings], length, -1),
        choice_parameter=padded([e.choice_parameter for e in encodings], choices, -1),
        choice_index=padded([_ranks(e.choice_parameter) for e in encodings], choices, 0),
        legal=torch.from_numpy(legal_array),
        slots=torch.from_numpy(np.ascontiguousarray(slots)).long(),
    )


def points_batch(points: EncodedPoints) -> PointTensors:
    """One study's encoded points as a batch of one."""
    return PointTensors(
        values=torch.from_numpy(points.values).float()[None],
        kinds=torch.from_numpy(points.kinds).long()[None],
    )


def history_batch(history: HistoryEncoding) -> HistoryTensors:
    """One study's encoded history as a batch of one."""
    return HistoryTensors(
        points=points_batch(history.points),
        metric=torch.from_numpy(history.metric).float()[None],
        metric_kinds=torch.from_numpy(history.metric_kinds).long()[None],
    )


def bin_centers(bins: int, device: torch.device | None = None) -> Tensor:
    """Centers of Q equal bins of the unit interval, float64, (Q,)."""
    return (torch.arange(bins, dtype=torch.float64, device=device) + 0.5) / bins


def to_device(batch: _Batch, device: torch.device | str) -> _Batch:
    """The same batch with every tensor on a device; `batch` is a dataclass, perhaps nested."""
    moved: dict[str, Any] = {}
    for field in fields(batch):  # type: ignore[arg-type]
        value = getattr(batch, field.name)
        if isinstance(value, Tensor):
            value = value.to(device)
        elif is_dataclass(value):
            value = to_device(value, device)
        moved[field.name] = value
    return replace(batch, **moved)  # type: ignore[type-var]


def _ranks(owners: np.ndarray) -> np.ndarray:
    """Position of each entry within its run of equal owners."""
    starts = np.searchsorted(owners, owners, side="left")
    return np.arange(len(owners)) - starts
