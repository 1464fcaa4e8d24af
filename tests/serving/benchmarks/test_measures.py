"""Scores of runs, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np

from optformer.serving.benchmarks.measures import (
    incumbents,
    normalised_regret,
    ranks,
    repeat_rate,
)


def test_incumbents__minimized_with_failures__keep_the_best_so_far() -> None:
    gains = incumbents([None, 3.0, 5.0, None, 1.0], -1.0, 5)
    assert gains.tolist() == [-np.inf, -3.0, -3.0, -3.0, -1.0]


def test_incumbents__run_ended_early__keep_the_last() -> None:
    assert incumbents([1.0, 2.0], 1.0, 4).tolist() == [1.0, 2.0, 2.0, 2.0]


def test_incumbents__longer_run__is_cut() -> None:
    assert incumbents([1.0, 2.0, 9.0], 1.0, 2).tolist() == [1.0, 2.0]


def test_normalised_regret__between_median_and_best__is_a_share() -> None:
    gains = np.array([-np.inf, 0.0, 5.0, 7.5, 10.0])
    assert normalised_regret(gains, 10.0, 5.0).tolist() == [1.0, 1.0, 1.0, 0.5, 0.0]


def test_normalised_regret__median_is_the_best__asks_only_for_it() -> None:
    assert normalised_regret(np.array([4.0, 5.0]), 5.0, 5.0).tolist() == [1.0, 0.0]


def test_ranks__ties__are_averaged() -> None:
    regrets = np.array([[0.0, 1.0], [0.5, 0.2], [0.0, 1.0]])
    assert ranks(regrets).tolist() == [[1.5, 2.5], [3.0, 1.0], [1.5, 2.5]]


def test_repeat_rate__two_of_four_points_known__is_a_half() -> None:
    points = [{"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": True, "b": 2}, {"a": True, "b": 2}]
    assert repeat_rate(points) == 0.5
    assert repeat_rate([]) == 0.0
