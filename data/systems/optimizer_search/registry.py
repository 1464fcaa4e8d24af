"""Searches for update rules by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from optformer.data.studies.errors import ConfigError
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

_SEARCHES: dict[str, tuple[str, RuleSearch]] = {
    "random-rules": (
        "Trains with uniform random update rules; the baseline of the controllers.",
        random_rules,
    ),
    "rule-controller-ppo": (
        "A recurrent controller writes update rules and learns by PPO (CN110663049B).",
        partial(search_rules, _PPO),
    ),
    "rule-controller-reinforce": (
        "A recurrent controller writes update rules and learns by REINFORCE (CN110663049B).",
        partial(search_rules, _REINFORCE),
    ),
    "rule-replicas-ppo": (
        "Controllers with a parameter server write update rules and learn by PPO (CN110663049B).",
        partial(search_with_replicas, _PPO, REPLICAS),
    ),
    "rule-replicas-reinforce": (
        "Controllers with a parameter server write update rules, by REINFORCE (CN110663049B).",
        partial(search_with_replicas, _REINFORCE, REPLICAS),
    ),
}


def names() -> list[str]:
    """Names of all searches for update rules, sorted."""
    return sorted(_SEARCHES)


def describe(name: str) -> str:
    """What a search is, in a line.

    Raises:
        ConfigError: No search has that name; the message lists those that exist.
    """
    return _known(name)[0]


def create(name: str) -> RuleSearch:
    """The search of that name with its default settings; call it as `search.search_rules`.

    Raises:
        ConfigError: No search has that name; the message lists those that exist.
    """
    return _known(name)[1]


def _known(name: str) -> tuple[str, RuleSearch]:
    if name not in _SEARCHES:
        raise ConfigError(f"unknown search for update rules {name!r}; known are {names()}")
    return _SEARCHES[name]
