"""Whole searches for update rules."""

from __future__ import annotations

import numpy as np
import pytest

from optformer.data.studies.errors import ConfigError
from optformer.data.systems.optimizer_search.children import CHILD
from optformer.data.systems.optimizer_search.language import Grammar
from optformer.data.systems.optimizer_search.policy import PolicyGradientConfig
from optformer.data.systems.optimizer_search.queue import TrainingQueue
from optformer.data.systems.optimizer_search.registry import RULE_SEARCHES
from optformer.data.systems.optimizer_search.search import random_rules, search_rules
from optformer.data.systems.optimizer_search.space import rule_config


class TestSearch:
    @pytest.mark.parametrize("name", ["rule-controller-ppo", "rule-controller-reinforce"])
    def test_search__controller__rises_over_random_rules(
        self, name: str, match_queue: TrainingQueue
    ) -> None:
        def late(method: str, seed: int) -> float:
            history = RULE_SEARCHES[method](match_queue, Grammar(1), 240, seed, lambda trial: None)
            return float(np.mean([trial.value or 0.0 for trial in history[-48:]]))

        gains = [late(name, seed) - late("random-rules", seed) for seed in range(3)]
        assert min(gains) > 0.1

    def test_search__same_seed__gives_the_same_legal_trials(
        self, match_queue: TrainingQueue
    ) -> None:
        grammar = Grammar(2)
        space = rule_config(grammar, CHILD).space
        for search in (
            lambda seed: search_rules(PolicyGradientConfig(), match_queue, grammar, 40, seed),
            lambda seed: random_rules(match_queue, grammar, 40, seed),
        ):
            first, again, other = search(0), search(0), search(1)
            assert first == again != other
            assert [trial.number for trial in first] == list(range(40))
            for trial in first:
                space.validate(trial.params)

    def test_search__no_trainings__is_refused(self, match_queue: TrainingQueue) -> None:
        with pytest.raises(ConfigError, match="trainings must be at least 1, got 0"):
            random_rules(match_queue, Grammar(1), 0, 0)
