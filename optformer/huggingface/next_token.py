"""The model over token ids: logits of the next token of trials, and their loss.

`OptFormerModel` predicts a metric or a parameter's value for a point. A sequence model over tokens
is the same model with a query at every position: after the tokens of a trial so far, which token
comes next?

Letters as in `optformer.huggingface.trial_tokens`; N positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from optformer.data.studies.errors import TokenizationError
from optformer.huggingface.token_spaces import NOT_FORCED, TokenSpaces
from optformer.huggingface.trial_tokens import TrialRows, is_in
from optformer.model.encoded import EncodedHistory, EncodedMetadata
from optformer.model.network import OptFormerModel
from optformer.model.tensors import PointTensors
from optformer.tokenization import symbols as sym

IGNORED = -100
"""Label without a loss, as everywhere in torch."""

_STAR, _END = sym.SYMBOL_IDS[sym.PARAMETERS_END], sym.SYMBOL_IDS[sym.TRIAL_END]
_INACTIVE, _FAILED = sym.SYMBOL_IDS[sym.INACTIVE], sym.SYMBOL_IDS[sym.FAILED]
_BINS, _CHOICES = sym.BINS, sym.CHOICES


@dataclass(frozen=True)
class EncodedRows:
    """Finished trials, encoded.

    Attributes:
        metadata: Metadata of each history.
        history: The histories; each is shared by as many consecutive rows.
        prefix: How many of the first trials see each other both ways.
    """

    metadata: EncodedMetadata
    history: EncodedHistory
    prefix: int


def encode_rows(
    model: OptFormerModel, spaces: TokenSpaces, rows: TrialRows, prefix: int | None
) -> EncodedRows:
    """Encode the finished trials of every row.

    Args:
        model: The network.
        spaces: The spaces of the rows.
        rows: The trials.
        prefix: How many of the first trials see each other both ways; all that are finished in
            every row when absent.
    """
    prefix = rows.complete if prefix is None else prefix
    metadata = spaces.metadata.select(rows.space)
    return EncodedRows(metadata, model.encode_history(metadata, rows.finished, prefix), prefix)


def next_token_logits(
    model: OptFormerModel,
    spaces: TokenSpaces,
    rows: TrialRows,
    encoded: EncodedRows,
    positions: range,
) -> tuple[Tensor, Tensor]:
    """Predict the token after each of some tokens.

    Args:
        model: The network.
        spaces: The spaces of the rows.
        rows: The trials.
        encoded: Their histories, at least as long as the trials before the last.
        positions: Indices of the tokens, the start symbol being 0; N of them.

    Returns:
        Logits over the whole vocabulary, float32, -inf for what is not legal, (R, N, V), and the
        weight of each prediction in the loss, (R, N): 1 for a metric, 1 / P for a parameter that is
        chosen, 0 for what is certain and for trials of the prefix.
    """
    parameters, device = spaces.parameters, rows.space.device
    position = torch.tensor(positions, dtype=torch.long, device=device)
    trial, slot = position // (parameters + 3), position % (parameters + 3)
    shape = (len(rows.space), len(position), spaces.readable.shape[-1])
    logits = torch.full(shape, -torch.inf, device=device)
    weights = torch.zeros(shape[:2], device=device)
    logits[:, slot == parameters, _STAR] = 0.0
    logits[:, slot == parameters + 2, _END] = 0.0

    metrics = (slot == parameters + 1).nonzero()[:, 0]
    if len(metrics):
        predicted = _metric_logits(model, rows, encoded, trial[metrics])
        logits[:, metrics, _BINS.start : _BINS.stop] = predicted[..., :-1]
        logits[:, metrics, _FAILED] = predicted[..., -1]
        weights[:, metrics] = 1.0

    values = (slot < parameters).nonzero()[:, 0]
    if len(values):
        points = rows.trials.points.partial(trial[values], slot[values])
        predicted = _value_logits(model, points, encoded, slot[values], trial[values])
        forced = _forced(spaces, rows.space, points, slot[values])
        certain = forced != NOT_FORCED
        first = _BINS.start  # bins and choices are neighbours, as in the prediction
        logits[:, values, first : first + predicted.shape[-1]] = predicted.masked_fill(
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
    chosen = is_in(labels, _BINS) | is_in(labels, _CHOICES) | (labels == _FAILED)
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


def _metric_logits(
    model: OptFormerModel, rows: TrialRows, encoded: EncodedRows, trial: Tensor
) -> Tensor:
    """Predict the metric of N trials from those before them, (R, N, Q + 1)."""
    points = rows.trials.points.select(trial)
    grouped, copies = _group(points, encoded)
    logits = model.metric_logits(encoded.metadata, encoded.history, grouped, trial.repeat(copies))
    return logits.reshape(*points.values.shape[:2], -1)


def _value_logits(
    model: OptFormerModel, points: PointTensors, encoded: EncodedRows, slot: Tensor, trial: Tensor
) -> Tensor:
    """Predict a value of N partial points from the trials before them, (R, N, Q + K)."""
    grouped, copies = _group(points, encoded)
    logits = model.value_logits(
        encoded.metadata, encoded.history, grouped, slot.repeat(copies), trial.repeat(copies)
    )
    return logits.reshape(*points.values.shape[:2], -1)


def _group(points: PointTensors, encoded: EncodedRows) -> tuple[PointTensors, int]:
    """The points of all rows that share a history in one row, and how many rows share one."""
    rows, count, parameters = points.values.shape
    copies = rows // encoded.metadata.spaces
    shape = (encoded.metadata.spaces, copies * count, parameters)
    return PointTensors(points.values.reshape(shape), points.kinds.reshape(shape)), copies


def _forced(spaces: TokenSpaces, space: Tensor, points: PointTensors, slot: Tensor) -> Tensor:
    """The token that a slot of each partial point must have, NOT_FORCED for none, (R, N)."""
    values, kinds = points.values.cpu().numpy(), points.kinds.cpu().numpy()
    owner = space.cpu().numpy()
    active = np.zeros(values.shape, dtype=bool)
    for index in np.unique(owner):
        own = owner == index
        active[own] = spaces.spaces[index].active(values[own], kinds[own])
    chosen = torch.from_numpy(active).to(space.device)[:, torch.arange(len(slot)), slot]
    return torch.where(chosen, spaces.forced[space][:, slot], _INACTIVE)
