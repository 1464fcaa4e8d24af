"""Searches for update rules by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from optformer.data.registry import Registry
from optformer.data.studies.trials import Trial
from optformer.data.systems.optimizer_search.language import Grammar
from optformer.data.systems.optimizer_search.parameter_server import REPLICAS, search_with_replicas
from optformer.data.systems.optimizer_search.policy import PolicyGradientConfig
from optformer.data.systems.optimizer_search.queue import TrainingQueue
from optformer.data.systems.optimizer_search.search import random_rules, search_rules

RuleSearch: TypeAlias = Callable[
    [TrainingQueue, Grammar, int, int, Callable[[Trial], None]], list[Trial]
]
"""Takes a queue, a grammar, a number of trainings, a seed and a callback; returns the trials."""

_PPO = PolicyGradientConfig()
_REINFORCE = PolicyGradientConfig(algorithm="reinforce", learning_rate=0.05)

RULE_SEARCHES: Registry[RuleSearch] = Registry("search for update rules")
"""Every search with its default settings; called as `search.search_rules`."""

for _name, _search, _line in (
    (
        "random-rules",
        random_rules,
        "Trains with uniform random update rules; the baseline of the controllers.",
    ),
    (
        "rule-controller-ppo",
        partial(search_rules, _PPO),
        "A recurrent controller writes update rules and learns by PPO (CN110663049B).",
    ),
    (
        "rule-controller-reinforce",
        partial(search_rules, _REINFORCE),
        "A recurrent controller writes update rules and learns by REINFORCE (CN110663049B).",
    ),
    (
        "rule-replicas-ppo",
        partial(search_with_replicas, _PPO, REPLICAS),
        "Controllers with a parameter server write update rules and learn by PPO (CN110663049B).",
    ),
    (
        "rule-replicas-reinforce",
        partial(search_with_replicas, _REINFORCE, REPLICAS),
        "Controllers with a parameter server write update rules, by REINFORCE (CN110663049B).",
    ),
):
    RULE_SEARCHES.register(_name, _search, _line)
