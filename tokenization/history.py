"""Trials as numbers: exact scaled values with kinds, and as token ids.

Ids are what text shows and what the model is asked to predict; the exact values stand beside them,
so that nothing is lost in a bin.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from optformer.data.studies.errors import SearchSpaceError, TokenizationError
from optformer.data.studies.parameters import Categorical, Float, Int, Parameter, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.tokenization import symbols as sym
from optformer.tokenization.binning import bin_center, quantize
from optformer.tokenization.scaling import scale_numbers
from optformer.tokenization.vocabulary import Vocabulary

if TYPE_CHECKING:  # torch is loaded only where a scale is applied
    from optformer.tokenization.objective_scale import ObjectiveScale

_SLACK = 1e-6  # round-off allowed outside the unit interval


class ValueKind(enum.IntEnum):
    """What stands in a parameter's slot of a trial. Append-only."""

    NUMBER = 0
    CHOICE = 1
    INACTIVE = 2
    MISSING = 3


class MetricKind(enum.IntEnum):
    """What stands in the metric's slot of a trial. Append-only."""

    VALUE = 0
    PENDING = 1
    FAILED = 2
    MISSING = 3


STATUS_SYMBOLS: Mapping[int, str] = {
    MetricKind.PENDING: sym.PENDING,
    MetricKind.FAILED: sym.FAILED,
    MetricKind.MISSING: sym.MISSING,
}
"""Symbol of every metric kind but VALUE, which is a bin."""


@dataclass(frozen=True)
class Points:
    """Points of a space, one row each.

    Attributes:
        values: float32 [N, P]; in [0, 1] for floats, ints and ordinals, the choice's index for
            categoricals, 0.0 where inactive or missing.
        kinds: int64 [N, P], a `ValueKind` each.
    """

    values: NDArray[np.float32]
    kinds: NDArray[np.int64]


def encode_points(space: SearchSpace, points: Sequence[Mapping[str, Value]]) -> Points:
    """Scale points to the unit interval (log where declared), choices to their index.

    An active parameter that is absent from a point is missing. float32 tells about 8 million
    values of an `Int` apart.

    Args:
        space: The space.
        points: N mappings of active parameters to legal values.

    Returns:
        Values and kinds, [N, P], slots in the space's order.

    Raises:
        TokenizationError: A name is unknown, an inactive parameter has a value, or a value is not
            legal; the message names the parameter and the point.
    """
    shape = (len(points), len(space))
    values = np.zeros(shape, dtype=np.float32)
    kinds = np.full(shape, int(ValueKind.MISSING), dtype=np.int64)
    known = set(space)
    for row, point in enumerate(points):
        if not known.issuperset(point):
            name = next(name for name in point if name not in known)
            raise TokenizationError(
                f"point {row} holds unknown parameter {name!r}; the space has {list(space)}"
            )
    for slot, (name, parameter) in enumerate(space.items()):
        given = np.array([name in point for point in points], dtype=bool)
        if parameter.when:
            active = np.array([space.is_active(name, point) for point in points], dtype=bool)
            if (given & ~active).any():
                row = int(np.argmax(given & ~active))
                raise TokenizationError(
                    f"point {row} gives parameter {name!r}, which is inactive there: it needs "
                    f"{dict(parameter.when)}"
                )
            kinds[~active, slot] = ValueKind.INACTIVE
        rows = np.flatnonzero(given).tolist()
        if rows:
            column = [points[row][name] for row in rows]
            values[rows, slot] = _scaled(name, parameter, column, rows)
            kinds[rows, slot] = (
                ValueKind.CHOICE if isinstance(parameter, Categorical) else ValueKind.NUMBER
            )
    return Points(values, kinds)


def decode_point(space: SearchSpace, values: ArrayLike, kinds: ArrayLike) -> dict[str, Value]:
    """One point from its scaled values, every value rounded to the nearest legal one.

    Args:
        space: The space.
        values: [P] as in `Points`.
        kinds: [P] as in `Points`; inactive and missing parameters are left out.

    Raises:
        TokenizationError: The shapes do not fit, or a choice's index is not one of its parameter.
    """
    row_values = np.asarray(values, dtype=np.float64)
    row_kinds = np.asarray(kinds)
    if row_values.shape != (len(space),) or row_kinds.shape != (len(space),):
        raise TokenizationError(
            f"expected values and kinds of shape ({len(space)},), one a parameter, got "
            f"{row_values.shape} and {row_kinds.shape}"
        )
    point: dict[str, Value] = {}
    for (name, parameter), value, kind in zip(
        space.items(), row_values.tolist(), row_kinds.tolist(), strict=True
    ):
        if kind in (ValueKind.INACTIVE, ValueKind.MISSING):
            continue
        if isinstance(parameter, Categorical):
            if not 0 <= value < len(parameter.choices):
                raise TokenizationError(
                    f"parameter {name!r}: choice index must be below {len(parameter.choices)}, "
                    f"got {value}"
                )
            point[name] = parameter.choices[int(value)]
        else:
            point[name] = parameter.from_unit(value)
    return point


@dataclass(frozen=True)
class HistoryEncoding:
    """Trials as numbers.

    Attributes:
        points: The T trials' parameters.
        metric: float32 [T], scaled objective in [0, 1], larger is better; 0.0 unless measured.
        metric_kinds: int64 [T], a `MetricKind` each.
    """

    points: Points
    metric: NDArray[np.float32]
    metric_kinds: NDArray[np.int64]


def objective_values(
    config: StudyConfig, trials: Sequence[Trial]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Values that are always maximized, and which trials have one.

    Args:
        config: Its goal gives the sign.
        trials: T trials; a trial stopped early counts with its last value.

    Returns:
        float64 [T] (0.0 without a value) and bool [T].
    """
    values = np.array(
        [0.0 if t.value is None else config.sign * t.value for t in trials], dtype=np.float64
    )
    return values, np.array([t.value is not None for t in trials], dtype=bool)


def encode_history(
    config: StudyConfig, trials: Sequence[Trial], scale: ObjectiveScale
) -> HistoryEncoding:
    """Scale trials: parameters by their space, the metric by a fitted scale.

    Args:
        config: The study.
        trials: T trials, in order.
        scale: Fitted (unbatched) on `objective_values` of the trials that may be known.

    Returns:
        The encoding of all T trials.

    Raises:
        TokenizationError: A trial does not fit the space.
    """
    import torch  # only here: encoding points alone needs no torch

    values, observed = objective_values(config, trials)
    unit = scale.to_unit(torch.from_numpy(values)).numpy().astype(np.float32)
    kinds = np.array([_METRIC_KINDS[trial.status] for trial in trials], dtype=np.int64)
    return HistoryEncoding(
        points=encode_points(config.space, [trial.params for trial in trials]),
        metric=np.where(observed, unit, np.float32(0.0)),
        metric_kinds=kinds,
    )


@dataclass(frozen=True)
class DecodedTrial:
    """A trial as its tokens tell it.

    Attributes:
        params: Legal values, each the nearest to its bin's centre; absent ones are left out.
        metric: Centre of the metric's bin in [0, 1], larger is better; None unless measured.
        metric_kind: What stands in the metric's place.
    """

    params: dict[str, Value]
    metric: float | None
    metric_kind: MetricKind


def value_ids(points: Points, vocabulary: Vocabulary) -> NDArray[np.int64]:
    """Token ids of points, int64 [N, P].

    Raises:
        TokenizationError: A scaled number is not in [0, 1].
    """
    kinds = points.kinds
    numbers = np.where(kinds == ValueKind.NUMBER, points.values, 0.0)
    choices = np.where(kinds == ValueKind.CHOICE, points.values, 0.0).astype(np.int64)
    return np.select(
        [kinds == ValueKind.NUMBER, kinds == ValueKind.CHOICE, kinds == ValueKind.INACTIVE],
        [
            vocabulary.bins.start + quantize(numbers),
            vocabulary.choices.start + choices,
            np.full(kinds.shape, vocabulary.id(sym.INACTIVE)),
        ],
        default=vocabulary.id(sym.MISSING),
    )


def trial_ids(encoding: HistoryEncoding, vocabulary: Vocabulary) -> NDArray[np.int64]:
    """Token ids of trials.

    Returns:
        int64 [T, P + 3]: a token a parameter, `*`, the metric, `|`.
    """
    kinds = encoding.metric_kinds
    statuses = np.array(
        [0, *(vocabulary.id(STATUS_SYMBOLS[kind]) for kind in list(MetricKind)[1:])]
    )
    metric = np.where(
        kinds == MetricKind.VALUE,
        vocabulary.bins.start + quantize(encoding.metric),
        statuses[kinds],
    )
    return np.concatenate(
        [
            value_ids(encoding.points, vocabulary),
            np.full((len(kinds), 1), vocabulary.id(sym.PARAMETERS_END)),
            metric[:, None],
            np.full((len(kinds), 1), vocabulary.id(sym.TRIAL_END)),
        ],
        axis=1,
    )


def decode_values(
    space: SearchSpace, vocabulary: Vocabulary, ids: Sequence[int]
) -> dict[str, Value]:
    """Values behind the first tokens of a trial.

    Args:
        space: The space.
        vocabulary: Gives the ids.
        ids: At most P tokens, one a parameter.

    Returns:
        Legal values, nearest to the bins' centres. Parameters that are inactive or missing, or
        whose condition the decoded values do not meet, are left out.

    Raises:
        TokenizationError: A token cannot stand where it does; the message names the parameter.
    """
    absent = (vocabulary.id(sym.INACTIVE), vocabulary.id(sym.MISSING))
    point: dict[str, Value] = {}
    for (name, parameter), token in zip(space.items(), ids, strict=False):
        if token in absent:
            continue
        if isinstance(parameter, Categorical):
            index = token - vocabulary.choices.start
            if not 0 <= index < len(parameter.choices):
                raise TokenizationError(
                    f"parameter {name!r} takes {sym.choice_symbol(0)} to "
                    f"{sym.choice_symbol(len(parameter.choices) - 1)}, "
                    f"got {vocabulary.piece(token)}"
                )
            value = parameter.choices[index]
        else:
            if token not in vocabulary.bins:
                raise TokenizationError(
                    f"parameter {name!r} takes a bin, got {vocabulary.piece(token)}"
                )
            value = parameter.from_unit(float(bin_center(token - vocabulary.bins.start)))
        if not parameter.when or space.is_active(name, point):
            point[name] = value
    return point


def decode_trials(space: SearchSpace, vocabulary: Vocabulary, ids: ArrayLike) -> list[DecodedTrial]:
    """Read trials from their tokens; a value comes back to within half a bin.

    Args:
        space: The space.
        vocabulary: Gives the ids.
        ids: Whole trials, int [T, P + 3].

    Raises:
        TokenizationError: The shape is wrong or a token cannot stand where it does.
    """
    rows = np.asarray(ids)
    if rows.ndim != 2 or rows.shape[1] != len(space) + 3:
        raise TokenizationError(
            f"expected trials of {len(space) + 3} tokens, [T, P + 3], got shape {rows.shape}"
        )
    statuses = {vocabulary.id(symbol): MetricKind(kind) for kind, symbol in STATUS_SYMBOLS.items()}
    trials: list[DecodedTrial] = []
    for row, (*values, star, metric, end) in enumerate(rows.tolist()):
        for token, symbol in ((star, sym.PARAMETERS_END), (end, sym.TRIAL_END)):
            if token != vocabulary.id(symbol):
                raise TokenizationError(
                    f"trial {row}: expected {symbol!r}, got {vocabulary.piece(token)!r}"
                )
        params = decode_values(space, vocabulary, values)
        if metric in vocabulary.bins:
            center = float(bin_center(metric - vocabulary.bins.start))
            trials.append(DecodedTrial(params, center, MetricKind.VALUE))
        elif metric in statuses:
            trials.append(DecodedTrial(params, None, statuses[metric]))
        else:
            raise TokenizationError(
                f"trial {row}: a metric is a bin or a status, got {vocabulary.piece(metric)!r}"
            )
    return trials


_METRIC_KINDS = {
    TrialStatus.COMPLETED: MetricKind.VALUE,
    TrialStatus.STOPPED: MetricKind.VALUE,
    TrialStatus.PENDING: MetricKind.PENDING,
    TrialStatus.FAILED: MetricKind.FAILED,
}


def _scaled(
    name: str, parameter: Parameter, column: list[Any], rows: list[int]
) -> NDArray[np.float64]:
    """Scaled values of one parameter, checked."""
    if isinstance(parameter, Float | Int):
        try:
            numbers = np.asarray(column, dtype=np.float64)
        except (TypeError, ValueError):
            raise TokenizationError(f"parameter {name!r} takes numbers, got {column!r}") from None
        unit = scale_numbers(parameter, numbers)
        bad = ~((unit >= -_SLACK) & (unit <= 1.0 + _SLACK))  # also true for NaN
        if bad.any():
            at = int(np.argmax(bad))
            raise TokenizationError(
                f"parameter {name!r} of point {rows[at]} must be in [{parameter.low}, "
                f"{parameter.high}], got "
                f"{column[at]!r}"
            )
        clipped: NDArray[np.float64] = np.clip(unit, 0.0, 1.0)
        return clipped
    index = {(isinstance(c, bool), c): i for i, c in enumerate(parameter.choices)}
    try:
        found = [index[isinstance(value, bool | np.bool_), value] for value in column]
    except (KeyError, TypeError):
        for row, value in zip(rows, column, strict=True):
            try:
                parameter.index(value)
            except SearchSpaceError as error:
                raise TokenizationError(f"parameter {name!r} of point {row}: {error}") from None
        raise
    if isinstance(parameter, Categorical):
        return np.asarray(found, dtype=np.float64)
    if len(parameter.choices) == 1:
        return np.full(len(found), 0.5)
    return np.asarray(found, dtype=np.float64) / (len(parameter.choices) - 1)
