"""Things by name."""

from __future__ import annotations

import sys
from collections import Counter

import pytest

from optformer.data.registry import Registry
from optformer.data.studies.errors import ConfigError, MissingExtraError


class Apple:
    """Red.

    And round.
    """


@pytest.fixture
def fruits() -> Registry[type]:
    registry: Registry[type] = Registry("fruit", renamed={"malus": "apple"})
    registry.register("apple", Apple)
    registry.register("counter", "collections:Counter", "No fruit.")
    return registry


def test_getitem__registered__is_the_thing_or_what_is_imported(fruits: Registry[type]) -> None:
    assert fruits["apple"] is Apple
    assert fruits["counter"] is Counter
    assert fruits.names() == ["apple", "counter"]


def test_getitem__old_name__finds_the_thing_of_today(fruits: Registry[type]) -> None:
    assert fruits["malus"] is Apple
    assert fruits.current("malus") == "apple"
    assert "malus" in fruits
    assert "malus" not in fruits.names()


def test_describe__without_a_line__is_the_first_line_of_the_documentation(
    fruits: Registry[type],
) -> None:
    assert [fruits.describe(name) for name in fruits.names()] == ["Red.", "No fruit."]


def test_getitem__unknown__lists_the_known(fruits: Registry[type]) -> None:
    with pytest.raises(ConfigError, match=r"unknown fruit 'nut'; known are \['apple', 'counter'\]"):
        fruits["nut"]


@pytest.mark.parametrize("name", ["apple", "malus"])
def test_register__taken_name__is_refused(fruits: Registry[type], name: str) -> None:
    with pytest.raises(ConfigError, match=f"fruit '{name}' is registered already"):
        fruits.register(name, Apple)


def test_check__unknown_repeated_or_none__is_refused(fruits: Registry[type]) -> None:
    fruits.check(["counter", "apple"])
    with pytest.raises(ConfigError, match=r"unknown fruit 'nut'.*'apple'"):
        fruits.check(["apple", "nut"])
    with pytest.raises(ConfigError, match="fruit 'apple' is given twice"):
        fruits.check(["malus", "apple"])
    with pytest.raises(ConfigError, match=r"at least one fruit of \['apple', .*got none"):
        fruits.check([])


def test_needs__package_missing__is_named_with_its_extra(
    fruits: Registry[type], monkeypatch: pytest.MonkeyPatch
) -> None:
    fruits.register("plum", Apple, needs=("json", "numpy"))
    assert fruits.needs("plum") == ("json", "numpy")
    assert fruits["plum"] is Apple
    monkeypatch.setitem(sys.modules, "numpy", None)
    for use in (fruits.describe, fruits.__getitem__):
        with pytest.raises(
            MissingExtraError, match=r"'plum': numpy is not installed.*optformer\[benchmark\]"
        ):
            use("plum")
