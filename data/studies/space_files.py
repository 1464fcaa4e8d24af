"""Read and write search spaces as YAML or JSON files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from optformer.data.runtime.files import write_text
from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.yaml_json import parse_json, parse_yaml, to_json, to_yaml


class _Format(NamedTuple):
    parse: Callable[[str], Any]
    write: Callable[[Any], str]


_YAML, _JSON = _Format(parse_yaml, to_yaml), _Format(parse_json, to_json)
_FORMATS = {".yaml": _YAML, ".yml": _YAML, ".json": _JSON}


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
    parse = _format(path).parse
    try:
        described = parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SearchSpaceError(f"cannot read search space {path}: {error.strerror}") from error
    except ValueError as error:
        raise SearchSpaceError(f"{path} is not a readable {path.suffix} file: {error}") from error
    try:
        return SearchSpace.from_dict(described)
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
    text = _format(path).write(space.to_dict())
    try:
        path.parent.stat()  # a folder of a mistyped name is not made
        write_text(path, text)
    except OSError as error:
        raise SearchSpaceError(f"cannot write search space {path}: {error.strerror}") from error


def _format(path: Path) -> _Format:
    if path.suffix.lower() not in _FORMATS:
        raise SearchSpaceError(
            f"a search space file must end in one of {sorted(_FORMATS)}, got {path.name!r}"
        )
    return _FORMATS[path.suffix.lower()]
