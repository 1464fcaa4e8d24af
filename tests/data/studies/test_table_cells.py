"""Cells as other tools write them: read where they mean one thing, refused where they do not."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Parameter
from optformer.data.studies.table_cells import (
    is_empty,
    read_number,
    read_status,
    read_value,
    written_choices,
)
from optformer.data.studies.trials import TrialStatus

LISTS = Categorical(["[64, 64]", "[32]", "(8,)"])
CHOICES = st.lists(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**20), 10**20),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=6),
        st.sampled_from(["1", "1.0", "True", "true", "None", "nan", "", " ", "[1]", '"1"', "-"]),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda choice: (isinstance(choice, bool), choice),
)


@pytest.mark.parametrize(
    ("parameter", "cell", "expected"),
    [
        (Ordinal([16, 32]), "16.0", 16),
        (Ordinal([16, 32]), 16.0, 16),
        (Ordinal([16, 32]), " 32 ", 32),
        (Ordinal(["16", "32"]), 16.0, "16"),
        (Categorical([0.1, 0.00001]), "0.10", 0.1),
        (Categorical([0.1, 0.00001]), "0.00001", 0.00001),
        (Categorical([0.1, 0.2]), 0.10000000149011612, 0.1),  # in single precision
        (Categorical([True, False]), "true", True),
        (Categorical([True, False]), "FALSE", False),
        (Categorical([True, False]), "1", True),
        (Categorical([True, False]), 0.0, False),
        (Categorical([True, False, "auto"]), "yes", True),
        (Categorical(["true", "false"]), True, "true"),
        (Categorical([True, 1]), 1, 1),
        (Categorical([True, 1]), True, True),
        (Categorical([None, "l1"]), "", None),
        (Categorical([None, "l1"]), "null", None),
        (Categorical([None, "l1"]), float("nan"), None),
        (Categorical([None, "none"]), "none", "none"),
        (Categorical([None, "none"]), "None", None),
        (Categorical([1, "1"]), "1", 1),
        (Categorical([1, "1"]), '"1"', "1"),
        (LISTS, [64, 64], "[64, 64]"),
        (LISTS, "[64,64]", "[64, 64]"),
        (LISTS, "(64, 64)", "[64, 64]"),
        (LISTS, [8], "(8,)"),
        (Categorical(['{"a": 1}', "b"]), {"a": 1}, '{"a": 1}'),
        (Int(1, 9), "3.0", 3),
        (Int(1, 9), 3.0, 3),
        (Int(1, 10**6), "1e5", 100_000),
        (Int(1, 2**53), str(2**53), 2**53),
        (Float(0, 1), Decimal("0.25"), 0.25),
        (Float(1e-12, 1.0, log=True), "1.0000001", 1.0),
        (Float(1e-4, 1.0, log=True), 0.00009999999747378752, 1e-4),  # in single precision
        (Float(0, 1), -1e-17, 0.0),
    ],
)
def test_read_value__other_spellings__are_the_legal_value(
    parameter: Parameter, cell: Any, expected: Any
) -> None:
    value = read_value(parameter, cell)
    assert (value, type(value)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("parameter", "cell"),
    [
        (Categorical([0, 1, 2]), True),
        (Categorical(["n", "no"]), False),
        (Categorical(["Adam", "sgd"]), "adamw"),
        (Categorical(["a", "b"]), ""),
        (Categorical(["a", "b"]), None),
        (Ordinal([16, 32]), "16 MB"),
        (Ordinal([16, 32]), 24),
        (LISTS, [1, 2]),
        (LISTS, ["[32]", "x"]),
        (Int(1, 9), "2.5"),
        (Int(1, 9), True),
        (Int(1, 9), "N/A"),
        (Float(0, 1), "0,5"),
        (Float(1e-12, 1.0, log=True), -1e-9),
        (Float(0, 1), "inf"),
        (Float(0, 1), [0.5]),
    ],
)
def test_read_value__no_or_two_meanings__are_refused(parameter: Parameter, cell: Any) -> None:
    with pytest.raises(SearchSpaceError, match=r"expected|must be"):
        read_value(parameter, cell)


@given(CHOICES)
def test_written_choices__any_choices__are_read_back(choices: list[Any]) -> None:
    parameter = Categorical(choices)
    texts = written_choices(parameter.choices)
    read = [read_value(parameter, text) for text in texts]
    assert [(type(v), v) for v in read] == [(type(v), v) for v in parameter.choices]


@pytest.mark.parametrize("cell", ["", " ", "-", "None", "null", "N/A", "#N/A", "<NA>", "nan", None])
def test_is_empty__words_for_nothing__are(cell: Any) -> None:
    assert is_empty(cell)
    assert read_number(cell) is None


@pytest.mark.parametrize("cell", [0, 0.0, False, "0", "no", [], "none of them"])
def test_is_empty__anything_else__is_not(cell: Any) -> None:
    assert not is_empty(cell)


@pytest.mark.parametrize("cell", ["good", "93/100", "0,93", True, [0.5], {"a": 1}])
def test_read_number__something_else__is_refused(cell: Any) -> None:
    with pytest.raises(ValueError, match="expected a number"):
        read_number(cell)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("completed", TrialStatus.COMPLETED),
        ("COMPLETE", TrialStatus.COMPLETED),
        ("TrialState.PRUNED", TrialStatus.STOPPED),
        ("RUNNING", TrialStatus.PENDING),
        ("FINISHED", TrialStatus.COMPLETED),
        ("TERMINATED", TrialStatus.COMPLETED),
        ("crashed", TrialStatus.FAILED),
        ("", None),
        (None, None),
    ],
)
def test_read_status__words_of_other_tools__are_known(
    cell: Any, expected: TrialStatus | None
) -> None:
    assert read_status(cell) is expected


def test_read_status__unknown_word__is_refused() -> None:
    with pytest.raises(ValueError, match="expected a status such as"):
        read_status("200")
