"""A space of another tool in our parameters, and the builder that collects it."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from optformer.data.runtime.text import shorten
from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.parameters import Categorical, Condition, Int, Ordinal, Parameter, Value
from optformer.data.studies.spaces import SearchSpace

Note = Callable[[str], None]
"""Takes a word to the user about something that was not read exactly."""

_LONGEST_LABEL = 80  # characters of the text that stands for a choice
_LARGEST = 1e300  # numbers beyond it, and NaN, are none that anybody searches
_EXACT = 2**53  # larger whole numbers are not exact as floats
_LISTED = 32  # evenly spaced whole numbers beyond so many become a range


@dataclass(frozen=True)
class TranslatedSpace:
    """What was understood of a space.

    Attributes:
        tool: Whose space it was.
        space: The same space in our parameters.
        originals: For parameters with choices that are no plain values (lists, objects): the text
            that stands for each in `space`, and the choice itself.
        notes: What was not read exactly, each with its path in the original.
    """

    tool: str
    space: SearchSpace
    originals: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def remarks(self) -> list[str]:
        """The notes, and which parameters have choices that are written as text."""
        texts = [
            f"{name}: choices that are lists or objects are written as text"
            for name in self.originals
        ]
        return [*texts, *self.notes]

    def decode(self, params: Mapping[str, Value]) -> dict[str, Any]:
        """A point of `space` with the original choices in place of their texts."""
        return {
            name: self.originals[name].get(value, value) if name in self.originals else value
            for name, value in params.items()
        }

    def encode(self, params: Mapping[str, Any]) -> dict[str, Value]:
        """A point of `space` from one with original choices; others are left as they are."""
        return {
            name: next(
                (
                    label
                    for label, original in self.originals.get(name, {}).items()
                    if _equal(original, value)
                ),
                value,
            )
            for name, value in params.items()
        }


class _LocatedError(SearchSpaceError):
    """An error that names its path."""


class SpaceBuilder:
    """Collects parameters while a space is read.

    Args:
        tool: Whose space it is.
    """

    def __init__(self, tool: str) -> None:
        self._tool = tool
        self._parameters: dict[str, Parameter] = {}
        self._originals: dict[str, dict[str, Any]] = {}
        self._notes: list[str] = []
        self._path = ""

    @contextmanager
    def at(self, path: str) -> Iterator[None]:
        """A block that reads what stands at a path of the original; errors and notes name it."""
        before, self._path = self._path, path
        try:
            yield
        except _LocatedError:  # its path begins with this one
            raise
        except SearchSpaceError as error:
            raise _LocatedError(f"{path}: {error}") from None
        finally:
            self._path = before

    def note(self, text: str) -> None:
        """Tell the user about what stands here."""
        self._notes.append(f"{self._path}: {text}" if self._path else text)

    def add(self, name: str, parameter: Parameter) -> None:
        """Add a parameter.

        Raises:
            SearchSpaceError: There is one of this name.
        """
        if name in self._parameters:
            raise SearchSpaceError(f"parameter {name!r} is given twice")
        self._parameters[name] = parameter

    def add_choices(
        self, name: str, values: Sequence[Any], *, when: Condition | None = None
    ) -> None:
        """Add a parameter with a list of choices; numbers have an order, anything else has none.

        What is no plain value is searched by a text that stands for it. A choice that is repeated
        counts once, with a note.

        Raises:
            SearchSpaceError: The list is empty, or there is a parameter of this name.
        """
        labels: list[Value] = []
        originals: dict[str, Any] = {}
        for value in map(_builtin, values):
            label = value if _is_plain(value) else _label(value, originals)
            if any(_same(label, other) for other in labels):
                self.note(f"{label!r} is among the choices more than once and counts once")
                continue
            labels.append(label)
            if label is not value:
                originals[label] = value
        if originals:
            self._originals[name] = originals
        self.add(name, choices_of(labels, when))

    def build(self) -> TranslatedSpace:
        """The space as it was understood.

        Raises:
            SearchSpaceError: There is no parameter, or conditions contradict the parameters.
        """
        space = SearchSpace(self._parameters)
        return TranslatedSpace(self._tool, space, self._originals, tuple(self._notes))


def choices_of(labels: list[Value], when: Condition | None) -> Parameter:
    """A parameter with plain choices: numbers have an order, anything else has none."""
    if len(labels) < 2 or not all(map(is_number, labels)):
        return Categorical(labels, when=when)
    ordered = sorted(labels)
    step = ordered[1] - ordered[0]
    if len(ordered) > _LISTED and ordered == list(_whole_range(ordered[0], ordered[-1], step)):
        return Int(ordered[0], ordered[-1], step=step, when=when)
    return Ordinal(ordered, when=when)


def expect_mapping(what: Any) -> Mapping[str, Any]:
    """Something that has to be a mapping with text as keys.

    Raises:
        SearchSpaceError: It is something else.
    """
    if not isinstance(what, Mapping):
        raise SearchSpaceError(f"expected a mapping, got {shorten(repr(what), _LONGEST_LABEL)}")
    for key in what:
        if not isinstance(key, str):
            raise SearchSpaceError(f"a name must be text, got {key!r}; quote it")
    return what


def expect_list(what: Any) -> list[Any]:
    """Something that has to be a list with members.

    Raises:
        SearchSpaceError: It is something else.
    """
    if not isinstance(what, list | tuple) or not what:
        raise SearchSpaceError(
            f"expected a list of values, got {shorten(repr(what), _LONGEST_LABEL)}"
        )
    return list(what)


def is_number(value: Any) -> bool:
    """Whether a value is an int or a float, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def expect_number(what: Any) -> int | float:
    """Something that has to be a finite number.

    Raises:
        SearchSpaceError: It is something else.
    """
    if not is_number(what):
        raise SearchSpaceError(f"expected a number, got {shorten(repr(what), _LONGEST_LABEL)}")
    if not abs(what) <= _LARGEST:
        raise SearchSpaceError(f"expected a finite number, got {what!r}")
    number: int | float = what if abs(what) <= _EXACT else float(what)
    return number


def expect_one_of(what: Any, known: Collection[str]) -> str:
    """Something that has to be one of several words.

    Raises:
        SearchSpaceError: It is something else.
    """
    if not isinstance(what, str) or what not in known:
        got = shorten(repr(what), _LONGEST_LABEL)
        raise SearchSpaceError(f"expected one of {sorted(known)}, got {got}")
    return what


def _whole_range(first: Value, last: Value, step: Value) -> range:
    if not all(isinstance(number, int) for number in (first, last, step)):
        return range(0)
    return range(first, last + 1, step)


def _builtin(value: Any) -> Any:
    """NumPy's scalars as Python's."""
    return value.item() if hasattr(value, "dtype") and getattr(value, "ndim", None) == 0 else value


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | bool | int | float)


def _same(one: Value, other: Value) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _label(value: Any, taken: Mapping[str, Any]) -> str:
    """A short text for a choice: the same for equal ones, another for different ones."""
    text = shorten(_text(value), _LONGEST_LABEL)
    labels = [text, *(f"{text} ({count})" for count in range(2, len(taken) + 3))]
    return next(label for label in labels if label not in taken or _equal(taken[label], value))


def _text(value: Any) -> str:
    if isinstance(value, type) or callable(value):
        return getattr(value, "__name__", type(value).__name__)
    try:
        return json.dumps(value)
    except (TypeError, ValueError):
        return " ".join(repr(value).split())


def _equal(one: Any, other: Any) -> bool:
    try:
        return one is other or bool(one == other)
    except (TypeError, ValueError):  # arrays have no single answer
        return False
