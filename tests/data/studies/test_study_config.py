"""Study configurations: goals, measures and plain descriptions."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from optformer.data.studies.errors import MetricError, SearchSpaceError, StudyError
from optformer.data.studies.parameters import Categorical, Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig, Weighted

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
