"""The language of update rules as a search space, so that any method can search it.

Every symbol of a string is a categorical parameter whose choices are what the grammar allows there:
`step1 operand1`, `step1 operand2`, `step1 unary1`, `step1 unary2`, `step1 binary`, `step2 ...`.
"""

from __future__ import annotations

from collections.abc import Mapping

from optformer.data.studies.parameters import Categorical, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.systems.optimizer_search.children import NetworkTask
from optformer.data.systems.optimizer_search.language import SLOTS, Grammar, Rule, allowed

_DESCRIPTIONS = {
    "operand1": "first operand",
    "operand2": "second operand",
    "unary1": "unary function of the first operand",
    "unary2": "unary function of the second operand",
    "binary": "binary function that combines them",
}


def rule_config(grammar: Grammar, task: NetworkTask) -> StudyConfig:
    """The search for an update rule as a study: its space, metric and metadata."""
    parameters = {
        f"step{iteration + 1} {slot}": Categorical(
            allowed(slot, iteration), description=_DESCRIPTIONS[slot]
        )
        for iteration in range(grammar.iterations)
        for slot in SLOTS
    }
    network = "convolutional network" if task.channels else "multilayer perceptron"
    metadata = {
        "task": "search for an optimizer's update rule",
        "dataset": "digits",
        "dataset size": f"{task.train_images} training examples, 64 features, 10 classes",
        "model": f"{network}, hidden layers {list(task.hidden)}, {task.epochs} epochs",
    }
    return StudyConfig(SearchSpace(parameters), "accuracy", "maximize", metadata)


def to_params(rule: Rule) -> dict[str, Value]:
    """The point of the search space that a rule is."""
    return {
        f"step{i + 1} {slot}": symbol
        for i, iteration in enumerate(rule.iterations)
        for slot, symbol in zip(SLOTS, iteration.symbols, strict=True)
    }


def to_rule(params: Mapping[str, Value]) -> Rule:
    """The rule that a point of the search space is."""
    iterations = len(params) // len(SLOTS)
    return Rule.from_symbols(
        [str(params[f"step{i + 1} {slot}"]) for i in range(iterations) for slot in SLOTS]
    )
