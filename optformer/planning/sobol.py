"""Scrambled Sobol sequences, the points of `scipy.stats.qmc.Sobol` to the last bit.

SciPy's module takes as long to import as everything of the planner does.
"""

from __future__ import annotations

import numpy as np
from torch.quasirandom import SobolEngine

from optformer.planning.levels import Array

_BITS = SobolEngine.MAXBIT


def sobol_points(count: int, dimension: int, rng: np.random.Generator) -> Array:
    """The first points of a Sobol sequence, scrambled by a matrix and a shift (Matousek 1998).

    Args:
        count: Number of points N, best a power of two.
        dimension: Number of coordinates D.
        rng: A child of it draws the scrambling; it draws nothing itself.

    Returns:
        Points in [0, 1), (N, D).
    """
    rng = rng.spawn(1)[0]
    powers = np.int64(1) << np.arange(_BITS)
    shift = rng.integers(2, size=(dimension, _BITS), dtype=np.uint32) @ powers
    drawn = rng.integers(2, size=(dimension, _BITS, _BITS), dtype=np.uint32)
    lower = np.tril(drawn, -1) | np.eye(_BITS, dtype=np.uint32)
    # The first row of a matrix is of the highest bit.
    engine = SobolEngine(dimension)  # type: ignore[no-untyped-call]
    directions = engine.sobolstate.numpy()  # (D, bits)
    bits = directions[:, None, :] >> np.arange(_BITS)[::-1, None] & 1  # (D, bits, bits)
    scrambled = np.einsum("dij,djk->dik", lower, bits) % 2
    directions = (scrambled * powers[::-1, None]).sum(1)  # (D, bits)
    # Each point differs from the one before it by one direction (Antonov and Saleev 1979).
    number = np.arange(1, max(count, 1))
    lowest = np.log2(number & -number).astype(np.int64)
    steps = np.concatenate([shift[None], directions.T[lowest]])
    points: Array = np.bitwise_xor.accumulate(steps)[:count] / 2.0**_BITS
    return points
