"""Points of a space are counted along its conditions."""

from __future__ import annotations

import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from optformer import Categorical, Float, Int, SearchSpace


@st.composite
def finite_spaces(draw: st.DrawFn) -> SearchSpace:
    """Spaces of few levels, where most parameters depend on one or two others."""
    found: dict[str, Any] = {}
    for number in range(draw(st.integers(1, 6))):
        parents = (
            draw(st.lists(st.sampled_from(sorted(found)), unique=True, max_size=2))
            if (found)
            else []
        )
        when = {
            parent: draw(st.lists(st.sampled_from(found[parent].grid()), min_size=1, max_size=3))
            for parent in parents
        }
        kind = draw(st.sampled_from(["int", "choice"]))
        parameter = (
            Int(0, draw(st.integers(1, 3)), when=when or None)
            if kind == "int"
            else Categorical([True, 1.5, "a", None][: draw(st.integers(1, 4))], when=when or None)
        )
        found[f"p{number}"] = parameter
    return SearchSpace(found)


@given(space=finite_spaces())
def test_size__conditions__is_the_number_of_listed_points(space: SearchSpace) -> None:
    assert space.size == sum(1 for _ in space.grid())


def test_size__many_conditions__exact_and_quick() -> None:
    parents = {f"p{i}": Int(1, 1_000_000) for i in range(30)}
    children = {f"x{i}": Int(0, 9, when={f"p{i}": [1, 2]}) for i in range(30)}
    started = time.process_time()
    assert SearchSpace({**parents, **children}).size == (2 * 10 + 999_998) ** 30
    chain: dict[str, Any] = {"x0": Int(0, 1)}
    for i in range(1, 60):
        chain[f"x{i}"] = Int(0, 1, when={f"x{i - 1}": [1]})
    assert SearchSpace(chain).size == 61
    joint = {**parents, "x": Int(0, 4, when={name: [1] for name in parents})}
    assert SearchSpace(joint).size == 1_000_000**30 - 1 + 5
    assert time.process_time() - started < 1


def test_size__continuum__none_only_when_it_can_be_active() -> None:
    assert SearchSpace(a=Categorical([1, 2]), x=Float(0, 1, when={"a": [2]})).size is None
    a, b = Categorical([1, 2]), Int(0, 1, when={"a": [1]})
    space = SearchSpace(a=a, b=b, x=Float(0, 1, when={"a": [2], "b": [1]}))
    assert space.size == 3  # b is inactive where a is 2
