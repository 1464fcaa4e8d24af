from __future__ import annotations

import pytest
import torch

from optformer.data.systems.policy_gradient import MovingBaseline, clipped_surrogate


def test_baseline__first_batch__is_its_own_mean() -> None:
    baseline = MovingBaseline(0.75)
    assert baseline.value is None
    assert baseline.update(0.4) == baseline.value == pytest.approx(0.4)


def test_baseline__later_batch__is_measured_against_those_before() -> None:
    baseline = MovingBaseline(0.75)
    baseline.update(0.4)
    assert baseline.update(0.8) == pytest.approx(0.4)
    assert baseline.value == pytest.approx(0.75 * 0.4 + 0.25 * 0.8)


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [(1.1, 2.0, 2.2), (1.5, 2.0, 2.4), (1.5, -2.0, -3.0), (0.5, 2.0, 1.0), (0.5, -2.0, -1.6)],
)
def test_clipped_surrogate__ratio_beyond_the_clip__gains_no_more(
    ratio: float, advantage: float, expected: float
) -> None:
    found = clipped_surrogate(
        torch.tensor(ratio).log(), torch.tensor(0.0), torch.tensor(advantage), clip=0.2
    )
    assert found.item() == pytest.approx(expected)
