"""How the controller learns."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from optformer.data.studies.errors import ConfigError, MetricError
from optformer.data.systems.optimizer_search.controller import Controller
from optformer.data.systems.optimizer_search.language import Grammar
from optformer.data.systems.optimizer_search.policy import PolicyGradientConfig, PolicyLearner


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class TestPolicy:
    @pytest.mark.parametrize("algorithm", ["ppo", "reinforce"])
    def test_update__rewarded_string__becomes_likelier(self, algorithm: str) -> None:
        controller = Controller(Grammar(1), generator())
        learner = PolicyLearner(controller, PolicyGradientConfig(algorithm=algorithm))  # type: ignore[arg-type]
        ids = controller.sample(6, generator(1))

        def log_probability() -> Tensor:
            with torch.no_grad():
                return controller(ids)[0].sum(1)

        before = log_probability()
        learner.update(ids, [1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
        gained = log_probability() - before
        assert gained[0] > 0
        assert gained[0] == gained.max()

    def test_baseline__batches__is_their_moving_average(self) -> None:
        controller = Controller(Grammar(1), generator())
        learner = PolicyLearner(controller, PolicyGradientConfig(baseline_decay=0.75))
        ids = controller.sample(2, generator(1))
        learner.update(ids, [0.2, 0.6])
        assert learner.baseline == pytest.approx(0.4)
        learner.update(ids, [0.8, 0.8])
        assert learner.baseline == pytest.approx(0.75 * 0.4 + 0.25 * 0.8)

    def test_baseline__shape__applies_to_the_rewards(self) -> None:
        for shape, expected in (("identity", 0.25), ("square", 0.0625), ("cube", 0.015625)):
            controller = Controller(Grammar(1), generator())
            learner = PolicyLearner(controller, PolicyGradientConfig(shape=shape))
            learner.update(controller.sample(1, generator(1)), [0.25])
            assert learner.baseline == pytest.approx(expected)

    def test_update__metric_out_of_range__is_refused(self) -> None:
        controller = Controller(Grammar(1), generator())
        learner = PolicyLearner(controller, PolicyGradientConfig())
        with pytest.raises(MetricError, match=r"a metric in \[0, 1\] for each of 2 strings"):
            learner.update(controller.sample(2, generator()), [0.5, math.nan])

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"algorithm": "a2c"}, "algorithm must be 'ppo' or 'reinforce', got 'a2c'"),
            ({"shape": "log"}, "shape must be one of"),
            ({"learning_rate": 0.0}, "learning_rate must be above 0"),
            ({"entropy_weight": -1.0}, "entropy_weight must be at least 0"),
            ({"baseline_decay": 1.0}, r"baseline_decay must be in \[0, 1\)"),
            ({"clip": 0.0}, "clip must be above 0"),
            ({"passes": 0}, "passes must be at least 1"),
        ],
    )
    def test_config__setting_out_of_range__is_refused(
        self, settings: dict[str, object], message: str
    ) -> None:
        with pytest.raises(ConfigError, match=message):
            PolicyGradientConfig(**settings)  # type: ignore[arg-type]
