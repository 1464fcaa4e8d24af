"""Means with intervals, and methods compared seed by seed, for the tables of the experiments."""

from __future__ import annotations

import numpy as np
from scipy.stats import t, wilcoxon


def half_width(values: np.ndarray) -> float:
    """Half of the 95 % interval of the mean, by Student's t; `values` has shape (n,), n >= 2."""
    return float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


def duel(ours: np.ndarray, theirs: np.ndarray, sign: float = 1.0) -> str:
    """Pairs won-lost-tied, and the two-sided p of Wilcoxon's signed-rank test.

    Args:
        ours: Values, shape (n,).
        theirs: Values of the same seeds, shape (n,).
        sign: 1 when larger is better, -1 when smaller is.
    """
    gain = sign * (ours - theirs)
    won, lost, tied = (gain > 0).sum(), (gain < 0).sum(), (gain == 0).sum()
    p = f" ({wilcoxon(gain).pvalue:.2g})" if won + lost else ""
    return f"{won}-{lost}" + (f"-{tied}" if tied else "") + p
