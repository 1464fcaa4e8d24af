"""Scale objective values to the unit interval: one function, in training and in use.

Values are maximized here; a minimized metric changes sign before. The scale is fitted on the
values seen so far. Above their median it is affine, so that expected improvement stays exact; below
it is logarithmic, so that one exploded run does not flatten the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

WIDTH = 0.7  # width of the interval that many values fill
PRIOR_COUNT = 4.0  # the interval is WIDTH n / (n + PRIOR_COUNT) wide after n values
BELOW = 4.0 / 7.0  # share of that interval below 0.5: more room is left above the best value
FLOOR = -2.5  # lowest value on the logarithmic side, in spreads
_ROUND_OFF = 1e-9
DEFAULT_SPREAD = 0.1  # spread of a single value, relative to its size


@dataclass(frozen=True)
class ObjectiveScale:
    """An invertible map between objective values and [0, 1].

    Attributes:
        median: Where the map turns from logarithmic to affine, shape (..., 1).
        spread: Unit of the affine side, above 0, shape (..., 1).
        slope: Unit-interval length of one spread, shape (..., 1).
        offset: Where the median lies on the unit interval, shape (..., 1).
    """

    median: Tensor
    spread: Tensor
    slope: Tensor
    offset: Tensor

    @property
    def floor(self) -> Tensor:
        """Where all values below the logarithmic side's end lie, shape (..., 1)."""
        return (self.offset + self.slope * FLOOR).clamp(0.0, 1.0)

    def below_floor(self, values: Tensor) -> Tensor:
        """Which values, shape (..., n), lie below the floor, where they cannot be told apart."""
        standardized = (_moderate(values) - self.median) / self.spread
        steps = -torch.log1p(-standardized.clamp(max=0.0))
        return (steps < FLOOR - _ROUND_OFF) | (self.offset + self.slope * steps < -_ROUND_OFF)

    def to_unit(self, values: Tensor) -> Tensor:
        """Map values, shape (..., n), to [0, 1]; values beyond the head-room are clipped."""
        compressed = _compress((_moderate(values) - self.median) / self.spread)
        return (self.offset + self.slope * compressed).clamp(0.0, 1.0)

    def from_unit(self, unit: Tensor) -> Tensor:
        """Map [0, 1], shape (..., n), back to values."""
        compressed = (unit - self.offset) / self.slope
        below = -torch.expm1(-compressed.clamp(max=0.0))
        return self.median + self.spread * torch.where(compressed < 0, below, compressed)


def fit_scale(
    values: Tensor, observed: Tensor, fallback_spread: Tensor | None = None
) -> ObjectiveScale:
    """Fit the scale on the observed values.

    With n observed values they fill an interval of width 0.7 n / (n + 4) around 0.5, with more room
    above than below. A single value, or equal values, lie at 0.5.

    Args:
        values: Objective values, larger is better, shape (..., n); unobserved entries are ignored.
        observed: Which entries count, bool, shape (..., n).
        fallback_spread: Spread to assume when the values do not differ, shape (..., 1); a tenth of
            the value's size, or 1 at zero, when absent.

    Returns:
        The scale, with one entry for each leading index.
    """
    if values.shape[-1] == 0:
        values = values.new_zeros((*values.shape[:-1], 1))
        observed = observed.new_zeros((*observed.shape[:-1], 1))
    values = _moderate(values)
    count = observed.sum(-1, keepdim=True)
    seen = values.masked_fill(~observed, torch.nan)
    median = torch.nan_to_num(seen.nanmedian(-1, keepdim=True).values)
    high = torch.where(count > 0, values.masked_fill(~observed, -torch.inf).amax(-1, True), median)
    low = torch.where(count > 0, values.masked_fill(~observed, torch.inf).amin(-1, True), median)

    size = torch.maximum(high.abs(), low.abs())
    # Round-off of differences: of the upper half alone, so that an exploded run does not count.
    noise, least = torch.finfo(values.dtype).eps * 8, torch.finfo(values.dtype).tiny
    upper = noise * torch.maximum(high.abs(), median.abs()) + least
    if fallback_spread is None:
        fallback_spread = torch.where(size > least, DEFAULT_SPREAD * size, torch.ones_like(size))
    spread = torch.where(high - median > upper, high - median, high - low)
    flat = high - low <= noise * size + least
    spread = torch.where(flat, fallback_spread, spread)

    width = WIDTH * count / (count + PRIOR_COUNT)
    bottom = _compress((low - median) / spread)
    top = (high - median) / spread
    span = torch.where(flat, torch.ones_like(spread), top - bottom)
    # A flat history has no width of its own: one spread gets what five values would fill.
    slope = torch.where(flat, torch.full_like(spread, WIDTH / 2), width / span)
    offset = torch.where(flat, torch.full_like(spread, 0.5), 0.5 - BELOW * width - slope * bottom)
    return ObjectiveScale(median=median, spread=spread, slope=slope, offset=offset)


def _moderate(values: Tensor) -> Tensor:
    """Values whose differences, and some multiples of these, are finite."""
    largest = torch.finfo(values.dtype).max / 64
    return values.clamp(-largest, largest)


def _compress(standardized: Tensor) -> Tensor:
    below = -torch.log1p(-standardized.clamp(max=0.0))
    return torch.where(standardized < 0, below, standardized).clamp(min=FLOOR)
