"""Numbers in the words of other tools: intervals, grids on either scale, bell curves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.parameters import Condition, Float, Int, Ordinal, Parameter
from optformer.data.studies.space_formats.translated import Note, expect_number, is_number

_LOG_LEVELS = 64  # members of a grid that are searched on a logarithmic scale
_MOST_LEVELS = 2**53  # of a grid
_TAIL = 0.005  # share of draws beyond either end of the range of an unbounded distribution
_LARGEST_EXPONENT = 690.0  # of e, as a number
_CLOSE = 1e-9  # round-off allowed where a bound is a multiple of a step


def interval(
    low: Any, high: Any, *, log: bool = False, whole: bool = False, when: Condition | None = None
) -> Parameter:
    """All numbers between two bounds, or all whole ones; one value where they are equal."""
    low, high = expect_number(low), expect_number(high)
    if low == high:
        return Ordinal([low], when=when)
    kind = Int if whole else Float
    return kind(low, high, log=log, when=when)


def stepped(
    low: Any,
    high: Any,
    step: Any,
    *,
    note: Note,
    log: bool = False,
    whole: bool | None = None,
    when: Condition | None = None,
) -> Parameter:
    """The numbers `low`, `low + step`, ... up to `high`.

    On a logarithmic scale they are a list in which those closest to evenly spaced points of the
    scale are left.

    Args:
        low: The first one.
        high: None lies above it.
        step: Distance of neighbours, above 0.
        note: Told when the list leaves some of them out.
        log: Search on a logarithmic scale.
        whole: Whether they are whole numbers; read from them when absent.
        when: Condition of the parameter.
    """
    low, high, step = expect_number(low), expect_number(high), _step(step)
    if low > high:
        raise SearchSpaceError(f"low must be at most high, got low={low} and high={high}")
    if whole is None:
        whole = all(isinstance(number, int) for number in (low, high, step))
    if whole:
        low, step = _whole(low), _whole(step)
    _check_step(low, high, step)
    levels = math.floor((high - low) / step + _CLOSE) + 1
    if levels == 1:
        return Ordinal([low], when=when)
    top = low + (levels - 1) * step
    if not log:
        if whole:
            return Int(low, _whole(top), step=_whole(step), when=when)
        return Float(low, max(top, high) if math.isclose(top, high) else top, step=step, when=when)
    if low < 0:
        raise SearchSpaceError(f"a logarithmic scale needs numbers of at least 0, got {low}")
    if whole and step == 1 and low > 0:
        return Int(low, _whole(top), log=True, when=when)
    kept = _log_spaced(low, step, levels)
    if len(kept) < levels:
        note(
            f"of the {levels} values {low:g}, {low + step:g}, ..., {top:g}, {len(kept)} that are "
            "evenly spaced on the logarithmic scale are searched"
        )
    values = [low + level * step for level in kept]
    return Ordinal([_whole(v) if whole else _short(v) for v in values], when=when)


def multiples(
    low: Any,
    high: Any,
    step: Any,
    *,
    note: Note,
    log: bool = False,
    whole: bool | None = None,
    when: Condition | None = None,
) -> Parameter:
    """The multiples of a step between two bounds; arguments as those of `stepped`."""
    low, high, step = expect_number(low), expect_number(high), _step(step)
    _check_step(low, high, step)
    first, last = math.ceil(low / step - _CLOSE), math.floor(high / step + _CLOSE)
    if first > last:
        raise SearchSpaceError(f"there is no multiple of {step} between {low} and {high}")
    if not (is_multiple(low, step) and is_multiple(high, step)):
        note(f"searched from {first * step:g} to {last * step:g}, the multiples of {step:g} within")
    if whole is None:
        whole = isinstance(step, int)
    first_value, last_value = first * step, last * step
    if not whole:
        first_value, last_value = _short(first_value), _short(last_value)
    return stepped(first_value, last_value, step, note=note, log=log, whole=whole, when=when)


def rounded_multiples(
    low: Any, high: Any, step: Any, *, note: Note, log: bool = False, when: Condition | None = None
) -> Parameter:
    """What rounding the numbers between two bounds to multiples of a step can give."""
    low, high, step = expect_number(low), expect_number(high), _step(step)
    _check_step(low, high, step)
    first, last = round(low / step) * step, round(high / step) * step
    return multiples(first, last, step, note=note, log=log, when=when)


def spread(
    distribution: Any,
    what: str,
    *,
    note: Note,
    step: Any = None,
    whole: bool = False,
    when: Condition | None = None,
) -> Parameter:
    """The range of a distribution that is not uniform, which is told.

    Where it has no bound, the range ends at the quantile of a half or of 99.5 percent. The scale is
    logarithmic where the logarithm of what is drawn is spread more evenly about its median, by the
    quartiles (Bowley's skewness).

    Args:
        distribution: A distribution of SciPy with its arguments.
        what: Its name.
        note: Told of the range.
        step: Values are rounded to multiples of it.
        whole: Whether whole numbers are drawn.
        when: Condition of the parameter.
    """
    low, high = (float(bound) for bound in distribution.support())
    tail_low, tail_high = (_three_digits(float(distribution.ppf(p))) for p in (_TAIL, 1 - _TAIL))
    quartiles = np.asarray(distribution.ppf([0.25, 0.5, 0.75]), float)
    if not np.all(np.isfinite([*quartiles, tail_low, tail_high])):
        raise SearchSpaceError(f"{what} has no quantiles; give a range")
    log = bool(low >= 0 and quartiles[0] > 0 and _skew(np.log(quartiles)) < _skew(quartiles))
    if not math.isfinite(low) or (log and low == 0):
        low = tail_low
    if not math.isfinite(high):
        high = tail_high
    if whole:
        low, high = round(low), round(high)
        log = log and low > 0
    scale = "a logarithmic" if log else "a linear"
    note(f"{what} is not uniform; it is searched from {low:g} to {high:g} on {scale} scale")
    if step is not None:
        return rounded_multiples(low, high, step, note=note, log=log, when=when)
    return interval(low, high, log=log, whole=whole, when=when)


def bell(
    mean: Any,
    deviation: Any,
    *,
    note: Note,
    log: bool = False,
    step: Any = None,
    when: Condition | None = None,
) -> Parameter:
    """The range of a normal distribution, or of one whose logarithm is normal."""
    from scipy import stats

    mean, deviation = float(expect_number(mean)), float(expect_number(deviation))
    if deviation <= 0:
        raise SearchSpaceError(f"a standard deviation must be above 0, got {deviation}")
    if log and abs(mean) + 3 * deviation > _LARGEST_EXPONENT:
        raise SearchSpaceError(
            f"a log-normal with mean {mean} and deviation {deviation} is too wide"
        )
    if log:
        distribution, what = stats.lognorm(s=deviation, scale=math.exp(mean)), "log-normal"
    else:
        distribution, what = stats.norm(mean, deviation), "normal"
    what = f"{what} with mean {mean:g} and deviation {deviation:g}"
    return spread(distribution, what, note=note, step=step, when=when)


def _step(step: Any) -> int | float:
    number = expect_number(step)
    if number <= 0:
        raise SearchSpaceError(f"a step must be above 0, got {number}")
    return number


def _check_step(low: float, high: float, step: float) -> None:
    if max(abs(low), abs(high)) > step * _MOST_LEVELS:
        raise SearchSpaceError(f"a step of {step} is too small for {low} to {high}; leave it out")


def _log_spaced(low: float, step: float, levels: int) -> list[int]:
    """The levels closest to evenly spaced points between the first positive value and the last."""
    first = 1 if low == 0 else 0
    targets = np.geomspace(low + first * step, low + (levels - 1) * step, _LOG_LEVELS)
    kept = {round((target - low) / step) for target in targets.tolist()}
    return sorted({0, levels - 1} | {min(max(level, 0), levels - 1) for level in kept})


def _skew(quartiles: np.ndarray[Any, Any]) -> float:
    low, middle, high = quartiles
    return float(abs(high + low - 2 * middle) / (high - low)) if high > low else 0.0


def is_multiple(number: float, step: float) -> bool:
    """Whether a number is a multiple of a step, but for round-off."""
    return abs(number / step - round(number / step)) <= _CLOSE * max(1.0, abs(number / step))


def _whole(number: Any) -> int:
    if not is_number(number) or number != int(number):
        raise SearchSpaceError(f"expected a whole number, got {number!r}")
    return int(number)


def _short(number: float) -> float:
    """0.3, not 0.30000000000000004."""
    return float(f"{number:.12g}")


def _three_digits(number: float) -> float:
    return float(f"{number:.3g}")
