"""Trials of the language of studies, read from token ids.

Letters as in `optformer.model.tensors`; R rows of trial tokens, at most one study a row, W = P + 3
tokens a trial: the parameters, `*`, the metric, `|`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from optformer.data.studies.errors import TokenizationError
from optformer.huggingface.token_spaces import TokenSpaces
from optformer.model.tensors import HistoryTensors, PointTensors
from optformer.tokenization import symbols as sym
from optformer.tokenization.binning import quantize_tensor
from optformer.tokenization.history import MetricKind, ValueKind

_START, _PAD = sym.SYMBOL_IDS[sym.START], sym.SYMBOL_IDS[sym.PAD]
_STAR, _END = sym.SYMBOL_IDS[sym.PARAMETERS_END], sym.SYMBOL_IDS[sym.TRIAL_END]
_INACTIVE, _MISSING = sym.SYMBOL_IDS[sym.INACTIVE], sym.SYMBOL_IDS[sym.MISSING]
_PENDING, _FAILED = sym.SYMBOL_IDS[sym.PENDING], sym.SYMBOL_IDS[sym.FAILED]
_BINS, _CHOICES = sym.BINS, sym.CHOICES


@dataclass(frozen=True)
class TrialRows:
    """R rows of T trials, the last of which is unfinished or empty.

    Attributes:
        space: Which space each row belongs to, int64, (R,).
        trials: The trials, R studies of T.
        complete: How many trials are finished in every row.
    """

    space: Tensor
    trials: HistoryTensors
    complete: int

    @property
    def finished(self) -> HistoryTensors:
        """All trials but the last; those of shorter rows are followed by missing ones."""
        return self.trials.first(self.trials.length - 1)

    def without_copies(self, copies: int) -> TrialRows:
        """One row of each so many consecutive ones that have the same trials."""
        points, rows = self.trials.points, slice(None, None, copies)
        trials = HistoryTensors(
            PointTensors(points.values[rows], points.kinds[rows]),
            self.trials.metric[rows],
            self.trials.metric_kinds[rows],
        )
        return TrialRows(self.space[rows], trials, self.complete)


def read_trials(
    spaces: TokenSpaces, space: Tensor, ids: Tensor, values: Tensor | None = None
) -> TrialRows:
    """Read trial tokens.

    Args:
        spaces: The spaces.
        space: Which of them each row belongs to, int64, (R,).
        ids: The start symbol, then trials; the last may be unfinished, and rows may be padded at
            the right, int64, (R, L).
        values: Exact scaled values of the first tokens, as `StudyEncoding.values` from the start
            symbol on, (R, at most L); later numbers stand at their bins' values.

    Raises:
        TokenizationError: A token stands where it cannot, or an exact value is not in its bin.
    """
    rows, length = ids.shape
    width = spaces.parameters + 3
    trials = (length - 1) // width + 1
    if not length or not (ids[:, 0] == _START).all():
        raise TokenizationError(f"trial tokens begin with {sym.START}, which ends the metadata")
    if ((ids[:, :-1] == _PAD) & (ids[:, 1:] != _PAD)).any():
        raise TokenizationError(
            f"trial tokens are padded at the right, got {sym.PAD} before others"
        )
    if values is not None and values.shape[1] > length:
        raise TokenizationError(f"got {values.shape[1]} exact values for {length} trial tokens")
    body = ids.new_full((rows, trials * width), _PAD)
    body[:, : length - 1] = ids[:, 1:]
    tokens = body.view(rows, trials, width)
    parameter, metric = tokens[..., :-3], tokens[..., -2]
    _check_positions(spaces, space, tokens)

    slots = torch.arange(spaces.parameters, device=ids.device)
    number, choice = is_in(parameter, _BINS), is_in(parameter, _CHOICES)
    bins = torch.where(number, parameter - _BINS.start, 0)
    point_values = torch.where(
        choice,
        (parameter - _CHOICES.start).float(),
        spaces.values[space[:, None, None], slots, bins],
    )
    measured = is_in(metric, _BINS)
    metric_values = (metric - _BINS.start + 0.5) / len(_BINS)
    if values is not None:
        exact = torch.zeros((rows, trials * width), device=ids.device)
        exact[:, : values.shape[1] - 1] = values[:, 1:]
        given = torch.arange(trials * width, device=ids.device) < values.shape[1] - 1
        exact, given = exact.view(tokens.shape), given.view(1, trials, width)
        numbers = torch.zeros_like(tokens, dtype=torch.bool)
        numbers[..., :-3], numbers[..., -2] = number, measured
        _check_exact(exact, tokens, numbers & given)
        point_values = torch.where(number & given[..., :-3], exact[..., :-3], point_values)
        metric_values = torch.where(given[..., -2], exact[..., -2], metric_values)
    kinds = _kinds(
        parameter,
        {ValueKind.NUMBER: number, ValueKind.CHOICE: choice, ValueKind.INACTIVE: _INACTIVE},
        ValueKind.MISSING,
    )
    metric_kinds = _kinds(
        metric,
        {MetricKind.VALUE: measured, MetricKind.PENDING: _PENDING, MetricKind.FAILED: _FAILED},
        MetricKind.MISSING,
    )
    return TrialRows(
        space=space,
        trials=HistoryTensors(
            points=PointTensors(point_values.float() * (number | choice), kinds),
            metric=metric_values.float() * measured,
            metric_kinds=metric_kinds,
        ),
        complete=(int((ids != _PAD).sum(-1).min()) - 1) // width,
    )


def is_in(tokens: Tensor, ids: range) -> Tensor:
    """Which tokens are in a range of ids, bool."""
    return (tokens >= ids.start) & (tokens < ids.stop)


def _kinds(tokens: Tensor, kinds: Mapping[int, Tensor | int], otherwise: int) -> Tensor:
    """The kind of each token: where a mask holds, or where it is a symbol."""
    out = torch.full_like(tokens, otherwise)
    for kind, which in kinds.items():
        out[tokens == which if isinstance(which, int) else which] = kind
    return out


def _check_positions(spaces: TokenSpaces, space: Tensor, tokens: Tensor) -> None:
    """Raise `TokenizationError` unless every token, (R, T, W), may stand where it does."""
    slots = torch.arange(spaces.parameters, device=tokens.device)
    star, metric, end = tokens[..., -3], tokens[..., -2], tokens[..., -1]
    statuses = torch.tensor([_PENDING, _FAILED, _MISSING, _PAD], device=tokens.device)
    legal = (
        spaces.readable[space[:, None, None], slots, tokens[..., :-3]].all(-1)
        & ((star == _STAR) | (star == _PAD))
        & (is_in(metric, _BINS) | torch.isin(metric, statuses))
        & ((end == _END) | (end == _PAD))
    )
    if not legal.all():
        row, trial = (~legal).nonzero()[0].tolist()
        raise TokenizationError(
            f"row {row}, trial {trial}: expected one token for each of {spaces.parameters} "
            f"parameters, then {sym.PARAMETERS_END}, the metric and {sym.TRIAL_END}, got the ids "
            f"{tokens[row, trial].tolist()}; encode trials with the study they belong to"
        )


def _check_exact(exact: Tensor, tokens: Tensor, numbers: Tensor) -> None:
    """Raise `TokenizationError` unless exact values, (R, T, W), lie in their tokens' bins."""
    wrong = numbers & (quantize_tensor(exact) != tokens - _BINS.start)
    if wrong.any():
        row, trial, slot = wrong.nonzero()[0].tolist()
        raise TokenizationError(
            f"row {row}, trial {trial}, token {slot}: exact value {float(exact[row, trial, slot])} "
            f"is not in bin {int(tokens[row, trial, slot]) - _BINS.start}; values stand beside "
            f"their tokens, from {sym.START} on"
        )
