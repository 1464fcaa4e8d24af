"""Scores of runs, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from optformer.serving.benchmarks.measures import (
    bootstrap_limits,
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


def test_bootstrap_limits__equal_tasks__have_no_width() -> None:
    assert bootstrap_limits(np.full(7, 0.25)) == pytest.approx(np.array([0.25, 0.25]))


def test_bootstrap_limits__normal_tasks__are_near_the_textbook_interval() -> None:
    values = np.random.default_rng(0).normal(size=400)
    low, high = bootstrap_limits(values)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.02)
    assert high == pytest.approx(values.mean() + half, abs=0.02)


def test_bootstrap_limits__curves__are_resampled_by_task_all_trials_alike() -> None:
    curves = np.random.default_rng(1).normal(size=(6, 4, 3))
    limits = bootstrap_limits(curves)
    assert limits.shape == (2, 4, 3)
    assert limits[:, 2, 1] == pytest.approx(bootstrap_limits(curves[:, 2, 1]))
    shifted = bootstrap_limits(curves + 5.0)  # the same tasks are drawn
    assert shifted == pytest.approx(limits + 5.0)


def test_repeat_rate__two_of_four_points_known__is_a_half() -> None:
    points = [{"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": True, "b": 2}, {"a": True, "b": 2}]
    assert repeat_rate(points) == 0.5
    assert repeat_rate([]) == 0.0
