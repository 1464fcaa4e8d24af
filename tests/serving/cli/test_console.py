from __future__ import annotations

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optformer.serving.cli import console

anything = st.text(alphabet=st.characters(exclude_categories=()))


@given(st.lists(st.tuples(anything, anything), max_size=4), anything)
def test_table__any_text__one_line_a_row_without_control_characters(
    rows: list[tuple[str, str]], header: str
) -> None:
    stdout, sys.stdout = sys.stdout, io.StringIO()
    try:
        console.table([header, "other"], rows)
        written = sys.stdout.getvalue()
    finally:
        sys.stdout = stdout
    lines = written.split("\n")
    assert len(lines) == len(rows) + 3
    assert all(map(str.isprintable, lines))


def test_error__long_text_with_a_password__shortened_and_hidden(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console.error("cannot open 'a://b:secret@c'\n" + "x" * 10**6 + "\x1b[2J end")
    error = capsys.readouterr().err
    assert error.startswith("error: cannot open 'a://b:***@c' xxx")
    assert error.endswith("\\x1b[2J end\n")
    assert len(error) < 3000
    assert error.count("\n") == 1


def test_note__several_lines__kept(capsys: pytest.CaptureFixture[str]) -> None:
    console.note("one\ntwo\r")
    assert capsys.readouterr().err == "one\ntwo\\r\n"


def test_escape_unknown_characters__ascii_stream__writes_codes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    console.escape_unknown_characters()
    console.write("é日\udce4")
    stream.flush()
    assert stream.buffer.getvalue() == rb"\xe9\u65e5\udce4" + b"\n"  # type: ignore[attr-defined]
