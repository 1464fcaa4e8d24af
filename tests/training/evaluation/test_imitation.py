"""Searches of a policy beside those of its teachers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import optformer.training.evaluation.imitation as imitation
import optformer.training.evaluation.synthetic_tasks as synthetic_tasks
from optformer.data.methods import METHODS, create
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Value
from optformer.data.studies.trials import Trial
from optformer.model.checkpoint import Checkpoint
from optformer.training.evaluation.imitation import imitation_scores
from optformer.training.evaluation.synthetic_tasks import draw_task, regrets

SMALL: dict[str, Any] = {"tasks": 4, "seeds": 2, "trials": 6}


class Echo:
    """Stands on the best of the first two random points."""

    def __init__(self, config: Any):
        self._random = create("random", config)

    def suggest(
        self, history: Sequence[Trial], count: int, rng: np.random.Generator
    ) -> list[dict[str, Value]]:
        measured = [trial for trial in history if trial.value is not None]
        if len(history) < 2 or not measured:
            return self._random.suggest(history, count, rng)
        return [dict(max(measured, key=lambda trial: trial.value or 0.0).params)] * count


def test_imitation_scores__tiny_model__are_complete_and_reproducible(
    tiny_checkpoint: Checkpoint,
) -> None:
    (score,) = imitation_scores(tiny_checkpoint, teachers=["random"], **SMALL)
    assert (score.teacher, score.tasks, score.seeds, score.trials) == ("random", 4, 2, 6)
    assert not score.learned  # nothing is known of its training
    assert all(len(curve) == 6 for curve in score.regret_curves.values())
    assert all(len(curve) == 5 for curve in score.step_curves.values())
    for curve in score.regret_curves.values():
        assert list(curve) == sorted(curve, reverse=True)
    assert score.regret_policy.value == pytest.approx(score.regret_curves["policy"][-1])
    assert abs(score.regret_policy.value - score.regret_random.value) < 0.5  # untrained
    assert imitation_scores(tiny_checkpoint, teachers=["random"], **SMALL) == [score]


def test_imitation_scores__teacher_that_stands_still__has_no_late_steps(
    tiny_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))
    METHODS.register("echo", Echo)
    (score,) = imitation_scores(tiny_checkpoint, teachers=["echo"], **SMALL)
    assert score.step_curves["teacher"][1:] == (0.0, 0.0, 0.0, 0.0)
    assert min(score.step_curves["random"]) > 0.1
    assert score.step_difference.value > 0.1


def test_imitation_scores__policy_is_the_teacher__shares_nothing_of_the_gap(
    tiny_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imitation, "_policy", lambda checkpoint, algorithm, task: _Climb(task))
    monkeypatch.setattr(imitation, "_method", lambda name, task: _METHODS[name](task))
    (score,) = imitation_scores(tiny_checkpoint, teachers=["gp-ei"], tasks=8, seeds=2, trials=5)
    assert score.regret_teacher.value < score.regret_random.value
    assert score.gap_share is not None
    assert abs(score.gap_share.value) < 0.5
    assert abs(score.step_difference.value) < 0.1


class _Climb:
    """The best of thirty random points, looked up, by the searcher's own randomness."""

    def __init__(self, task: Any) -> None:
        self._task = task

    def suggest(
        self, history: Sequence[Trial], count: int, rng: np.random.Generator
    ) -> list[dict[str, Value]]:
        points = [self._task.config.space.sample(rng) for _ in range(30)]
        values = synthetic_tasks._observe(self._task.functions, self._task.space.encode(points))
        return [points[int(np.nanargmax(values))]]


_METHODS = {"random": lambda task: create("random", task.config), "gp-ei": _Climb}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"teachers": ["random", "nobody"]}, "unknown search method 'nobody'"),
        ({"teachers": []}, "name at least one search method"),
        ({"tasks": 1}, "tasks and trials must be at least 2"),
        ({"seeds": 0}, "seeds at least 1"),
    ],
)
def test_imitation_scores__bad_setting__is_refused_before_anything_runs(
    tiny_checkpoint: Checkpoint, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        imitation_scores(tiny_checkpoint, **settings)


def test_steps__known_points__are_distances_to_the_best_before() -> None:
    task = draw_task(0, 1, trials=4)
    rng = np.random.default_rng(0)
    points = [task.config.space.sample(rng) for _ in range(4)]
    values = [None, 1.0, 2.0, 0.0]
    history = [
        trial.fail("no") if value is None else trial.finish(value)
        for trial, value in zip(map(Trial, range(4), points), values, strict=True)
    ]
    steps = imitation._steps(task, history)
    assert np.isnan(steps[0])  # no incumbent yet
    place = task.space.encode(points)
    gap = np.where(
        task.space.is_choice | (task.space.active(place)[3] != task.space.active(place)[2]),
        place[3] != place[2],
        np.abs(place[3] - place[2]),
    )
    assert steps[2] == pytest.approx(np.sqrt((gap**2).mean()))
    regret = regrets(task, history)
    assert regret[0] == 1.0
    assert regret[2] == regret[3] == min((task.top - 2.0) / (task.top - task.median), 1.0)


def test_draw_task__any__has_room_for_the_search() -> None:
    for number in range(24):
        size = draw_task(5, number, trials=10).config.space.size
        assert size is None or size >= 200
