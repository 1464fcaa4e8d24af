"""Read what users write on the command line: `name=value` pairs and metrics."""

from __future__ import annotations

from collections.abc import Sequence

from optformer.data.studies.errors import ConfigError, MetricError, SearchSpaceError
from optformer.data.studies.parameters import Float, Int, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import Weighted


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
