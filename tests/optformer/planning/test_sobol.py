"""The Sobol points of the planner are SciPy's."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.stats import qmc

from optformer.planning.sobol import sobol_points


@pytest.mark.parametrize(("count", "dimension"), [(0, 3), (1, 1), (2, 5), (64, 7), (37, 64)])
def test_sobol_points__any_size__are_those_of_scipy_to_the_last_bit(count, dimension):
    ours, theirs = np.random.default_rng(dimension), np.random.default_rng(dimension)
    sobol_points(3, dimension, ours)  # earlier sequences of the same generator
    qmc.Sobol(dimension, rng=theirs)
    points = sobol_points(count, dimension, ours)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of numbers that are no power of two
        expected = qmc.Sobol(dimension, rng=theirs).random(count)
    assert np.array_equal(points, expected)
    assert ours.random() == theirs.random()  # neither draws from it
