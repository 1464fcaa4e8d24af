"""Study configurations: goals, measures and plain descriptions."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from optformer.data.studies.errors import MetricError, SearchSpaceError, StudyError
from optformer.data.studies.limits import Limit
from optformer.data.studies.parameters import Categorical, Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig, Weighted
from optformer.data.studies.trials import Trial

SPACE = SearchSpace(lr=Float(1e-4, 1, log=True), kind=Categorical(["a", "b"]))


class TestConfig:
    @pytest.mark.parametrize(
        ("fields", "error", "message"),
        [
            ({"space": {"lr": Float(0, 1)}}, StudyError, "space must be a SearchSpace, got dict"),
            ({"goal": "max"}, StudyError, "goal must be 'maximize' or 'minimize', got 'max'"),
            ({"metric": " "}, MetricError, "metric must be a name"),
            ({"metric": 3}, MetricError, "must be a name or a Weighted, got int"),
            ({"metadata": {"task": ["a"]}}, StudyError, r"metadata\['task'\] must be text"),
            ({"metadata": {3: "a"}}, StudyError, r"metadata\[3\]"),
            ({"metadata": "digits"}, StudyError, "metadata must be a mapping"),
            ({"fixed": [1]}, StudyError, "fixed must be a mapping"),
            ({"fixed": {"lr": 2.0}}, SearchSpaceError, "parameter 'lr': expected a float"),
            ({"fixed": {"depth": 2}}, SearchSpaceError, "unknown parameter 'depth'"),
        ],
    )
    def test_config__wrong_field__is_refused(
        self, fields: dict[str, Any], error: type[Exception], message: str
    ) -> None:
        with pytest.raises(error, match=message):
            StudyConfig(**{"space": SPACE, "metric": "accuracy", "goal": "maximize", **fields})

    def test_config__metadata_numbers_and_numpy_fixed__become_plain(self) -> None:
        rows: Any = 500
        config = StudyConfig(SPACE, "loss", "minimize", {"rows": rows}, {"lr": np.float64(0.1)})
        assert config.metadata == {"rows": "500"}
        assert type(config.fixed["lr"]) is float
        assert config.sign == -1.0
        assert StudyConfig(SPACE, "accuracy", "maximize").sign == 1.0

    @pytest.mark.parametrize("metric", ["loss", Weighted({"accuracy": 1.0, "val/ms": -1e-3})])
    def test_to_dict__through_json__reads_back_equal(self, metric: str | Weighted) -> None:
        config = StudyConfig(SPACE, metric, "minimize", {"task": "t"}, {"kind": "b"})
        assert StudyConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config

    def test_from_dict__missing_and_unknown_fields__are_listed(self) -> None:
        with pytest.raises(StudyError, match=r"lacks \['goal'\] and has unknown \['budget'\]"):
            StudyConfig.from_dict({"space": SPACE.to_dict(), "metric": "m", "budget": 3})


class TestMeasure:
    def test_measure__number__is_the_value(self) -> None:
        config = StudyConfig(SPACE, "accuracy", "maximize")
        assert config.measure(np.float64(0.5)) == (0.5, {})
        assert math.isnan(config.measure(math.nan)[0])

    def test_measure__mapping__picks_the_metric_and_keeps_the_rest(self) -> None:
        config = StudyConfig(SPACE, "accuracy", "maximize")
        assert config.measure({"accuracy": 0.5, "ms": 3}) == (0.5, {"accuracy": 0.5, "ms": 3.0})

    def test_measure__weighted__adds_up(self) -> None:
        config = StudyConfig(SPACE, Weighted(accuracy=1.0, ms=-0.1), "maximize")
        value, metrics = config.measure({"accuracy": 0.5, "ms": 3, "epochs": 7})
        assert value == pytest.approx(0.2)
        assert metrics == {"accuracy": 0.5, "ms": 3.0, "epochs": 7.0}
        assert config.metric_name == "1 accuracy + -0.1 ms"

    @pytest.mark.parametrize(
        ("metric", "value", "message"),
        [
            ("accuracy", "0.5", "metric 'accuracy' must be a number, got '0.5'"),
            ("accuracy", True, "must be a number"),
            ("accuracy", {"loss": 1.0}, r"metric 'accuracy' is missing; got \['loss'\]"),
            ("accuracy", {"accuracy": None}, "metric 'accuracy' must be a number"),
            (Weighted(a=1, b=1), 0.5, r"this study weighs \['a', 'b'\]; observe a mapping"),
            (Weighted(a=1, b=1), {"a": 1.0}, "metric 'b' is missing"),
        ],
    )
    def test_measure__unusable_value__says_what_was_expected(
        self, metric: str | Weighted, value: Any, message: str
    ) -> None:
        with pytest.raises(MetricError, match=message):
            StudyConfig(SPACE, metric, "maximize").measure(value)


class TestWeighted:
    def test_weighted__mapping_and_keywords__are_joined(self) -> None:
        weighted = Weighted({"val/acc": 1}, flops=-1e-9)
        assert weighted.weights == {"val/acc": 1.0, "flops": -1e-9}
        assert weighted == Weighted({"flops": -1e-9, "val/acc": 1.0})
        assert hash(weighted) == hash(Weighted({"flops": -1e-9, "val/acc": 1.0}))

    @pytest.mark.parametrize(
        ("weights", "message"),
        [
            ({}, "at least one"),
            ({"a": math.inf}, "weight of 'a' must be finite"),
            ({"a": "1"}, "'a'"),
        ],
    )
    def test_weighted__impossible__is_refused(self, weights: dict[str, Any], message: str) -> None:
        with pytest.raises(MetricError, match=message):
            Weighted(weights)


SEVERAL = StudyConfig(
    SearchSpace(x=Float(0, 1)),
    "loss",
    "minimize",
    {"task": "toy"},
    further_goals={"speed": "maximize"},
    limits={"size": Limit("<=", 8), "speed": Limit(">=", 2)},
)


def test_views__several_goals_and_limits__are_a_study_of_each_metric() -> None:
    assert [(view.metric, view.goal) for view in SEVERAL.views] == [
        ("loss", "minimize"),
        ("speed", "maximize"),
        ("size", "minimize"),
    ]
    assert all(view.views == (view,) and not view.several for view in SEVERAL.views)
    assert all(view.metadata == {"task": "toy"} for view in SEVERAL.views)
    assert SEVERAL.views[1] is SEVERAL.views[1]  # so that a planner knows it again


def test_to_dict__several_goals_and_limits__from_dict_gives_it_back() -> None:
    described = SEVERAL.to_dict()
    assert described["limits"] == {"size": "<= 8.0", "speed": ">= 2.0"}
    assert StudyConfig.from_dict(described) == SEVERAL


def test_view_history__other_metric__has_its_values_and_the_same_ends() -> None:
    trials = [
        Trial(0, {"x": 0.1}).finish(0.5, metrics={"speed": 3.0}),
        Trial(1, {"x": 0.2}).finish(0.4),
        Trial(2, {"x": 0.3}).fail("nan"),
        Trial(3, {"x": 0.4}),
    ]
    first, second, third = SEVERAL.views
    assert SEVERAL.view_history(first, trials) == trials
    told = SEVERAL.view_history(second, trials)
    assert [(trial.number, trial.value) for trial in told] == [(0, 3.0), (2, None), (3, None)]
    assert [trial.number for trial in SEVERAL.view_history(third, trials)] == [2, 3]


@pytest.mark.parametrize(
    ("metrics", "keeps"),
    [
        ({"speed": 2.0, "size": 8.0}, True),
        ({"speed": 2.0, "size": 8.1}, False),
        ({"speed": 1.9, "size": 1.0}, False),
        ({"speed": 2.0}, False),
    ],
)
def test_keeps_limits__metrics__all_are_there_and_within(
    metrics: dict[str, float], keeps: bool
) -> None:
    assert SEVERAL.keeps_limits(Trial(0, {"x": 0.1}).finish(0.5, metrics=metrics)) == keeps
    assert not SEVERAL.keeps_limits(Trial(0, {"x": 0.1}).fail("nan"))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"further_goals": {"loss": "maximize"}}, MetricError, "metric 'loss' has two goals"),
        ({"further_goals": {"speed": "up"}}, StudyError, "the goal of 'speed' must be 'maximize'"),
        ({"further_goals": {"": "maximize"}}, MetricError, "must be a name, got an empty one"),
        ({"further_goals": {3: "maximize"}}, MetricError, "name must be text, got 3"),
        ({"further_goals": ["speed"]}, StudyError, "further_goals must be a mapping"),
        ({"limits": {"size": "<= many"}}, MetricError, "limit of 'size': a limit is written"),
        ({"limits": {"size": 8}}, MetricError, "limit of 'size': a limit is written"),
        ({"limits": "size <= 8"}, StudyError, "limits must be a mapping"),
    ],
)
def test_config__several_metrics_that_are_wrong__says_what(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        StudyConfig(SEVERAL.space, "loss", "minimize", **changes)


@pytest.mark.parametrize("value", [0.5, {"loss": 0.5, "speed": 2.0}, {"speed": 2.0, "size": 1.0}])
def test_measure__several_metrics_and_one_is_missing__names_it(value: Any) -> None:
    with pytest.raises(MetricError, match=r"'loss'|'size'"):
        SEVERAL.measure(value)
    assert SEVERAL.needed == ["loss", "speed", "size"]


@pytest.mark.parametrize("ends", [(0, 1), (0.5, None), [None, 3], (None, None)])
def test_metric_ranges__written_and_read__are_the_same(ends: Any) -> None:
    config = StudyConfig(SearchSpace(x=Float(0, 1)), "m", "maximize", metric_ranges={"m": ends})
    described = json.loads(json.dumps(config.to_dict(), allow_nan=False))
    assert StudyConfig.from_dict(described) == config
    assert StudyConfig.from_dict(described).metric_ranges == config.metric_ranges


@pytest.mark.parametrize(
    "ranges", [{"m": (1, 0)}, {"m": "01"}, {"m": (0,)}, {"m": (0, "x")}, {"k": (0, 1)}, {"m": 3}]
)
def test_metric_ranges__no_range__is_refused(ranges: Any) -> None:
    with pytest.raises(MetricError, match="range"):
        StudyConfig(SearchSpace(x=Float(0, 1)), "m", "maximize", metric_ranges=ranges)
