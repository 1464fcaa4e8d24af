"""Read and write search spaces as YAML or JSON files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import yaml

from optformer.data.errors import SearchSpaceError
from optformer.data.spaces import SearchSpace

_INT = re.compile(r"[-+]?[0-9]+$")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$")


def load_space(path: str | Path) -> SearchSpace:
    """Read a search space from a file of one mapping, parameter name to parameter.

    ```yaml
    lr: {type: float, low: 1e-6, high: 1e-1, log: true, description: learning rate}
    optimizer: {type: categorical, choices: [sgd, adam]}
    momentum: {type: float, low: 0, high: 0.99, when: {optimizer: [sgd]}}
    ```

    YAML is read by the rules of YAML 1.2: `1e-6` is a number, and `on`, `yes` and dates are text.

    Args:
        path: A file ending in `.yaml`, `.yml` or `.json`.

    Raises:
        SearchSpaceError: The file cannot be read or does not describe a space; the message names
            the file, the parameter and the field.
    """
    path = Path(path)
    parse = _parser(path)
    try:
        described = parse(path.read_text(encoding="utf-8"))
        return SearchSpace.from_dict(described)
    except OSError as error:
        raise SearchSpaceError(f"cannot read search space {path}: {error.strerror}") from error
    except (yaml.YAMLError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise SearchSpaceError(f"{path} is not a readable {path.suffix} file: {error}") from error
    except SearchSpaceError as error:
        raise SearchSpaceError(f"{path}: {error}") from None


def save_space(space: SearchSpace, path: str | Path) -> None:
    """Write a search space so that `load_space` reads an equal one.

    Args:
        space: What to write.
        path: A file ending in `.yaml`, `.yml` or `.json`; it is overwritten.

    Raises:
        SearchSpaceError: The suffix is unknown or the file cannot be written.
    """
    path = Path(path)
    if _parser(path) is _parse_json:
        text = json.dumps(space.to_dict(), indent=2, ensure_ascii=False) + "\n"
    else:
        text = yaml.dump(space.to_dict(), Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SearchSpaceError(f"cannot write search space {path}: {error.strerror}") from error


def _parser(path: Path) -> Callable[[str], Any]:
    parsers = {".yaml": _parse_yaml, ".yml": _parse_yaml, ".json": _parse_json}
    if path.suffix.lower() not in parsers:
        raise SearchSpaceError(
            f"a search space file must end in one of {sorted(parsers)}, got {path.name!r}"
        )
    return parsers[path.suffix.lower()]


def _parse_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_unique)


def _parse_yaml(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)


def _unique(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """A mapping from its pairs, refusing a key that both formats would silently overwrite."""
    mapping: dict[Any, Any] = {}
    for key, value in pairs:
        if not isinstance(key, Hashable):
            raise SearchSpaceError(f"a key must be text, got {key!r}")
        if key in mapping:
            raise SearchSpaceError(f"{key!r} is given twice")
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
