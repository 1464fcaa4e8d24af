"""Progressive learning: growing stages, end points as a search space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Categorical, Float, Ordinal
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.data.systems.populations.progressive import ProgressiveLearning

SPACE = SearchSpace(
    rate=Float(0.01, 1.0, log=True),
    image_size=Ordinal([4, 5, 6, 7, 8], description="input size"),
    dropout=Float(0.0, 0.5),
    decay=Float(1e-4, 1.0, log=True),
    kind=Categorical(["a", "b"]),
    extra=Float(0.0, 1.0, when={"kind": ["b"]}),
)
CONFIG = StudyConfig(SPACE, "loss", "minimize", {"dataset": "none"})
METHOD = ProgressiveLearning(3, 4, 10, ["image_size", "dropout", "decay"])
POINT = {
    "rate": 0.1,
    "image_size_first": 5,
    "image_size_last": 8,
    "dropout_first": 0.4,
    "dropout_last": 0.1,
    "decay_first": 1e-3,
    "decay_last": 1.0,
    "kind": "a",
}


class Stages:
    """Remembers in its checkpoint what it was trained with; early stages seem the best."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    @property
    def config(self) -> StudyConfig:
        return CONFIG

    def init(self, seed: int) -> None:
        self.sizes = []

    def train(self, params: Mapping[str, Any], steps: int, seed: int) -> float:
        self.sizes.append(params["image_size"])
        return len(self.sizes) + float(params["rate"])

    def save(self) -> bytes:
        return bytes(self.sizes)

    def load(self, checkpoint: bytes) -> None:
        self.sizes = list(checkpoint)


def test_schedule__end_points__are_met_and_everything_grows_evenly() -> None:
    stages = METHOD.schedule(CONFIG, POINT)
    assert [stage["image_size"] for stage in stages] == [5, 6, 7, 8]
    assert [stage["dropout"] for stage in stages] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert [stage["decay"] for stage in stages] == pytest.approx([1e-3, 1e-2, 1e-1, 1.0])
    assert (stages[0]["dropout"], stages[-1]["dropout"]) == (0.1, 0.4)
    assert {(stage["rate"], stage["kind"]) for stage in stages} == {(0.1, "a")}


def test_schedule__any_end_points__never_shrink() -> None:
    searched = METHOD.end_points(CONFIG)
    rng = np.random.default_rng(0)
    for _ in range(100):
        stages = METHOD.schedule(CONFIG, searched.space.sample(rng))
        for name in ("image_size", "dropout", "decay"):
            values = [stage[name] for stage in stages]
            assert values == sorted(values)


def test_end_points__space__has_two_ends_a_growing_hyperparameter() -> None:
    searched = METHOD.end_points(CONFIG)
    assert list(searched.space) == [
        "rate",
        "image_size_first",
        "image_size_last",
        "dropout_first",
        "dropout_last",
        "decay_first",
        "decay_last",
        "kind",
        "extra",
    ]
    assert searched.space["image_size_last"].description == "input size in the last stage"
    assert searched.space.validate(POINT) == POINT
    assert (searched.metric, searched.goal) == ("loss", "minimize")
    assert searched.metadata["dataset"] == "none"


def test_run__weights__are_carried_on_through_growing_stages() -> None:
    result = METHOD.run(Stages, 0)
    assert len(result.trials) == 12
    for trial in result.trials:
        SPACE.validate(trial.params)
        stage = trial.metrics["interval"]
        assert trial.value == stage + 1 + trial.params["rate"]
        assert trial.metrics["step"] == 10 * (stage + 1)
        assert ("parent" in trial.metrics) == (stage > 0)
    assert [trial.params["image_size"] for trial in result.schedule] == list(result.checkpoint)


def test_run__result__is_what_a_last_stage_reached() -> None:
    result = METHOD.run(Stages, 0)
    last = [trial for trial in result.trials if trial.metrics["interval"] == 3]
    assert result.best.value == min(trial.value or 0.0 for trial in last)
    assert min(trial.value or 0.0 for trial in result.trials) < 2 < (result.best.value or 0.0)


def test_run__search_method__proposes_end_points_and_sees_the_last_value() -> None:
    seen: list[list[Trial]] = []

    class Watching:
        def __init__(self, config: StudyConfig):
            assert config == METHOD.end_points(CONFIG)

        def suggest(
            self, history: Sequence[Trial], count: int, rng: np.random.Generator
        ) -> list[dict[str, Any]]:
            seen.append(list(history))
            return [{**POINT, "rate": 0.1 * (len(history) + 1)}]

    method = ProgressiveLearning(3, 4, 10, ["image_size", "dropout", "decay"], Watching)
    method.run(Stages, 0)
    assert [[trial.value for trial in history] for history in seen] == [
        [],
        [4.1],
        [4.1, pytest.approx(4.2)],
    ]


@pytest.mark.parametrize(
    ("name", "fixed", "message"),
    [
        ("mixup", {}, "'mixup', which the trainable does not have; it has .*'rate'"),
        ("kind", {}, "'kind' cannot grow: a categorical has no order"),
        ("dropout", {"dropout": 0.2}, "'dropout' cannot grow: it is fixed to 0.2"),
        ("extra", {}, "'extra' cannot grow: conditions tie it"),
    ],
)
def test_end_points__hyperparameter_that_cannot_grow__is_named(
    name: str, fixed: dict[str, float], message: str
) -> None:
    config = StudyConfig(SPACE, "loss", "minimize", fixed=fixed)
    with pytest.raises(ConfigError, match=message):
        ProgressiveLearning(grows=[name]).end_points(config)


def test_settings__too_few_stages__are_refused() -> None:
    with pytest.raises(ConfigError, match="stages must be at least 2, got 1"):
        ProgressiveLearning(stages=1)
