"""Update rules as points of a search space."""

from __future__ import annotations

import numpy as np

from optformer.data.systems.optimizer_search.children import CHILD
from optformer.data.systems.optimizer_search.language import Grammar
from optformer.data.systems.optimizer_search.space import (
    rule_config,
    to_params,
    to_rule,
)


class TestSpace:
    def test_space__points_and_rules__translate_both_ways(self) -> None:
        grammar, rng = Grammar(3), np.random.default_rng(0)
        space = rule_config(grammar, CHILD).space
        assert len(space) == 15
        for _ in range(50):
            point = space.sample(rng)
            assert to_params(to_rule(point)) == point
        assert space["step3 operand1"].num_levels == space["step1 operand1"].num_levels + 2
