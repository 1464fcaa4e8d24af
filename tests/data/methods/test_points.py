"""Points as search methods handle them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optformer.data.methods.points import from_uniform, mutate, point_key, to_uniform
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Parameter
from optformer.data.studies.spaces import SearchSpace

PARAMETERS: list[Parameter] = [
    Float(-1.0, 3.0),
    Float(1e-4, 1.0, log=True),
    Float(0.0, 1.0, step=0.3),
    Int(-3, 4),
    Int(1, 9, step=2),
    Int(1, 40, log=True),
    Int(0, 10**9),
    Categorical(["a", None, 3]),
    Ordinal([1, 10, 100]),
]


@pytest.mark.parametrize("parameter", PARAMETERS)
@given(position=st.floats(0.0, 1.0, exclude_max=True))
def test_to_uniform__value_at_a_position__maps_back_to_the_value(
    parameter: Parameter, position: float
) -> None:
    value = from_uniform(parameter, position)
    assert parameter.validate(value) == value
    middle = to_uniform(parameter, value)
    assert 0.0 <= middle <= 1.0
    assert from_uniform(parameter, middle) == pytest.approx(value)


@pytest.mark.parametrize("parameter", [p for p in PARAMETERS if (p.num_levels or 99) < 50])
def test_from_uniform__even_positions__give_the_shares_of_sampling(parameter: Parameter) -> None:
    rng = np.random.default_rng(0)
    count = 4000
    spread = Counter(from_uniform(parameter, (i + 0.5) / count) for i in range(count))
    drawn = Counter(parameter.sample(rng) for _ in range(count))
    assert set(spread) == set(parameter.grid())
    for value in parameter.grid():
        assert spread[value] == pytest.approx(drawn[value], abs=4 * np.sqrt(count) / 2)


def test_point_key__order_and_truth_values__are_told_apart_rightly() -> None:
    assert point_key({"a": 1, "b": 2}) == point_key({"b": 2, "a": 1})
    assert point_key({"a": 1}) != point_key({"a": True})
    assert point_key({"a": 1}) != point_key({"a": 1, "b": None})


class TestMutate:
    SPACE = SearchSpace(
        kind=Categorical(["a", "b"]),
        child=Float(0, 1, when={"kind": ["b"]}),
        x=Float(0, 1),
        size=Ordinal([16, 32, 64]),
        depth=Int(1, 100),
        only=Categorical(["one"]),
    )
    POINT = {"kind": "a", "x": 0.0, "size": 16, "depth": 1, "only": "one"}  # noqa: RUF012

    def test_mutate__point_at_the_bounds__moves_to_another_legal_point(self) -> None:
        rng = np.random.default_rng(0)
        for step_size in (1e-6, 0.1, 10.0):
            for _ in range(100):
                point = mutate(self.SPACE, self.POINT, rng, step_size=step_size, fixed={})
                assert self.SPACE.validate(point) == point
                assert point != self.POINT

    def test_mutate__small_steps__stay_near(self) -> None:
        rng = np.random.default_rng(0)
        point = {**self.POINT, "x": 0.5, "depth": 50, "size": 32}
        moved = [
            mutate(self.SPACE, point, rng, step_size=0.02, fixed={"kind": "a"}) for _ in range(400)
        ]
        assert max(abs(m["x"] - 0.5) for m in moved) < 0.1
        assert max(abs(m["depth"] - 50) for m in moved) < 10
        assert {m["depth"] for m in moved} > {49, 51}
        assert {m["kind"] for m in moved} == {"a"}
        changed = [sum(m[name] != point[name] for name in m) for m in moved]
        assert 1.0 <= np.mean(changed) < 2.2
        assert min(changed) == 1

    def test_mutate__nothing_free__returns_the_point(self) -> None:
        rng = np.random.default_rng(0)
        assert mutate(self.SPACE, self.POINT, rng, step_size=0.1, fixed=self.POINT) == self.POINT
