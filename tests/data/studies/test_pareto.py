from __future__ import annotations

import numpy as np
import pytest
from optuna._hypervolume import compute_hypervolume

from optformer.data.studies.pareto import hypervolume, nondominated, nondominated_boxes


def test_nondominated__few_points__are_those_that_nothing_beats() -> None:
    gains = np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 2.0], [1.0, 1.0], [0.5, 1.0], [2.0, -1.0]])
    assert nondominated(gains).tolist() == [True, True, True, True, False, False]
    assert nondominated(gains[:0]).tolist() == []


@pytest.mark.parametrize("goals", [1, 2, 3, 4])
def test_nondominated__random_points__agree_with_the_definition(goals: int) -> None:
    gains = np.random.default_rng(goals).integers(0, 5, (40, goals)).astype(float)
    for gain, kept in zip(gains, nondominated(gains), strict=True):
        beaten = ((gains >= gain).all(-1) & (gains > gain).any(-1)).any()
        assert kept == (not beaten)


@pytest.mark.parametrize("goals", [1, 2, 3, 4])
@pytest.mark.parametrize("count", [1, 7, 30])
def test_hypervolume__random_points__is_that_of_optuna(goals: int, count: int) -> None:
    gains = np.random.default_rng(count).normal(size=(count, goals)) * [1e-6, 1.0, 1e6, 3.0][:goals]
    reference = gains.min(0) - 0.1
    expected = compute_hypervolume(-gains, -reference)
    assert hypervolume(gains, reference) == pytest.approx(expected, rel=1e-9)


def test_hypervolume__points_not_better_than_the_reference__add_nothing() -> None:
    reference = np.zeros(2)
    assert hypervolume(np.array([[1.0, 0.0], [-1.0, 5.0]]), reference) == 0.0
    assert hypervolume(np.zeros((0, 2)), reference) == 0.0
    assert hypervolume(np.array([[2.0, 3.0], [-1.0, 5.0]]), reference) == 6.0


@pytest.mark.parametrize("goals", [1, 2, 3])
def test_boxes__random_front__hold_every_undominated_point_once(goals: int) -> None:
    rng = np.random.default_rng(goals)
    gains, reference = rng.random((12, goals)), np.full(goals, 0.2)
    lower, upper = nondominated_boxes(gains, reference)
    points = rng.uniform(0, 1.2, (500, goals))
    inside = ((points[:, None] > lower) & (points[:, None] < upper)).all(-1).sum(-1)
    dominated = (gains[None] >= points[:, None]).all(-1).any(-1)
    assert inside.tolist() == ((points > reference).all(-1) & ~dominated).astype(int).tolist()
