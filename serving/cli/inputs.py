"""Read what users write on the command line: `name=value` pairs and metrics."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import cast

from optformer.data.studies.errors import ConfigError, MetricError, SearchSpaceError
from optformer.data.studies.limits import Limit, read_limits
from optformer.data.studies.parameters import Float, Int, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import Goal, Weighted

_GOALS = ("maximize", "minimize")
_LIMIT = re.compile(r"(.*?)\s*([<>]=.*)", re.DOTALL)


def parse_pairs(option: str, items: Sequence[str]) -> dict[str, str]:
    """Read `key=value` items; a key's last value counts.

    Raises:
        ConfigError: An item has no `=`, or nothing before it.
    """
    pairs: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise ConfigError(f"{option} takes name=value, got {item!r}")
        pairs[key] = value
    return pairs


def parse_fixed(space: SearchSpace, items: Sequence[str]) -> dict[str, Value]:
    """Read `parameter=value` items as values of that parameter.

    Raises:
        ConfigError: An item has no `=`.
        SearchSpaceError: A parameter is unknown, or the value is not legal for it.
    """
    pairs = parse_pairs("--fixed", items)
    return {name: _parse_value(space, name, text) for name, text in pairs.items()}


def parse_goals(
    items: Sequence[str], goal: str | None
) -> tuple[str | Weighted, Goal, dict[str, Goal]]:
    """Read what is searched on: one metric or a weighted sum, with a goal, or a goal for each.

    Args:
        items: `NAME`, or several `NAME=WEIGHT`, or `NAME=maximize` and `NAME=minimize`.
        goal: The goal, where the items tell none.

    Returns:
        The metric, its goal, and the goals of further metrics.

    Raises:
        ConfigError: There is no goal, or one too many.
        MetricError: An item is none of these, or a metric is named twice.
    """
    told = [item.rpartition("=") for item in items]
    if not any(end in _GOALS for _, _, end in told):
        if goal is None:
            raise ConfigError("the search needs --goal maximize or --goal minimize")
        return parse_metric(items), cast(Goal, goal), {}
    goals: dict[str, Goal] = {}
    for item, (name, _, end) in zip(items, told, strict=True):
        if end not in _GOALS or not name:
            raise MetricError(
                f"of several goals each metric tells its own, as in latency=minimize; got {item!r}"
            )
        if name in goals:
            raise MetricError(f"--metric names {name!r} twice")
        goals[name] = cast(Goal, end)
    if goal is not None:
        raise ConfigError(f"--metric tells the goal of {', '.join(goals)}; leave out --goal")
    first, *further = goals
    return first, goals[first], {name: goals[name] for name in further}


def parse_limits(items: Sequence[str]) -> dict[str, Limit]:
    """Read `NAME <= NUMBER` and `NAME >= NUMBER` items.

    Raises:
        MetricError: An item is none, or a metric has two limits.
    """
    written: dict[str, str] = {}
    for item in items:
        found = _LIMIT.fullmatch(item)
        if found is None or not found[1].strip():
            raise MetricError(
                f"--limit takes 'metric <= number' or 'metric >= number', got {item!r}"
            )
        name = found[1].strip()
        if name in written:
            raise MetricError(f"--limit names {name!r} twice")
        written[name] = found[2]
    return read_limits(written)


def parse_metric(items: Sequence[str]) -> str | Weighted:
    """Read `--metric NAME`, or several `--metric NAME=WEIGHT`.

    Raises:
        MetricError: Several metrics have no weights, or a weight is no number.
    """
    if len(items) == 1 and "=" not in items[0]:
        return items[0]
    weights: dict[str, float] = {}
    for item in items:
        name, equals, weight = item.rpartition("=")
        try:
            weights[name] = float(weight)
        except ValueError:
            equals = ""
        if not equals or not name:
            raise MetricError(
                f"--metric takes one name, or name=weight for each metric, got {item!r}"
            )
    return Weighted(weights)


def _parse_value(space: SearchSpace, name: str, text: str) -> Value:
    parameter = space.get(name)
    if parameter is None:
        return space.validate_value(name, text)  # raises an error that names the known parameters
    if isinstance(parameter, Float | Int):
        try:
            number = float(text)
        except ValueError:
            raise SearchSpaceError(f"parameter {name!r}: expected a number, got {text!r}") from None
        return space.validate_value(name, number)
    for choice in parameter.choices:
        if str(choice) == text:
            return choice
    raise SearchSpaceError(
        f"parameter {name!r}: expected one of {list(map(str, parameter.choices))}, got {text!r}"
    )
