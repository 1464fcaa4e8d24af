"""Early warnings."""

from __future__ import annotations

import math

import numpy as np
import pytest

from optformer.training.stability import GRACE, SPAN, DivergenceWatch


def _warned(losses: np.ndarray, norms: np.ndarray) -> list[int]:
    watch = DivergenceWatch()
    pairs = zip(losses.tolist(), norms.tolist(), strict=True)
    return [step for step, (loss, norm) in enumerate(pairs) if watch.see(loss, norm)]


def _noise(steps: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Losses that fall with noise, norms with a heavy tail: a healthy run."""
    rng = np.random.default_rng(seed)
    losses = 5 + 2 * np.exp(-np.arange(steps) / 500) + 0.5 * rng.normal(size=steps)
    return losses, np.exp(0.5 * rng.standard_t(5, size=steps))


@pytest.mark.parametrize("seed", range(3))
def test_see__healthy_run__never_warns(seed: int) -> None:
    assert _warned(*_noise(3000, seed)) == []


def test_see__loss_explodes__warns_long_before_it_is_not_finite() -> None:
    losses, norms = _noise(1000, 0)
    growth = 1.05 ** np.arange(len(losses) - 500) - 1  # 7 % after a step, infinite after 14,500
    losses[500:] += growth
    first = _warned(losses, norms)[0]
    assert 500 <= first < 540
    assert losses[first] < 15


def test_see__norm_explodes__warns_within_four_steps() -> None:
    losses, norms = _noise(600, 1)
    norms[500:] *= 1e4
    assert 500 < _warned(losses, norms)[0] <= 504


def test_see__loss_settles_higher__warns_once_a_span() -> None:
    losses, norms = _noise(1000, 2)
    losses[500:] += 2.0
    warned = _warned(losses, norms)
    assert 500 <= warned[0] < 520
    assert 1 <= len(warned) <= 1 + 500 // SPAN


def test_see__single_outlier_or_first_steps__says_nothing() -> None:
    losses, norms = _noise(600, 3)
    losses[300] = norms[400] = 1e6
    losses[: GRACE // 2] += 20
    assert _warned(losses, norms) == []
    watch = DivergenceWatch()
    assert all(watch.see(1.0, 0.0) is None for _ in range(100))  # no spread, no logarithm of 0


def test_see__warning__names_the_number_and_its_usual_value() -> None:
    watch = DivergenceWatch()
    losses, norms = _noise(200, 4)
    for loss, norm in zip(losses.tolist(), norms.tolist(), strict=True):
        watch.see(loss, norm)
    said = [watch.see(math.e**20, 1.0) for _ in range(6)]
    text = next(text for text in said if text)
    assert text.startswith("the loss rises: 4.85e+08, usually ")
    assert "lower learning rate" in text
