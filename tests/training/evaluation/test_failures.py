from __future__ import annotations

import math

import numpy as np
import pytest

from optformer.data.studies.errors import ConfigError
from optformer.model.checkpoint import Checkpoint
from optformer.planning.planner import Planner
from optformer.training.evaluation import failures
from optformer.training.evaluation.failures import (
    FailingTask,
    draw_failing_tasks,
    fails,
    failure_scores,
)


@pytest.fixture(scope="module")
def drawn() -> list[FailingTask]:
    return list(draw_failing_tasks(5, 6))


def test_draw_failing_tasks__many_points__fail_beyond_the_limit_alone(
    drawn: list[FailingTask],
) -> None:
    assert {task.above for task in drawn} == {True, False}
    for task in drawn:
        space = task.task.space
        points = space.from_uniform(np.random.default_rng(1).random((400, len(space.names))))
        beyond = fails(points[:, task.slot], task.limit, task.above)
        assert beyond.mean() == pytest.approx(task.share, abs=0.1)
        assert 0.2 < task.share < 0.6
        for point, failing in zip(points[:60], beyond[:60], strict=True):
            own = task.task.value(space.decode(point))
            value = task.value(space.decode(point))
            assert math.isnan(value) if failing else value == own or math.isnan(own)


def test_draw_failing_tasks__seeds__repeat_and_differ(drawn: list[FailingTask]) -> None:
    again = list(draw_failing_tasks(5, 6))
    assert [(t.slot, t.limit) for t in again] == [(t.slot, t.limit) for t in drawn]
    other = list(draw_failing_tasks(6, 6))
    assert [t.limit for t in other] != [t.limit for t in drawn]


def test_failure_scores__random_search__fails_as_often_as_the_space(
    tiny_checkpoint: Checkpoint,
) -> None:
    scores = failure_scores(Planner(tiny_checkpoint), rivals=["random"], tasks=2, seeds=2, seed=5)
    assert [score.searcher for score in scores] == ["optformer", "random"]
    for score in scores:
        assert (score.tasks, score.seeds) == (2, 2)
        assert list(score.failed) == list(failures.STAGES)
        assert all(0 <= share.value <= 1 for share in score.failed.values())
    random = scores[1]
    assert random.failed["21 to 30"].value == pytest.approx(random.share, abs=0.2)


def test_failure_scores__nothing_to_search__is_refused(tiny_checkpoint: Checkpoint) -> None:
    planner = Planner(tiny_checkpoint)
    with pytest.raises(ConfigError, match="unknown search method 'nobody'"):
        failure_scores(planner, rivals=["nobody"])
    with pytest.raises(ConfigError, match="tasks must be at least 1, got 0"):
        failure_scores(planner, rivals=["random"], tasks=0)
