"""Do methods differ by more than the choice of tasks explains?

Friedman's test over tasks, then Nemenyi's for every pair of methods (Demsar 2006, "Statistical
comparisons of classifiers over multiple data sets"); Wilcoxon's signed ranks for two methods alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import friedmanchisquare, wilcoxon

from optformer.data.studies.extras import importing
from optformer.serving.benchmarks.measures import Array

LEVEL = 0.05
"""Significance level."""

MIN_TASKS = 3
"""Fewer tasks are not tested."""


@dataclass(frozen=True)
class SignificanceTest:
    """Outcome of the tests at one budget.

    Attributes:
        budget: Number of trials.
        p_value: That all methods are alike: Friedman's, or Wilcoxon's when there are two.
        pairs: p-value of each pair of methods, symmetric with ones on the diagonal, shape (M, M).
    """

    budget: int
    p_value: float
    pairs: Array


def compare(regrets: Array, budget: int) -> SignificanceTest:
    """Test whether methods differ.

    Args:
        regrets: Regret after `budget` trials, seeds averaged, shape (M, K), M at least 2 and K at
            least `MIN_TASKS`.
        budget: Number of trials, for the result.

    Raises:
        MissingExtraError: scikit-posthocs is not installed.
    """
    methods = len(regrets)
    if np.ptp(regrets, axis=0).max() == 0:  # all tied on every task: the statistics are 0 / 0
        return SignificanceTest(budget, 1.0, np.ones((methods, methods)))
    if methods == 2:
        p_value = float(wilcoxon(regrets[0], regrets[1]).pvalue)
        return SignificanceTest(budget, p_value, np.array([[1.0, p_value], [p_value, 1.0]]))
    with importing("significance tests", "scikit-posthocs"):
        from scikit_posthocs import posthoc_nemenyi_friedman
    p_value = float(friedmanchisquare(*regrets).pvalue)
    pairs = posthoc_nemenyi_friedman(regrets.T).to_numpy(dtype=np.float64)
    return SignificanceTest(budget, p_value, pairs)


def differing(test: SignificanceTest, ranks: Sequence[float]) -> list[tuple[int, int, float]]:
    """The pairs of methods that differ: better one, worse one, p-value, smallest first.

    After Friedman's test only if that one rejects that all methods are alike.
    """
    if math.isnan(test.p_value) or test.p_value >= LEVEL:
        return []
    found = []
    for i in range(len(ranks)):
        for j in range(i):
            if test.pairs[i, j] < LEVEL:
                better, worse = (i, j) if ranks[i] < ranks[j] else (j, i)
                found.append((better, worse, float(test.pairs[i, j])))
    return sorted(found, key=lambda pair: pair[2])
