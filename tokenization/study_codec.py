"""A whole study as one sequence of tokens: metadata, the start symbol, then trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from optformer.data.studies.errors import TokenizationError
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.tokenization import symbols as sym
from optformer.tokenization.binning import quantize
from optformer.tokenization.history import (
    STATUS_SYMBOLS,
    DecodedTrial,
    HistoryEncoding,
    ValueKind,
    decode_trials,
    encode_history,
    objective_values,
    trial_ids,
)
from optformer.tokenization.metadata import encode_metadata, metadata_from_text, metadata_to_text
from optformer.tokenization.objective_scale import ObjectiveScale, fit_scale
from optformer.tokenization.vocabulary import Vocabulary

SLOT_PARAMETERS_END = sym.MAX_PARAMETERS
"""Slot of `*`; parameters have the slots below."""

SLOT_METRIC = sym.MAX_PARAMETERS + 1
"""Slot of the metric token."""

SLOT_TRIAL_END = sym.MAX_PARAMETERS + 2
"""Slot of `|`."""

SLOT_STUDY = -1
"""Slot of study words and of the start symbol."""


@dataclass(frozen=True)
class StudyEncoding:
    """A study's tokens and where each belongs.

    Attributes:
        ids: int64 [L], token ids.
        values: float32 [L], exact scaled value of a number or metric token, index of a choice
            token, 0.0 elsewhere.
        trial: int64 [L], 0 for metadata and the start symbol, trials from 1.
        slot: int64 [L], a parameter's slot for its tokens and its metadata block, else a `SLOT_`.
        scale: What scaled the metric.
    """

    ids: NDArray[np.int64]
    values: NDArray[np.float32]
    trial: NDArray[np.int64]
    slot: NDArray[np.int64]
    scale: ObjectiveScale


@dataclass(frozen=True)
class DecodedStudy:
    """What the tokens of a study tell.

    Attributes:
        config: The study; free text as normalized by `metadata`.
        algorithm: Search method to imitate, if one is written.
        text: The metadata as text of the language.
        trials: The trials, metrics scaled; `ObjectiveScale.from_unit` gives original values.
    """

    config: StudyConfig
    algorithm: str | None
    text: str
    trials: tuple[DecodedTrial, ...]


def encode_study(
    config: StudyConfig,
    trials: Sequence[Trial],
    vocabulary: Vocabulary,
    *,
    algorithm: str | None = None,
    scale: ObjectiveScale | None = None,
) -> StudyEncoding:
    """Tokens of a study, the same ids as `vocabulary.encode(to_text(...))`.

    Args:
        config: The study.
        trials: Its T trials in order.
        vocabulary: Gives the ids.
        algorithm: Search method to imitate; None writes none.
        scale: Scale of the metric; fitted on all trials with a value when absent.

    Raises:
        TokenizationError: Something cannot be written; the message names the parameter.
    """
    metadata = encode_metadata(config, vocabulary, algorithm=algorithm)
    history, scale = _history(config, trials, scale)
    ids = trial_ids(history, vocabulary)  # (T, P + 3)
    points = history.points
    edge = np.zeros((len(ids), 1), dtype=np.float32)
    values = np.concatenate([points.values, edge, history.metric[:, None], edge], axis=1)
    slots = [*range(len(config.space)), SLOT_PARAMETERS_END, SLOT_METRIC, SLOT_TRIAL_END]
    head = len(metadata.ids) + 1
    start = np.array([vocabulary.id(sym.START)])
    numbers = np.repeat(np.arange(1, len(ids) + 1), len(slots))
    return StudyEncoding(
        ids=np.concatenate([metadata.ids, start, ids.ravel()]),
        values=np.concatenate([np.zeros(head, dtype=np.float32), values.ravel()]),
        trial=np.concatenate([np.zeros(head, dtype=np.int64), numbers]),
        slot=np.concatenate([metadata.parameter, [SLOT_STUDY], np.tile(slots, len(ids))]).astype(
            np.int64
        ),
        scale=scale,
    )


def to_text(
    config: StudyConfig,
    trials: Sequence[Trial],
    *,
    algorithm: str | None = None,
    scale: ObjectiveScale | None = None,
) -> str:
    """A study as text of the language, such as `...<start><512><c1><inactive>*<640>|`.

    Args:
        config: The study.
        trials: Its trials in order.
        algorithm: Search method to imitate; None writes none.
        scale: Scale of the metric; fitted on all trials with a value when absent.
    """
    history, _ = _history(config, trials, scale)
    parts = [metadata_to_text(config, algorithm=algorithm), sym.START]
    points = history.points
    for values, kinds, metric, metric_kind in zip(
        points.values.tolist(),
        points.kinds.tolist(),
        history.metric.tolist(),
        history.metric_kinds.tolist(),
        strict=True,
    ):
        parts.extend(_value_symbol(v, kind) for v, kind in zip(values, kinds, strict=True))
        parts.append(sym.PARAMETERS_END)
        parts.append(STATUS_SYMBOLS.get(metric_kind) or sym.bin_symbol(int(quantize(metric))))
        parts.append(sym.TRIAL_END)
    return "".join(parts)


def decode_study(ids: Sequence[int] | NDArray[np.int64], vocabulary: Vocabulary) -> DecodedStudy:
    """Read a study from its tokens.

    Args:
        ids: Metadata, the start symbol and whole trials.
        vocabulary: Gives the ids.

    Raises:
        TokenizationError: The start symbol is missing, the last trial is cut, or a token stands
            where it cannot.
    """
    tokens = np.asarray(ids, dtype=np.int64)
    starts = np.flatnonzero(tokens == vocabulary.id(sym.START))
    if len(starts) != 1:
        raise TokenizationError(
            f"a study holds {sym.START} once, between metadata and trials; got it {len(starts)} "
            "times"
        )
    head, tail = tokens[: starts[0]], tokens[starts[0] + 1 :]
    text = vocabulary.decode(head.tolist())
    config, algorithm = metadata_from_text(text)
    width = len(config.space) + 3
    if len(tail) % width:
        raise TokenizationError(
            f"a trial of this study has {width} tokens, got {len(tail)}: the last trial is cut; "
            "pass whole trials"
        )
    trials = decode_trials(config.space, vocabulary, tail.reshape(-1, width))
    return DecodedStudy(config, algorithm, text, tuple(trials))


def _value_symbol(value: float, kind: int) -> str:
    if kind == ValueKind.NUMBER:
        return sym.bin_symbol(int(quantize(value)))
    if kind == ValueKind.CHOICE:
        return sym.choice_symbol(int(value))
    return sym.INACTIVE if kind == ValueKind.INACTIVE else sym.MISSING


def _history(
    config: StudyConfig, trials: Sequence[Trial], scale: ObjectiveScale | None
) -> tuple[HistoryEncoding, ObjectiveScale]:
    if scale is None:
        values, observed = objective_values(config, trials)
        scale = fit_scale(torch.from_numpy(values), torch.from_numpy(observed))
    return encode_history(config, trials, scale), scale
