"""Numbers of the unit interval as bin ids, and back to the bins' centres."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from optformer.data.studies.errors import TokenizationError
from optformer.tokenization.symbols import NUM_BINS

if TYPE_CHECKING:
    from torch import Tensor

EDGE_SLACK = 1e-4
"""Part of a bin by which every bin reaches below its edge: 0.7 is bin 700 in any precision."""


def quantize(unit: ArrayLike) -> NDArray[np.int64]:
    """Bin ids of scaled values.

    Bin k covers [k / NUM_BINS, (k + 1) / NUM_BINS); 1.0 joins the last one. Values within
    `EDGE_SLACK` bins below an edge go up, so that single and double precision agree on values that
    lie on edges (a tenth, say). Up to that, `bin_center` is at most half a bin away.

    Args:
        unit: Values in [0, 1], any shape.

    Returns:
        int64 bin ids in [0, NUM_BINS), of the same shape.

    Raises:
        TokenizationError: A value is NaN or outside [0, 1].
    """
    values = np.asarray(unit, dtype=np.float64)
    bad = ~((values >= 0.0) & (values <= 1.0))  # also true for NaN
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise TokenizationError(
            f"value at {where} is {float(values[where])}, expected [0, 1]; scale values before "
            "binning, and write absent ones as a status symbol"
        )
    return np.minimum(np.floor(values * NUM_BINS + EDGE_SLACK).astype(np.int64), NUM_BINS - 1)


def quantize_tensor(unit: Tensor) -> Tensor:
    """`quantize` for tensors on any device; what lies outside [0, 1] joins the outermost bins.

    Args:
        unit: Values without NaN, any shape.

    Returns:
        int64 bin ids in [0, NUM_BINS), of the same shape.
    """
    bins = (unit.double() * NUM_BINS + EDGE_SLACK).floor().long()
    return bins.clamp(0, NUM_BINS - 1)


def bin_center(bins: ArrayLike) -> NDArray[np.float64]:
    """Centres of bins on the unit interval.

    Args:
        bins: Bin ids in [0, NUM_BINS), any shape.

    Returns:
        float64 centres, (k + 0.5) / NUM_BINS, of the same shape.

    Raises:
        TokenizationError: An id is not a bin.
    """
    ids = np.asarray(bins)
    if not np.issubdtype(ids.dtype, np.integer):
        raise TokenizationError(f"bin ids are whole numbers, got an array of {ids.dtype}")
    bad = (ids < 0) | (ids >= NUM_BINS)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise TokenizationError(
            f"bin id at {where} is {int(ids[where])}, expected 0 to {NUM_BINS - 1}; "
            "subtract the first bin's token id"
        )
    return (ids + 0.5) / NUM_BINS
