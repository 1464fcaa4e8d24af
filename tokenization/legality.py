"""Which tokens are legal at each position of a trial."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from optformer.data.studies.errors import TokenizationError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal
from optformer.data.studies.spaces import SearchSpace
from optformer.tokenization import symbols as sym
from optformer.tokenization.binning import bin_center, quantize
from optformer.tokenization.history import decode_values
from optformer.tokenization.metadata import check_limits
from optformer.tokenization.scaling import scale_numbers
from optformer.tokenization.vocabulary import Vocabulary


@functools.lru_cache(maxsize=256)
def legal_values(space: SearchSpace, flipped: tuple[bool, ...] | None = None) -> NDArray[np.bool_]:
    """Bins and choices that each slot may emit when its parameter is active.

    A bin of a stepped, whole or ordinal parameter is legal when it holds a legal value.

    Args:
        space: The space.
        flipped: Which slots stand on a mirrored axis (see `augment.flip_points`); None for none.

    Returns:
        Read-only bool [P, NUM_BINS + MAX_CHOICES]: bins first, then choices.

    Raises:
        TokenizationError: The space has more parameters or choices than can be written.
    """
    check_limits(space)
    legal = np.zeros((len(space), sym.NUM_BINS + sym.MAX_CHOICES), dtype=bool)
    for slot, parameter in enumerate(space.values()):
        if isinstance(parameter, Categorical):
            legal[slot, sym.NUM_BINS : sym.NUM_BINS + len(parameter.choices)] = True
            continue
        units = _level_units(parameter)
        if units is None:
            legal[slot, : sym.NUM_BINS] = True
            continue
        units = units.astype(np.float32)  # as in `Points`
        if flipped is not None and flipped[slot]:
            units = np.float32(1.0) - units
        legal[slot, quantize(units)] = True
    legal.setflags(write=False)
    return legal


def legality_mask(space: SearchSpace, vocabulary: Vocabulary) -> NDArray[np.bool_]:
    """Tokens that each position of a trial may be.

    Conditional slots may also be `<inactive>`; `legal_next` tells which of both.

    Returns:
        bool [P + 3, V]: the parameters, `*`, the metric (a bin or `<failed>`), `|`.
    """
    count = len(space)
    mask = np.zeros((count + 3, vocabulary.size), dtype=bool)
    legal = legal_values(space)
    mask[:count, vocabulary.bins.start : vocabulary.bins.stop] = legal[:, : sym.NUM_BINS]
    mask[:count, vocabulary.choices.start : vocabulary.choices.stop] = legal[:, sym.NUM_BINS :]
    conditional = [slot for slot, parameter in enumerate(space.values()) if parameter.when]
    mask[conditional, vocabulary.id(sym.INACTIVE)] = True
    mask[count, vocabulary.id(sym.PARAMETERS_END)] = True
    mask[count + 1, vocabulary.bins.start : vocabulary.bins.stop] = True
    mask[count + 1, vocabulary.id(sym.FAILED)] = True
    mask[count + 2, vocabulary.id(sym.TRIAL_END)] = True
    return mask


def legal_next(
    space: SearchSpace, vocabulary: Vocabulary, prefix: Sequence[int]
) -> NDArray[np.bool_]:
    """Tokens that may follow the first tokens of a trial, conditions settled.

    Args:
        space: The space.
        vocabulary: Gives the ids.
        prefix: Ids of the trial so far, at most P + 2.

    Returns:
        bool [V].

    Raises:
        TokenizationError: The prefix is longer than a trial, or holds a token out of place.
    """
    if len(prefix) > len(space) + 2:
        raise TokenizationError(
            f"a trial of this space has {len(space) + 3} tokens, got a prefix of {len(prefix)}"
        )
    row: NDArray[np.bool_] = legality_mask(space, vocabulary)[len(prefix)]
    if len(prefix) >= len(space):
        return row
    name = space.names[len(prefix)]
    if not space[name].when:
        return row
    inactive = vocabulary.id(sym.INACTIVE)
    if space.is_active(name, decode_values(space, vocabulary, prefix)):
        row[inactive] = False
    else:
        row[:] = False
        row[inactive] = True
    return row


def _level_units(parameter: Float | Int | Ordinal) -> NDArray[np.float64] | None:
    """Levels on the unit interval, at least one of every bin that holds any; None if continuous."""
    if isinstance(parameter, Ordinal):
        count = len(parameter.choices)
        return np.arange(count) / (count - 1) if count > 1 else np.array([0.5])
    if parameter.step is None:
        return None
    low, high, step = float(parameter.low), float(parameter.high), float(parameter.step)
    top = parameter.top_level
    if top <= 4 * sym.NUM_BINS:
        level = np.arange(top + 1)
    else:
        # A bin that holds a level holds the one nearest to its centre, or a neighbour of that.
        centers = bin_center(np.arange(sym.NUM_BINS))
        if parameter.log:
            numbers = np.exp(np.log(low) + centers * (np.log(high) - np.log(low)))
        else:
            numbers = low + centers * (high - low)
        nearest = np.rint((numbers - low) / step)
        level = np.clip(nearest[:, None] + np.array([-1, 0, 1]), 0, top).ravel()
    return np.clip(scale_numbers(parameter, low + level * step), 0.0, 1.0)
