"""Read search spaces from files and objects, and write them as YAML or JSON files."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from optformer.data.runtime.bounded_files import read_file
from optformer.data.runtime.files import write_text
from optformer.data.studies.errors import OptFormerWarning, SearchSpaceError
from optformer.data.studies.parameters import Categorical
from optformer.data.studies.space_formats.reading import OWN, read_space
from optformer.data.studies.space_formats.translated import TranslatedSpace
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.yaml_json import parse_json, parse_yaml, to_json, to_yaml

_FILE_BYTES = 64_000_000  # of a space; 200,000 words have 2


class _Format(NamedTuple):
    parse: Callable[[str], Any]
    write: Callable[[Any], str]


_YAML, _JSON = _Format(parse_yaml, to_yaml), _Format(parse_json, to_json)
_SWITCHES = ("on", "off", "yes", "no")
_FORMATS = {".yaml": _YAML, ".yml": _YAML, ".json": _JSON}


def load_space(source: str | Path | Any) -> SearchSpace:
    """Read a search space: ours, or that of another tool, told by its content.

    ```yaml
    lr: {type: float, low: 1e-6, high: 1e-1, log: true, description: learning rate}
    optimizer: {type: categorical, choices: [sgd, adam]}
    momentum: {type: float, low: 0, high: 0.99, when: {optimizer: [sgd]}}
    ```

    Files of Optuna, ConfigSpace, W&B, NNI and Hydra's Optuna sweeper are read, too, and in Python
    what Optuna, ConfigSpace, scikit-learn's random search and Ray Tune search. What cannot be read
    exactly is told as a warning, what cannot be read at all is refused.

    YAML is read by the rules of YAML 1.2: `1e-6` is a number, and `on`, `yes` and dates are text.

    Args:
        source: A file ending in `.yaml`, `.yml` or `.json`, or an object.

    Raises:
        SearchSpaceError: The file cannot be read or does not describe a space; the message names
            the file, the parameter and the field.
    """
    translated = translate_space(source)
    for remark in translated.remarks:
        warnings.warn(remark, OptFormerWarning, stacklevel=2)
    return translated.space


def translate_space(source: str | Path | Any) -> TranslatedSpace:
    """Read a search space as `load_space` does, with what there is to say about it.

    Raises:
        SearchSpaceError: As `load_space`.
    """
    if not isinstance(source, str | Path):
        return read_space(source)
    path = Path(source)
    parse = _format(path).parse
    try:
        described = parse(read_file(path, limit=_FILE_BYTES).decode())
    except OSError as error:
        fault = error.strerror or error
        raise SearchSpaceError(f"cannot read search space {path}: {fault}") from error
    except ValueError as error:
        raise SearchSpaceError(f"{path} is not a readable {path.suffix} file: {error}") from error
    try:
        translated = read_space(described)
    except SearchSpaceError as error:
        raise SearchSpaceError(f"{path}: {error}") from None
    return _with_word_on_switches(translated) if parse is parse_yaml else translated


def _with_word_on_switches(translated: TranslatedSpace) -> TranslatedSpace:
    """Tell that `on` and `yes` are text: other tools read YAML by its older version."""
    if translated.tool == OWN:
        return translated
    notes = [
        f"{name}: {choice!r} is text here; {translated.tool} reads it as a truth value unless it "
        "is quoted"
        for name, parameter in translated.space.items()
        if isinstance(parameter, Categorical)
        for choice in parameter.choices
        if isinstance(choice, str) and choice.lower() in _SWITCHES
    ]
    return replace(translated, notes=(*translated.notes, *notes))


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
    except UnicodeEncodeError as error:  # half of a character
        raise SearchSpaceError(f"cannot write search space {path}: {error}") from error


def _format(path: Path) -> _Format:
    if path.suffix.lower() not in _FORMATS:
        raise SearchSpaceError(
            f"a search space file must end in one of {sorted(_FORMATS)}, got {path.name!r}"
        )
    return _FORMATS[path.suffix.lower()]
