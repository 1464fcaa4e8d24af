"""Child networks and their trainings."""

from __future__ import annotations

import math

import pytest
import torch

from optformer.data.studies.errors import ConfigError
from optformer.data.systems.optimizer_search.children import (
    CHILD,
    TARGET,
    NetworkTask,
    build,
    train,
    train_with,
)
from optformer.data.systems.optimizer_search.language import KNOWN_RULES, Rule


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class TestChildren:
    def test_train__adam__learns_the_digits_and_repeats_itself(self) -> None:
        training = train(CHILD, KNOWN_RULES["adam"])
        assert training.accuracy > 0.85
        assert training.losses[-1] < 0.6 * training.losses[0]
        assert training == train(CHILD, KNOWN_RULES["adam"])

    def test_train__several_rates__takes_the_best_after_an_epoch(self) -> None:
        training = train(CHILD, KNOWN_RULES["sgd"])
        probes = {
            rate: train_with(CHILD, KNOWN_RULES["sgd"], rate, epochs=1).accuracy
            for rate in CHILD.learning_rates
        }
        assert training.learning_rate == max(probes, key=lambda rate: probes[rate])

    @pytest.mark.parametrize("text", ["g 1 log x left", "g 1 -x x left", "1e-1w g exp x *"])
    def test_train__rule_that_explodes_or_climbs__is_scored_low(self, text: str) -> None:
        assert 0.0 <= train_with(CHILD, Rule.parse(text), 1.0, epochs=2).accuracy < 0.5

    def test_train__not_finite__has_accuracy_zero_and_stops(self) -> None:
        rule = Rule.parse("g3 2 log x /")  # the log of a zero gradient is minus infinity
        training = train_with(CHILD, rule, 1.0, epochs=2)
        assert training.accuracy == 0.0
        assert not math.isfinite(training.losses[-1])
        assert len(training.losses) < 20

    def test_build__target__is_larger_and_convolutional(self) -> None:
        sizes = [
            sum(p.numel() for p in build(task, generator()).parameters())
            for task in (CHILD, TARGET)
        ]
        assert sizes[1] > 5 * sizes[0]
        assert build(TARGET, generator())(torch.zeros(3, 1, 8, 8)).shape == (3, 10)

    def test_build__seed__decides_the_weights(self) -> None:
        first, again, other = (build(CHILD, generator(seed))[1].weight for seed in (0, 0, 1))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"epochs": 0}, "epochs must be at least 1, got 0"),
            ({"channels": (4, 4, 4, 4)}, "at most 3 convolutions"),
            ({"learning_rates": (0.1, 0.0)}, "learning_rates must be above 0"),
            ({"train_images": 1700}, r"at most 1797, got 1700 \+ 400"),
        ],
    )
    def test_task__setting_out_of_range__is_refused(
        self, settings: dict[str, object], message: str
    ) -> None:
        with pytest.raises(ConfigError, match=message):
            NetworkTask(**settings)  # type: ignore[arg-type]
