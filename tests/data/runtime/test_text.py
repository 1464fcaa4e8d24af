from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optformer.data.runtime.text import hide_passwords, shorten, visible, visible_lines


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_visible__any_text__nothing_acts_on_a_terminal(text: str) -> None:
    shown = visible(text)
    assert shown.isprintable()
    assert shown.encode("utf-8").decode("utf-8") == shown
    assert visible(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 日 😀", "plain é 日 😀"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\rb\tc\nd", r"a\rb\tc\nd"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202egnp", r"\u202egnp"),
        ("\udce4", r"\udce4"),
    ],
)
def test_visible__what_cannot_be_seen__written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_visible_lines__line_breaks__kept() -> None:
    assert visible_lines("a\x07\nb\r\n") == "a\\x07\nb\\r\n"


@given(st.text(), st.integers(1, 50))
def test_shorten__any_text__bounded_and_keeps_both_ends(text: str, length: int) -> None:
    short = shorten(text, length)
    if len(text) <= length:
        assert short == text
    else:
        assert len(short) <= length + 40
        assert short.startswith(text[: (length + 1) // 2])
        assert short.endswith(text[len(text) - length // 2 :] if length > 1 else "... ")


@given(
    st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="'\""))
)
def test_hide_passwords__any_password_without_spaces_and_quotes__hidden(password: str) -> None:
    text = f"cannot open 'postgresql+psycopg://me:x{password}y@db.example:5432/studies': refused"
    if "\x85" in password or "\xa0" in password:  # white space
        return
    assert hide_passwords(text) == (
        "cannot open 'postgresql+psycopg://me:***@db.example:5432/studies': refused"
    )


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("sqlite:////home/me@x/db:y@z.db", "sqlite:////home/me@x/db:y@z.db"),
        ("mysql://me@host:3306/db", "mysql://me@host:3306/db"),
        (
            "mysql://me@host:3306/db?ssl_password=a&b=1",
            "mysql://me@host:3306/db?ssl_password=***&b=1",
        ),
        ("postgresql://host/db?user=me&PASSWORD=a", "postgresql://host/db?user=me&PASSWORD=***"),
        ("postgresql://:pw@host/db", "postgresql://:***@host/db"),
        ("two: a://b:c@d and e://f:g@h", "two: a://b:***@d and e://f:***@h"),
        ("nothing: to@hide", "nothing: to@hide"),
    ],
)
def test_hide_passwords__addresses__only_the_secret_is_replaced(text: str, hidden: str) -> None:
    assert hide_passwords(text) == hidden
