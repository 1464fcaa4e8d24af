"""Sections of settings: what their numbers may be, and how they are built from plain values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeAlias, TypeVar, get_args, get_type_hints

from optformer.data.studies.errors import ConfigError

Count: TypeAlias = int
"""A whole number of at least 1; a plain `int` is one of at least 0."""

Positive: TypeAlias = float
"""A number above 0; a plain `float` is one of at least 0."""

Share: TypeAlias = float
"""A number in [0, 1]."""

Fraction: TypeAlias = float
"""A number in [0, 1)."""

_LIMITS: dict[str, tuple[Callable[[float], bool], str]] = {
    "Count": (lambda value: value >= 1, "at least 1"),
    "Positive": (lambda value: value > 0, "above 0"),
    "Share": (lambda value: value <= 1, "a share in [0, 1]"),
    "Fraction": (lambda value: value < 1, "in [0, 1)"),
}
_WHOLE, _NUMBERS = ("int", "Count"), ("float", "Positive", "Share", "Fraction")

_Section = TypeVar("_Section")


def check_numbers(section: Any) -> None:
    """Raise `ConfigError` when a number of a section is none, or out of its type's range."""
    for item in fields(section):
        value = getattr(section, item.name)
        if item.type in _WHOLE:
            kind, fits = "whole number", isinstance(value, int) and not isinstance(value, bool)
        elif item.type in _NUMBERS:
            kind, fits = "number", is_number(value)
        else:
            continue
        if not fits or not 0 <= value < math.inf:
            raise ConfigError(f"{item.name} must be a {kind} of at least 0, got {value!r}")
        within, limit = _LIMITS.get(str(item.type), (lambda _: True, ""))
        if not within(value):
            raise ConfigError(f"{item.name} must be {limit}, got {value}")


def is_number(value: Any) -> bool:
    """Whether something is a number, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def are_shares(table: Any) -> bool:
    """Whether something maps to shares: numbers, none negative, not all zero."""
    shares: list[Any] = list(table.values()) if isinstance(table, Mapping) else []
    return any(shares) and all(is_number(share) and 0 <= share < math.inf for share in shares)


def build(
    cls: type[_Section], values: Mapping[str, Any], renamed: Mapping[str, Mapping[str, str]]
) -> _Section:
    """A section from plain values; sections within it are mappings, or lists of them.

    Args:
        cls: A dataclass.
        values: Its settings by name.
        renamed: Class name to earlier names of its settings, and their present ones.

    Raises:
        ConfigError: A setting is unknown, missing or out of range.
    """
    now = renamed.get(cls.__name__, {})
    values = {now.get(name, name): value for name, value in values.items()}
    items = {item.name: item for item in fields(cls)}  # type: ignore[arg-type]
    unknown = [name for name in values if name not in items]
    if unknown:
        raise ConfigError(
            f"unknown setting {unknown[0]!r} in {cls.__name__}; known: {sorted(items)}"
        )
    for name, item in items.items():
        optional = item.default is not MISSING or item.default_factory is not MISSING
        if not optional and name not in values:
            raise ConfigError(f"{cls.__name__} needs the setting {name!r}")
    types = get_type_hints(cls)
    nested = {name: _nested(name, types[name], value, renamed) for name, value in values.items()}
    try:
        return cls(**nested)
    except TypeError as error:
        raise ConfigError(f"{cls.__name__}: {error}") from error


def _nested(name: str, kind: Any, value: Any, renamed: Mapping[str, Mapping[str, str]]) -> Any:
    """The sections that a setting holds, if it holds any."""
    inside = get_args(kind)
    section: Any = next((part for part in (kind, *inside) if is_dataclass(part)), None)
    if section is None or (value is None and type(None) in inside):
        return value
    if section in inside and type(None) not in inside:
        if not isinstance(value, Sequence) or not all(isinstance(v, Mapping) for v in value):
            raise ConfigError(f"{name} must list mappings of settings, got {value!r}")
        built = []
        for number, item in enumerate(value):
            try:
                built.append(build(section, item, renamed))
            except ConfigError as error:
                raise ConfigError(f"{name}[{number}]: {error}") from None
        return tuple(built)
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name} must be a mapping of settings, got {value!r}")
    return build(section, value, renamed)
