"""Means with intervals, and methods compared seed by seed, for the tables of the experiments."""

from __future__ import annotations

import numpy as np
from scipy.stats import t, wilcoxon


def half_width(values: np.ndarray) -> float:
    """Half of the 95 % interval of the mean, by Student's t; `values` has shape (n,), n >= 2."""
    return float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


def pairs(
    ours: np.ndarray, theirs: np.ndarray, sign: float = 1.0
) -> tuple[int, int, int, float | None]:
    """Pairs won, lost and tied, and the two-sided p of Wilcoxon's signed-rank test.

    Args:
        ours: Values, shape (n,).
        theirs: Values of the same seeds, shape (n,).
        sign: 1 when larger is better, -1 when smaller is.

    Returns:
        Three counts and p, which is None when all pairs are tied.
    """
    gain = sign * (ours - theirs)
    won, lost, tied = (int(count.sum()) for count in (gain > 0, gain < 0, gain == 0))
    return won, lost, tied, float(wilcoxon(gain).pvalue) if won + lost else None


def duel(ours: np.ndarray, theirs: np.ndarray, sign: float = 1.0) -> str:
    """What `pairs` gives, in a few letters: won-lost-tied (p)."""
    won, lost, tied, p = pairs(ours, theirs, sign)
    shown = "" if p is None else f" ({p:.2g})"
    return f"{won}-{lost}" + (f"-{tied}" if tied else "") + shown
