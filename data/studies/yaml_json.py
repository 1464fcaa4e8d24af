"""Text in YAML and JSON: the same values in both, and no key twice.

YAML is read and written by the core schema of YAML 1.2: `1e-6` is a number, and `on`, `yes` and
dates are text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from typing import Any

import yaml

_MOST_VALUES = 1_000_000
_TOO_DEEP = "it is nested too deeply"

_UNICODE_BREAKS = set("\x85\u2028\u2029")
_INT = re.compile(r"[-+]?[0-9]+$")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$")


def parse_yaml(text: str) -> Any:
    """Read one document.

    Raises:
        ValueError: It is not YAML, a mapping has a key twice or one that is no scalar, or aliases
            repeat more than a million values.
    """
    try:
        document = yaml.load(text, Loader=_Loader)
        if _count(document, {}) > _MOST_VALUES:
            raise ValueError(f"its aliases repeat more than {_MOST_VALUES} values")
    except (yaml.YAMLError, KeyError, AttributeError) as error:  # no truth value, no date
        raise ValueError(str(error)) from error
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    return document


def parse_json(text: str) -> Any:
    """Read one document.

    Raises:
        ValueError: It is not JSON, is nested too deeply, or an object has a key twice.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def to_yaml(value: Any) -> str:
    """Write a document, mappings in their order."""
    text = _dumped(value, allow_unicode=True)
    # PyYAML writes these line breaks of Unicode as they are, and reads them as spaces.
    return _dumped(value, allow_unicode=False) if _UNICODE_BREAKS & set(text) else text


def _dumped(value: object, *, allow_unicode: bool) -> str:
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=allow_unicode))


def to_json(value: Any) -> str:
    """Write a document on indented lines."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _count(value: Any, known: dict[int, int]) -> int:
    """How many values there are, those behind aliases each time.

    Args:
        value: A document; a collection that holds itself is endless.
        known: The counts of collections by their identities.
    """
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = _MOST_VALUES + 1  # until it is known: what holds itself keeps that
        inside = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_count(each, known) for each in inside)
    return known[id(value)]


def _unique(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """A mapping from its pairs, refusing a key that both formats would silently overwrite."""
    mapping: dict[Any, Any] = {}
    for key, value in pairs:
        if not isinstance(key, Hashable):
            raise ValueError(f"a key must be text, got {key!r}")
        if key in mapping:
            raise ValueError(f"{key!r} is given twice")
        mapping[key] = value
    return mapping


class _Loader(yaml.SafeLoader):
    """The core schema of YAML 1.2: PyYAML's 1.1 reads 1e-6 as text and `on` as true."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


class _Dumper(yaml.SafeDumper):
    """Quotes text that either version of YAML would read as something else."""


def _pairs(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    return _unique(
        [
            (loader.construct_object(key, deep=True), loader.construct_object(value, deep=True))
            for key, value in node.value
        ]
    )


def _whole(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))


def _real(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    return float(loader.construct_scalar(node))


for _tag, _pattern, _first in (
    ("null", re.compile(r"(?:~|null|Null|NULL)?$"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    ("int", _INT, list("-+0123456789")),
    ("float", _FLOAT, list("-+0123456789.")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, _first)
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, _first)
_Loader.add_constructor("tag:yaml.org,2002:map", _pairs)
_Loader.add_constructor("tag:yaml.org,2002:int", _whole)
_Loader.add_constructor("tag:yaml.org,2002:float", _real)
