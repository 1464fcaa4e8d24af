"""Bootstrap intervals over tasks."""

from __future__ import annotations

import numpy as np
import pytest

from optformer.training.bootstrap import Estimate, bootstrap_limits, mean, ratio


def test_mean__equal_tasks__has_no_width() -> None:
    found = mean(np.full(7, 0.25))
    assert (found.value, found.low, found.high) == pytest.approx((0.25, 0.25, 0.25))


def test_mean__normal_tasks__is_near_the_textbook_interval() -> None:
    values = np.random.default_rng(0).normal(size=400)
    found = mean(values)
    half = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.02)
    assert found.high == pytest.approx(values.mean() + half, abs=0.02)


def test_bootstrap_limits__curves__are_resampled_by_task_all_trials_alike() -> None:
    curves = np.random.default_rng(1).normal(size=(6, 4, 3))
    limits = bootstrap_limits(curves)
    assert limits.shape == (2, 4, 3)
    assert limits[:, 2, 1] == pytest.approx(bootstrap_limits(curves[:, 2, 1]))
    assert bootstrap_limits(curves + 5.0) == pytest.approx(limits + 5.0)  # the same tasks


def test_ratio__proportional_tasks__is_exact() -> None:
    below = np.array([1.0, 2.0, 4.0])
    found = ratio(0.3 * below, below)
    assert (found.value, found.low, found.high) == pytest.approx((0.3, 0.3, 0.3))


def test_ratio__resample_without_denominator__leaves_an_interval() -> None:
    found = ratio(np.array([0.0, 1.0, 1.0]), np.array([0.0, 2.0, 2.0]))
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))


def test_estimate__format__shows_value_and_ends() -> None:
    assert f"{Estimate(0.125, 0.1, 0.2):+.2f}" == "+0.12 (+0.10 to +0.20)"
