"""Control symbols: contiguous by kind, append-only."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pytest

from optformer.tokenization import symbols as sym


def test_symbols__ids__never_change() -> None:
    # A checkpoint reads these ids. Append symbols in a reserved place; change nothing else.
    lines = "\n".join(f"{i} {symbol}" for i, symbol in enumerate(sym.SYMBOLS))
    assert hashlib.sha256(lines.encode()).hexdigest() == (
        "8ff0cef792bbbf81fa0a38342dd3c2c428510d05fdd79dd89f31bec3cd76eed5"
    )


def test_symbols__all__differ() -> None:
    assert len(set(sym.SYMBOLS)) == len(sym.SYMBOLS)


@pytest.mark.parametrize(
    "kind",
    [
        sym.SPECIAL,
        sym.SEPARATORS,
        sym.KEYWORDS,
        sym.TYPES,
        sym.SCALES,
        sym.GOALS,
        sym.CONSTANTS,
        sym.STATUSES,
        sym.ENTITIES,
    ],
)
def test_symbols__each_kind__is_contiguous_and_explained(kind: Mapping[str, str]) -> None:
    ids = [sym.SYMBOL_IDS[symbol] for symbol in kind]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert all(kind.values())


def test_symbols__bins_and_choices__are_contiguous() -> None:
    assert [sym.SYMBOL_IDS[f"<{i}>"] for i in range(1000)] == list(sym.BINS)
    assert [sym.SYMBOL_IDS[f"<c{i}>"] for i in range(256)] == list(sym.CHOICES)
