"""Command lines with placeholders for a trial's parameters."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Categorical, Ordinal, Value
from optformer.data.studies.spaces import SearchSpace

BUILT_IN = ("trial", "out")
"""Placeholders that are no parameters: the trial's number, and its directory."""

_TOKEN = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[{}]")
_OPTION = re.compile(r"--?[A-Za-z][^=]*")  # "-1" is a number and "--" a separator, not options
_FLAG = re.compile(r"(.+?):(--?[A-Za-z][^/]*)(?:/(--?[A-Za-z].*))?")


@dataclass(frozen=True)
class _Hole:
    """A placeholder inside an argument."""

    name: str


@dataclass(frozen=True)
class _Flag(_Hole):
    """A placeholder that becomes an option without a value.

    Attributes:
        on: The argument when the parameter is true.
        off: When it is false; None for no argument.
    """

    on: str
    off: str | None

    def arguments(self, value: Value) -> list[str]:
        """The argument for a parameter's value, if there is one; inactive parameters have none."""
        chosen = {True: self.on, False: self.off}.get(value) if isinstance(value, bool) else None
        return [] if chosen is None else [chosen]


_Parts = tuple[str | _Hole, ...]


class CommandTemplate:
    """A command whose arguments hold `{parameter}`, `{trial}` and `{out}` placeholders.

    Values are written the way Python prints them, but a negative number that is an argument of its
    own has no exponent: many parsers take `-5e-05` for an option. `{{` and `}}` stand for single
    braces. A
    conditional parameter may be an argument of its own (`--momentum {momentum}`) or the value of
    one (`--momentum={momentum}`, `optimizer.momentum={momentum}`); while it is inactive that
    argument is left out, and in the first form the option before it too. `{amp:--amp}` is a flag:
    the argument `--amp` when the parameter is true, none when it is false; `{amp:--amp/--no-amp}`
    is one of two.

    Raises:
        ConfigError: The command is empty, a placeholder is unknown or ambiguous, braces do not
            pair, a conditional parameter or a flag stands inside other text, or a flag's parameter
            has other choices than true and false.
    """

    def __init__(self, arguments: Sequence[str], space: SearchSpace) -> None:
        if not arguments:
            raise ConfigError(
                "expected the command to tune after `--`, got none; "
                "for instance: -- python train.py --lr {lr}"
            )
        self._arguments = [_parse(argument, space.names) for argument in arguments]
        for argument, parts in zip(arguments, self._arguments, strict=True):
            for hole in _holes(parts):
                _check_hole(hole, argument, parts, space)
        mentioned = {hole.name for parts in self._arguments for hole in _holes(parts)}
        self.unused = tuple(name for name in space.names if name not in mentioned)
        """Parameters the command does not mention."""

    @property
    def program(self) -> str | None:
        """The program to run, None when its name depends on the trial."""
        first = self._arguments[0]
        return None if _holes(first) else "".join(map(str, first))

    def fill(self, params: Mapping[str, Value], *, number: int, out: Path) -> list[str]:
        """The command of one trial.

        Args:
            params: Active parameters and their values.
            number: The trial's number, for `{trial}`.
            out: The trial's directory, for `{out}`.

        Returns:
            The arguments to run, without any placeholder.
        """
        values = {name: str(value) for name, value in params.items()}
        values |= {"trial": str(number), "out": str(out)}
        filled: list[str] = []
        option_waits = False  # whether the last argument is an option that takes this one as value
        for parts in self._arguments:
            if parts and isinstance(parts[0], _Flag):
                filled += parts[0].arguments(params.get(parts[0].name))
                option_waits = False
                continue
            if all(hole.name in values for hole in _holes(parts)):
                text = "".join(values[p.name] if isinstance(p, _Hole) else p for p in parts)
                alone = parts[0] if len(parts) == 1 else ""
                if isinstance(alone, _Hole) and isinstance(params.get(alone.name), float):
                    text = _without_exponent(text)
                filled.append(text)
                option_waits = not _holes(parts) and _OPTION.fullmatch(text) is not None
                continue
            if option_waits and len(parts) == 1:
                filled.pop()
            option_waits = False
        return filled


def fill_path(template: str, *, number: int, out: Path) -> Path:
    """Replace `{trial}` and `{out}` in a path; a relative path lies in the trial's directory.

    Args:
        template: The path with its placeholders.
        number: The trial's number.
        out: The trial's directory, absolute.

    Raises:
        ConfigError: Another placeholder stands in it, or braces do not pair.
    """
    values = {"trial": str(number), "out": str(out)}
    parts = _parse(template)
    for hole in _holes(parts):
        if hole.name not in values or isinstance(hole, _Flag):
            raise ConfigError(
                f"unknown placeholder {{{hole.name}}} in path {template!r}; "
                "a path takes {trial} and {out}"
            )
    return out / "".join(values[p.name] if isinstance(p, _Hole) else p for p in parts)


def _parse(argument: str, names: Collection[str] = ()) -> _Parts:
    parts: list[str | _Hole] = []
    end = 0
    for match in _TOKEN.finditer(argument):
        parts.append(argument[end : match.start()])
        token, end = match.group(), match.end()
        if token in ("{{", "}}"):
            parts.append(token[0])
        elif len(token) == 1:
            raise ConfigError(
                f"a single {token!r} stands in argument {argument!r}; "
                "write {name} for a parameter, and {{ or }} for a brace"
            )
        else:
            parts.append(_hole(token[1:-1], names))
    parts.append(argument[end:])
    return tuple(part for part in parts if part != "")


def _hole(content: str, names: Collection[str]) -> _Hole:
    flag = _FLAG.fullmatch(content)
    if flag is None or content in names:
        return _Hole(content)
    return _Flag(flag[1], flag[2], flag[3])


def _without_exponent(number: str) -> str:
    """A number for an argument of its own: the same value, a minus followed by digits alone."""
    return format(Decimal(number), "f") if number.startswith("-") and "e" in number else number


def _holes(parts: _Parts) -> list[_Hole]:
    return [part for part in parts if isinstance(part, _Hole)]


def _check_hole(hole: _Hole, argument: str, parts: _Parts, space: SearchSpace) -> None:
    if hole.name in BUILT_IN and not isinstance(hole, _Flag):
        if hole.name in space:
            raise ConfigError(
                f"placeholder {{{hole.name}}} in argument {argument!r} is both a parameter and "
                f"the trial's own; rename parameter {hole.name!r}"
            )
        return
    if hole.name not in space:
        raise ConfigError(
            f"unknown placeholder {{{hole.name}}} in argument {argument!r}; expected one of "
            f"{[*space.names, *BUILT_IN]}, and {{{{ or }}}} for a brace"
        )
    if isinstance(hole, _Flag):
        _check_flag(hole.name, argument, parts, space)
        return
    text_before = "".join(str(part) for part in parts[:-1])
    own_argument = parts[-1] == hole and (len(parts) == 1 or text_before.endswith("="))
    if space[hole.name].when and not (own_argument and len(_holes(parts)) == 1):
        raise ConfigError(
            f"parameter {hole.name!r} is conditional, so argument {argument!r} cannot always be "
            f"written; make {{{hole.name}}} an argument of its own or write NAME={{{hole.name}}}"
        )


def _check_flag(name: str, argument: str, parts: _Parts, space: SearchSpace) -> None:
    if len(parts) > 1:
        raise ConfigError(
            f"a flag stands inside argument {argument!r}; make {{{name}:--OPTION}} an argument of "
            "its own"
        )
    parameter = space[name]
    choices = parameter.choices if isinstance(parameter, Categorical | Ordinal) else ()
    if not choices or not all(isinstance(choice, bool) for choice in choices):
        raise ConfigError(
            f"argument {argument!r} is a flag, so parameter {name!r} must have the choices true "
            f"and false; write {{{name}}} for its value"
        )
