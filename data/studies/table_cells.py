"""Cells of tables of trials: how values, missing ones and outcomes are written, and read back.

Other tools write 16 as `16.0`, True as `true` or 1, a missing value as `N/A`, a list as JSON. What
has one meaning for a parameter is read as that; what has none, or two, is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.parameters import Float, Int, Parameter, Value
from optformer.data.studies.trials import TrialStatus

Cell: TypeAlias = Any
"""Text in a CSV file, otherwise a built-in value; None or NaN where nothing is written."""

_EMPTY = frozenset({"", "-", "none", "null", "nil", "nan", "na", "n/a", "#n/a", "<na>"})
_TRUTH = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1", "1.0"), True),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0", "0.0"), False),
}
_STATUSES = {
    TrialStatus.PENDING: ("pending", "running", "waiting", "queued", "scheduled"),
    TrialStatus.COMPLETED: ("completed", "complete", "finished", "terminated", "success", "done"),
    TrialStatus.FAILED: ("failed", "fail", "error", "crashed", "killed", "aborted"),
    TrialStatus.STOPPED: ("stopped", "pruned"),
}
_STATUS_OF = {word: status for status, words in _STATUSES.items() for word in words}
_SINGLE = 1e-6  # relative difference that single precision and printed digits may make
_ROUND_OFF = 1e-9  # of a range that ends at 0


def is_empty(cell: Cell) -> bool:
    """Whether nothing is written in a cell, or a word for nothing, such as `N/A`."""
    if isinstance(cell, str):
        return cell.strip().lower() in _EMPTY
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def read_number(cell: Cell) -> float | int | None:
    """The number in a cell, None where nothing is written.

    Raises:
        ValueError: It holds something else.
    """
    if is_empty(cell):
        return None
    if isinstance(cell, bool) or not isinstance(cell, str | int | float | Decimal):
        raise ValueError(f"expected a number, got {cell!r}")
    if isinstance(cell, str):
        if "_" in cell:  # Python would pass over it: 5_0 is 50
            raise ValueError(f"expected a number, got {cell!r}")
        cell = cell.replace("\u2212", "-")
    try:
        return int(cell) if isinstance(cell, str | int) else float(cell)
    except ValueError:  # text, and no whole number
        pass
    try:
        return float(cell)
    except ValueError:
        raise ValueError(f"expected a number, got {cell!r}") from None


def read_value(parameter: Parameter, cell: Cell) -> Value:
    """The legal value that a cell holds; None is one only if it is among the choices.

    Raises:
        SearchSpaceError: Nothing is written, or what is written is no legal value.
    """
    if not isinstance(parameter, Float | Int):
        return _read_choice(parameter.choices, cell)
    try:
        number = read_number(cell)
    except ValueError as error:
        raise SearchSpaceError(str(error)) from None
    if number is None:
        raise SearchSpaceError("expected a number, got an empty cell")
    return parameter.validate(_at_bound(parameter, number))


def written_choices(choices: Sequence[Value]) -> list[str]:
    """Text of each choice: its plain spelling, or JSON where two choices are spelled alike."""
    plain = [str(choice) for choice in choices]
    return plain if len(set(plain)) == len(plain) else [json.dumps(choice) for choice in choices]


def read_status(cell: Cell) -> TrialStatus | None:
    """What became of a trial, in the words of Optuna, MLflow, Ray, Weights & Biases or our own.

    Returns:
        None where nothing is written.


    Raises:
        ValueError: The word is not known.
    """
    if is_empty(cell):
        return None
    word = str(cell).strip().lower().rpartition(".")[2]  # of "TrialState.COMPLETE"
    if word not in _STATUS_OF:
        raise ValueError(f"expected a status such as {sorted(_STATUS_OF)}, got {cell!r}")
    return _STATUS_OF[word]


def _read_choice(choices: Sequence[Value], cell: Cell) -> Value:
    texts = dict(zip(written_choices(choices), choices, strict=True))
    if isinstance(cell, str):
        for text in (cell, cell.strip()):
            if text in texts:
                return texts[text]
    for candidates in (
        [choice for choice in choices if type(choice) is type(cell) and choice == cell],
        [choice for choice in choices if choice is None and is_empty(cell)],
        _equal_numbers(choices, cell),
        _equal_truths(choices, cell),
        _equal_structures(texts, cell),
    ):
        if len(candidates) == 1:
            return candidates[0]
    raise SearchSpaceError(f"expected one of {list(choices)!r}, got {_shown(cell)}")


def _equal_numbers(choices: Sequence[Value], cell: Cell) -> list[Value]:
    """Choices that are, or spell, the number in a cell but for its spelling or precision."""
    number = _number_or_none(cell)
    if number is None:
        return []
    found = [(choice, _number_or_none(choice)) for choice in choices]
    near = [(c, n) for c, n in found if n is not None and math.isclose(n, number, rel_tol=_SINGLE)]
    equal = [(choice, other) for choice, other in near if other == number] or near
    return [c for c, _ in equal if not isinstance(c, str)] or [c for c, _ in equal]


def _number_or_none(cell: Cell) -> float | int | None:
    try:
        return read_number(cell)
    except ValueError:
        return None


def _equal_truths(choices: Sequence[Value], cell: Cell) -> list[Value]:
    word = str(cell).strip().lower()
    truth = _TRUTH.get(word)
    return [choice for choice in choices if isinstance(choice, bool) and choice is truth] or [
        choice for choice in choices if isinstance(choice, str) and choice.lower() == word
    ]


def _equal_structures(texts: Mapping[str, Value], cell: Cell) -> list[Value]:
    """Choices that spell the list in a cell, with other spaces, quotes or brackets."""
    if isinstance(cell, str) and cell.strip()[:1] not in ("[", "(", "{"):
        return []
    wanted = _structure(cell if isinstance(cell, str) else json.dumps(cell, default=str))
    return [choice for text, choice in texts.items() if _structure(text) == wanted]


def _structure(text: str) -> str:
    plain = text.translate(str.maketrans("()'", '[]"', " "))
    return plain.replace(",]", "]")  # of a tuple with one member


def _at_bound(parameter: Float | Int, number: float) -> float:
    """Undo what single precision or rounding did at a bound."""
    room = _ROUND_OFF * (parameter.high - parameter.low)
    for bound, beyond in ((parameter.low, -1), (parameter.high, 1)):
        slack = _SINGLE * abs(bound) if bound else room
        if 0 < beyond * (number - bound) <= slack:
            return bound
    return number


def _shown(cell: Cell) -> str:
    return "an empty cell" if is_empty(cell) else repr(cell)
