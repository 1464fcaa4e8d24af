"""Spaces of Hydra's Optuna sweeper, `hydra.sweeper.params` in a YAML file.

Source: `hydra_optuna_sweeper` 1.2 and the grammar of overrides, hydra.cc.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.space_formats.optuna_json import parameter_of
from optformer.data.studies.space_formats.ranges import interval, stepped
from optformer.data.studies.space_formats.translated import (
    SpaceBuilder,
    TranslatedSpace,
    expect_mapping,
    expect_number,
    is_number,
)

TOOL = "Hydra's Optuna sweeper"

_CALL = re.compile(r"([A-Za-z_]+)\((.*)\)$", re.DOTALL)
_SWEEP = re.compile(r"\s*(?:(?:tag|int|float|shuffle|sort)\(.*)?(?:choice|interval|range)\(")
_KEYWORD = re.compile(r"([A-Za-z_]+)\s*=\s*(.*)$", re.DOTALL)
_NUMBER = re.compile(r"[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?$")
_WORDS = {"true": True, "false": False, "null": None}
_BRACKETS = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class _Sweep:
    """What an override says: choices, or the bounds of an interval or range."""

    choices: list[Any] | None = None
    low: Any = None
    high: Any = None
    step: Any = None
    tags: frozenset[str] = field(default_factory=frozenset)


def matches(described: Mapping[Any, Any]) -> bool:
    """Whether a mapping is a configuration with a sweeper, or the sweeper's own."""
    return _sweeper(described) is not None


def read(described: Mapping[str, Any]) -> TranslatedSpace:
    """The parameters of a sweeper: `params`, or `search_space` of older versions.

    Raises:
        SearchSpaceError: A parameter cannot be read; the message has its path.
    """
    builder = SpaceBuilder(TOOL)
    sweeper, path = _sweeper(described) or ({}, "")
    for unread in ("custom_search_space",):
        if sweeper.get(unread):
            with builder.at(f"{path}{unread}"):
                raise SearchSpaceError("a function that suggests parameters cannot be read")
    if isinstance(sweeper.get("params"), Mapping):
        group = "params"
        for name, text in expect_mapping(sweeper[group]).items():
            with builder.at(f"{path}{group}.{name}"):
                _add(builder, name, _override(text))
    else:
        group = "search_space"
        for name, entry in expect_mapping(sweeper[group]).items():
            with builder.at(f"{path}{group}.{name}"):
                builder.add(name, parameter_of(entry))
    return builder.build()


def _sweeper(described: Mapping[Any, Any]) -> tuple[Mapping[str, Any], str] | None:
    """The mapping that holds the space, and its path."""
    hydra = described.get("hydra")
    inner = hydra.get("sweeper") if isinstance(hydra, Mapping) else None
    if "OptunaSweeper" in str(described.get("_target_", "")) or _has_sweep(described.get("params")):
        inner, path = described, ""
    else:
        path = "hydra.sweeper."
    if isinstance(inner, Mapping) and any(
        isinstance(inner.get(key), Mapping) for key in ("params", "search_space")
    ):
        return inner, path
    return None


def _has_sweep(params: Any) -> bool:
    """Whether a mapping has a value that only a sweeper reads, as in a file of its `params`."""
    return isinstance(params, Mapping) and any(
        isinstance(text, str) and _SWEEP.match(text) for text in params.values()
    )


def _add(builder: SpaceBuilder, name: str, sweep: _Sweep) -> None:
    if sweep.choices is not None:
        builder.add_choices(name, sweep.choices)
        return
    low, high = expect_number(sweep.low), expect_number(sweep.high)
    log = "log" in sweep.tags
    if sweep.step is not None:
        if log:
            builder.note(
                "the sweeper draws this range evenly; the tag asks for a logarithmic scale"
            )
        builder.add(name, stepped(low, high, sweep.step, log=log, note=builder.note))
        return
    whole = isinstance(low, int) and isinstance(high, int)
    builder.add(name, interval(low, high, log=log, whole=whole))


def _override(text: Any) -> _Sweep:
    """What the sweeper makes of one value of `params`."""
    if not isinstance(text, str):
        return _Sweep(choices=[text])
    parts = _split(text)
    if len(parts) > 1:  # the short way of writing a choice: a,b,c
        return _Sweep(choices=[_value(part) for part in parts])
    call = _CALL.match(text.strip())
    return _called(call[1], call[2]) if call else _Sweep(choices=[_value(text)])


def _called(function: str, inside: str) -> _Sweep:
    positional, named = _arguments(inside)
    if function == "choice":
        return _Sweep(choices=[_value(part) for part in positional])
    if function == "interval":
        low, high = _bind(function, positional, named, ("start", "end"))
        # Whole bounds, too, stand for a range of floats, unless int(...) is around it.
        return _cast("float", _Sweep(low=_value(low), high=_value(high)))
    if function == "range":
        if len(positional) == 1 and "stop" not in named:
            positional = ["0", *positional]
        low, high, step = _bind(
            function, positional, {"step": "1", **named}, ("start", "stop", "step")
        )
        return _Sweep(low=_value(low), high=_value(high), step=_value(step))
    if function == "tag" and positional:
        sweep = _override(positional[-1])
        return replace(sweep, tags=sweep.tags | {part.strip() for part in positional[:-1]})
    if function in ("shuffle", "sort") and positional:  # the order of trials
        return _listed(positional)
    if function in ("int", "float") and len(positional) == 1:
        return _cast(function, _override(positional[0]))
    raise SearchSpaceError(
        f"cannot read {function}(...); expected choice, interval, range, tag, int, float, shuffle "
        "or sort"
    )


def _listed(positional: list[str]) -> _Sweep:
    """What is shuffled or sorted is a list, in which a range ends before its bound."""
    if len(positional) > 1:
        return _Sweep(choices=[_value(part) for part in positional])
    sweep = _override(positional[0])
    if sweep.step is None:
        return sweep
    low, high, step = map(expect_number, (sweep.low, sweep.high, sweep.step))
    if step <= 0 or low + step * 10_000 < high:
        raise SearchSpaceError(f"a range needs a step above 0 and few values, got {positional[0]}")
    count = math.ceil((high - low) / step)
    return _Sweep(choices=[low + place * step for place in range(count)])


def _cast(function: str, sweep: _Sweep) -> _Sweep:
    convert = int if function == "int" else float

    def cast(value: Any) -> Any:
        return convert(value) if is_number(value) else value

    if sweep.choices is not None:
        return replace(sweep, choices=[cast(choice) for choice in sweep.choices])
    return replace(sweep, low=cast(sweep.low), high=cast(sweep.high), step=cast(sweep.step))


def _arguments(inside: str) -> tuple[list[str], dict[str, str]]:
    positional: list[str] = []
    named: dict[str, str] = {}
    for part in _split(inside):
        keyword = _KEYWORD.match(part.strip())
        if keyword:
            named[keyword[1]] = keyword[2]
        elif part.strip():
            positional.append(part)
    return positional, named


def _bind(
    function: str, positional: list[str], named: Mapping[str, str], fields: tuple[str, ...]
) -> list[str]:
    given = {**named, **dict(zip(fields, positional, strict=False))}
    if len(positional) > len(fields) or given.keys() != set(fields):
        raise SearchSpaceError(
            f"{function} takes {', '.join(fields)}, got {', '.join([*positional, *named])}"
        )
    return [given[field] for field in fields]


def _split(text: str) -> list[str]:
    """The parts between commas that no bracket or quote holds."""
    parts, current, quote = [], "", ""
    closing: list[str] = []
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in _BRACKETS:
            closing.append(_BRACKETS[character])
        elif closing and character == closing[-1]:
            closing.pop()
        elif character == "," and not closing:
            parts.append(current)
            current = ""
            continue
        current += character
    if quote or closing:
        raise SearchSpaceError(f"{text!r} has no closing {quote or closing[-1]!r}")
    return [*parts, current]


def _value(text: str) -> Any:
    """One value as Hydra reads it."""
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    if text.startswith("[") and text.endswith("]"):
        return [_value(part) for part in _split(text[1:-1])] if text[1:-1].strip() else []
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _NUMBER.match(text):
        return float(text) if re.search(r"[.eE]", text) else int(text)
    return text
