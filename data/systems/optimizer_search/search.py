"""Neural optimizer search: write rules, train children with them, learn from their rewards.

One round: the controller writes a batch of strings, the queue trains a child network with each, and
the policy gradient updates the controller. Every string is a trial of the study that
`space.rule_config` describes. `random_rules` spends the same trainings on uniform random strings;
`parameter_server` has the asynchronous form of the search.

Parameters with defaults: rounds of 16 strings; see `policy` and `controller` for theirs.

Source: CN110663049B; Bello et al. 2017, "Neural optimizer search with reinforcement learning".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from optformer.data.studies.errors import ConfigError
from optformer.data.studies.trials import Trial
from optformer.data.systems.optimizer_search.controller import Controller
from optformer.data.systems.optimizer_search.language import Grammar, Rule
from optformer.data.systems.optimizer_search.policy import PolicyGradientConfig, PolicyLearner
from optformer.data.systems.optimizer_search.queue import TrainingQueue
from optformer.data.systems.optimizer_search.space import to_params

ROUND = 16
"""Strings that are trained between two updates of the controller."""


def search_rules(
    policy: PolicyGradientConfig,
    queue: TrainingQueue,
    grammar: Grammar,
    trainings: int,
    seed: int,
    report: Callable[[Trial], None] = lambda trial: None,
) -> list[Trial]:
    """Search with the recurrent controller.

    Args:
        policy: How the controller learns.
        queue: Who trains the children.
        grammar: Which strings there are.
        trainings: Strings to train with, repeated ones counted again.
        seed: Decides everything; the number of workers does not matter.
        report: Called with every trial.

    Returns:
        One completed trial for each string, with the validation accuracy as its value.

    Raises:
        ConfigError: `trainings` is below 1.
        ObjectiveError: Workers kept dying.
    """
    generator = torch.Generator().manual_seed(seed)
    controller = Controller(grammar, generator)
    learner = PolicyLearner(controller, policy)
    history: list[Trial] = []
    for count in rounds(trainings):
        ids = controller.sample(count, generator)
        metrics = train_round(queue, [grammar.decode(row) for row in ids.tolist()], history, report)
        learner.update(ids, metrics)
    return history


def random_rules(
    queue: TrainingQueue,
    grammar: Grammar,
    trainings: int,
    seed: int,
    report: Callable[[Trial], None] = lambda trial: None,
) -> list[Trial]:
    """Train with uniform random strings; arguments and result as for `search_rules`."""
    rng = np.random.default_rng(seed)
    history: list[Trial] = []
    for count in rounds(trainings):
        train_round(queue, [grammar.sample(rng) for _ in range(count)], history, report)
    return history


def train_round(
    queue: TrainingQueue,
    rules: Sequence[Rule],
    history: list[Trial],
    report: Callable[[Trial], None],
) -> list[float]:
    """Train with one round of rules, append the trials, return the accuracies."""
    accuracies = queue.accuracies(rules)
    for rule, accuracy in zip(rules, accuracies, strict=True):
        trial = Trial(len(history), to_params(rule)).finish(accuracy)
        history.append(trial)
        report(trial)
    return accuracies


def rounds(trainings: int, size: int = ROUND) -> list[int]:
    """Divide a number of trainings into rounds of `size`; the last one may be smaller.

    Raises:
        ConfigError: `trainings` is below 1.
    """
    if trainings < 1:
        raise ConfigError(f"trainings must be at least 1, got {trainings}")
    full, rest = divmod(trainings, size)
    return [size] * full + [rest] * (rest > 0)
