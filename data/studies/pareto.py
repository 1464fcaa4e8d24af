"""Several goals at once: the Pareto front, and the volume that it dominates.

Gains are maximized: N points with one gain for each of M goals.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def nondominated(gains: Array) -> NDArray[np.bool_]:
    """Which points no other point dominates, (N,); of equal points all or none.

    Args:
        gains: Finite gains, (N, M).
    """
    # Points with large sums first: few of them rule most of the others out.
    mask = np.ones(len(gains), dtype=bool)
    for index in np.argsort(-gains.sum(-1), kind="stable"):
        if mask[index]:
            mask &= ~((gains <= gains[index]).all(-1) & (gains < gains[index]).any(-1))
    return mask


def nondominated_boxes(gains: Array, reference: Array) -> tuple[Array, Array]:
    """Disjoint boxes of what is better than a reference and not dominated by the points.

    They are found by slicing along the last goal, then along the one before it (While et al. 2006,
    "A faster algorithm for calculating hypervolume"). Their number K is at most N + 1 for two
    goals, and grows with the power M - 1 of N.

    Args:
        gains: Gains of the points, (N, M); N may be 0.
        reference: Gains that are worth nothing, (M,).

    Returns:
        Lower and upper corners, (K, M) each; upper corners may be infinite.
    """
    front = gains[(gains > reference).all(-1)]
    front = front[nondominated(front)]
    if len(reference) == 1:
        lower = front[:1] if len(front) else reference[None]
        return lower, np.full_like(lower, np.inf)
    front = front[np.argsort(-front[:, -1], kind="stable")]
    levels = np.concatenate([[np.inf], front[:, -1], reference[-1:]])
    lowers, uppers = [], []
    for above in range(len(front) + 1):
        high, low = levels[above], levels[above + 1]
        if low == high:
            continue
        lower, upper = nondominated_boxes(front[:above, :-1], reference[:-1])
        lowers.append(np.insert(lower, lower.shape[1], low, axis=1))
        uppers.append(np.insert(upper, upper.shape[1], high, axis=1))
    return np.concatenate(lowers), np.concatenate(uppers)


def hypervolume(gains: Array, reference: Array) -> float:
    """The volume that points dominate above a reference (Zitzler & Thiele 1998), at least 0.

    Args:
        gains: Finite gains, (N, M); points that are not better than the reference add nothing.
        reference: Gains that are worth nothing, (M,).
    """
    better = gains[(gains > reference).all(-1)]
    if not len(better):
        return 0.0
    # In units of what the points span, so that the difference below loses no digits.
    span = better.max(0) - reference
    lower, upper = nondominated_boxes((better - reference) / span, np.zeros(len(span)))
    missing = np.prod(np.clip(upper, None, 1.0) - np.clip(lower, None, 1.0), axis=-1).sum()
    return float((1.0 - missing) * np.prod(span))
