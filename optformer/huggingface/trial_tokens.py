"""The model over token ids: next-token logits of trials written in the language of studies.

The model answers questions about points. A sequence model over tokens is the same model asked at
every position: after the tokens of a trial so far, which token comes next? A token stands for the
legal value nearest to its bin's centre, unless the exact value is given.

Letters as in `optformer.model.tensors`; R rows of trial tokens, at most one study a row, W = P + 3
tokens a trial: the parameters, `*`, the metric, `|`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from optformer.data.studies.errors import TokenizationError
from optformer.huggingface.token_spaces import NOT_FORCED, TokenSpaces
from optformer.model.encoded import EncodedHistory, EncodedMetadata
from optformer.model.network import OptFormerModel
from optformer.model.tensors import HistoryTensors, PointTensors
from optformer.tokenization import symbols as sym
from optformer.tokenization.binning import quantize_tensor
from optformer.tokenization.history import MetricKind, ValueKind

IGNORED = -100
"""Label without a loss, as everywhere in torch."""

_START, _PAD = sym.SYMBOL_IDS[sym.START], sym.SYMBOL_IDS[sym.PAD]
_STAR, _END = sym.SYMBOL_IDS[sym.PARAMETERS_END], sym.SYMBOL_IDS[sym.TRIAL_END]
_INACTIVE, _MISSING = sym.SYMBOL_IDS[sym.INACTIVE], sym.SYMBOL_IDS[sym.MISSING]
_PENDING, _FAILED = sym.SYMBOL_IDS[sym.PENDING], sym.SYMBOL_IDS[sym.FAILED]
_BINS, _CHOICES = sym.BINS, sym.CHOICES


@dataclass(frozen=True)
class TrialTokens:
    """Rows of trial tokens, read.

    Attributes:
        space: Which space each row belongs to, int64, (R,).
        points: T trials; the last is unfinished or empty, (R, T, P).
        metric: Scaled objective, 0 unless measured, float32, (R, T).
        metric_kinds: `MetricKind` of each outcome, int64, (R, T).
        complete: How many trials are finished in every row.
    """

    space: Tensor
    points: PointTensors
    metric: Tensor
    metric_kinds: Tensor
    complete: int

    @property
    def length(self) -> int:
        """Number of trials T."""
        return self.metric.shape[1]

    @property
    def finished(self) -> HistoryTensors:
        """All trials but the last; those of shorter rows are followed by missing ones."""
        trials = HistoryTensors(self.points, self.metric, self.metric_kinds)
        return trials.first(self.length - 1)

    def every(self, copies: int) -> TrialTokens:
        """The first of so many copies that each row has."""
        points = PointTensors(self.points.values[::copies], self.points.kinds[::copies])
        return TrialTokens(
            self.space[::copies],
            points,
            self.metric[::copies],
            self.metric_kinds[::copies],
            self.complete,
        )


def read_trials(
    spaces: TokenSpaces, space: Tensor, ids: Tensor, values: Tensor | None = None
) -> TrialTokens:
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
    _check_places(spaces, space, tokens)

    slots = torch.arange(spaces.parameters, device=ids.device)
    number, choice = _within(parameter, _BINS), _within(parameter, _CHOICES)
    bins = torch.where(number, parameter - _BINS.start, 0)
    point_values = torch.where(
        choice,
        (parameter - _CHOICES.start).float(),
        spaces.values[space[:, None, None], slots, bins],
    )
    measured = _within(metric, _BINS)
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
    return TrialTokens(
        space=space,
        points=PointTensors(point_values.float() * (number | choice), kinds),
        metric=metric_values.float() * measured,
        metric_kinds=metric_kinds,
        complete=(int((ids != _PAD).sum(-1).min()) - 1) // width,
    )


@dataclass(frozen=True)
class EncodedTrials:
    """Finished trials, encoded.

    Attributes:
        metadata: Metadata of each history.
        history: The histories; each is shared by as many consecutive rows.
        prefix: How many of the first trials see each other both ways.
    """

    metadata: EncodedMetadata
    history: EncodedHistory
    prefix: int


def encode_trials(
    model: OptFormerModel, spaces: TokenSpaces, trials: TrialTokens, prefix: int | None
) -> EncodedTrials:
    """Encode the finished trials of every row.

    Args:
        model: The network.
        spaces: The spaces.
        trials: What was read.
        prefix: How many of the first trials see each other both ways; all that are finished in
            every row when absent.
    """
    prefix = trials.complete if prefix is None else prefix
    metadata = spaces.metadata.select(trials.space)
    return EncodedTrials(metadata, model.encode_history(metadata, trials.finished, prefix), prefix)


def next_token_logits(
    model: OptFormerModel,
    spaces: TokenSpaces,
    trials: TrialTokens,
    encoded: EncodedTrials,
    positions: range,
) -> tuple[Tensor, Tensor]:
    """Which token comes next, after each of some tokens.

    Args:
        model: The network.
        spaces: The spaces.
        trials: The trials of R rows.
        encoded: Their histories, at least as long as the trials before the last.
        positions: Indices of the tokens, the start symbol being 0; N of them.

    Returns:
        Logits over the whole vocabulary, float32, -inf for what is not legal, (R, N, V), and the
        weight of each prediction in the loss, (R, N): 1 for a metric, 1 / P for a parameter that is
        chosen, 0 for what is certain and for trials of the prefix.
    """
    parameters, rows = spaces.parameters, len(trials.space)
    device = trials.space.device
    token = torch.tensor(positions, dtype=torch.long, device=device)
    trial, slot = token // (parameters + 3), token % (parameters + 3)
    logits = torch.full((rows, len(token), spaces.readable.shape[-1]), -torch.inf, device=device)
    weights = torch.zeros((rows, len(token)), device=device)
    logits[:, slot == parameters, _STAR] = 0.0
    logits[:, slot == parameters + 2, _END] = 0.0

    metadata, history = encoded.metadata, encoded.history
    shared = rows // metadata.spaces

    def grouped(points: PointTensors) -> PointTensors:
        """All queries of the rows that share a history in one row."""
        shape = (metadata.spaces, shared * points.values.shape[1], parameters)
        return PointTensors(points.values.reshape(shape), points.kinds.reshape(shape))

    metrics = (slot == parameters + 1).nonzero()[:, 0]
    if len(metrics):
        at = trial[metrics]
        points = PointTensors(trials.points.values[:, at], trials.points.kinds[:, at])
        answer = model.metric_logits(metadata, history, grouped(points), at.repeat(shared))
        answer = answer.reshape(rows, len(metrics), -1)
        logits[:, metrics, _BINS.start : _BINS.stop] = answer[..., :-1]
        logits[:, metrics, _FAILED] = answer[..., -1]
        weights[:, metrics] = 1.0

    values = (slot < parameters).nonzero()[:, 0]
    if len(values):
        at, which = trial[values], slot[values]
        points = trials.points.partial(at, which)
        answer = model.value_logits(
            metadata, history, grouped(points), which.repeat(shared), at.repeat(shared)
        ).reshape(rows, len(values), -1)
        active = _active(spaces, trials.space, points).gather(
            2, which[None, :, None].expand(rows, -1, 1)
        )[..., 0]
        forced = torch.where(active, spaces.forced[trials.space][:, which], _INACTIVE)
        certain = forced != NOT_FORCED
        first = _BINS.start  # bins and choices are neighbours, as in the answer
        logits[:, values, first : first + answer.shape[-1]] = answer.masked_fill(
            certain[..., None], -torch.inf
        )
        row, index = certain.nonzero(as_tuple=True)
        logits[row, values[index], forced[row, index]] = 0.0
        weights[:, values] = (~certain).float() / parameters
    return logits, weights * (trial >= encoded.prefix)


def next_token_loss(logits: Tensor, weights: Tensor, labels: Tensor) -> Tensor:
    """Weighted mean of the negative log-likelihood of the tokens that came next.

    Args:
        logits: As from `next_token_logits`, (R, N, V).
        weights: Weight of each prediction, (R, N).
        labels: The tokens, int64, (R, N); all but bins, choices and `<failed>` are left out.

    Returns:
        Nats, a scalar.

    Raises:
        TokenizationError: A label is not legal.
    """
    chosen = _within(labels, _BINS) | _within(labels, _CHOICES) | (labels == _FAILED)
    weights = weights * chosen
    target = labels.masked_fill(weights == 0, IGNORED)
    losses = F.cross_entropy(
        logits.flatten(0, 1), target.flatten(), ignore_index=IGNORED, reduction="none"
    ).view_as(weights)
    if losses.isinf().any():
        row, position = losses.isinf().nonzero()[0].tolist()
        raise TokenizationError(
            f"row {row}, position {position}: label {int(labels[row, position])} is not legal "
            "there; encode trials with the study they belong to"
        )
    return (losses * weights).sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)


def _active(spaces: TokenSpaces, space: Tensor, points: PointTensors) -> Tensor:
    """Which parameters take part in each point, given those before them, bool, (R, N, P)."""
    values, kinds = points.values.cpu().numpy(), points.kinds.cpu().numpy()
    owner = space.cpu().numpy()
    active = np.zeros(values.shape, dtype=bool)
    for index in np.unique(owner):
        mine = owner == index
        active[mine] = spaces.spaces[index].active(values[mine], kinds[mine])
    return torch.from_numpy(active).to(space.device)


def _within(tokens: Tensor, ids: range) -> Tensor:
    return (tokens >= ids.start) & (tokens < ids.stop)


def _kinds(tokens: Tensor, kinds: Mapping[int, Tensor | int], otherwise: int) -> Tensor:
    """The kind of each token: where a mask holds, or where it is a symbol."""
    out = torch.full_like(tokens, otherwise)
    for kind, which in kinds.items():
        out[tokens == which if isinstance(which, int) else which] = kind
    return out


def _check_places(spaces: TokenSpaces, space: Tensor, tokens: Tensor) -> None:
    """Raise `TokenizationError` unless every token, (R, T, W), may stand where it does."""
    slots = torch.arange(spaces.parameters, device=tokens.device)
    star, metric, end = tokens[..., -3], tokens[..., -2], tokens[..., -1]
    statuses = torch.tensor([_PENDING, _FAILED, _MISSING, _PAD], device=tokens.device)
    legal = (
        spaces.readable[space[:, None, None], slots, tokens[..., :-3]].all(-1)
        & ((star == _STAR) | (star == _PAD))
        & (_within(metric, _BINS) | torch.isin(metric, statuses))
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
