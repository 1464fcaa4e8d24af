from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from optformer.data.systems.optimizer_search.children import CHILD
from optformer.data.systems.optimizer_search.language import KNOWN_RULES, Rule
from optformer.data.systems.optimizer_search.queue import TrainingQueue


class MatchQueue(TrainingQueue):
    """Rewards the share of symbols a rule has in common with Adam, and trains nothing."""

    def __init__(self) -> None:
        super().__init__(CHILD)

    def accuracies(self, rules: Sequence[Rule]) -> list[float]:
        wanted = np.array(KNOWN_RULES["adam"].symbols)
        return [float(np.mean(np.array(rule.symbols[:5]) == wanted)) for rule in rules]


@pytest.fixture
def match_queue() -> TrainingQueue:
    """Answers from what a rule looks like."""
    return MatchQueue()
