from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from optformer.data.studies.errors import SpaceExhaustedError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal
from optformer.data.studies.spaces import SearchSpace
from optformer.planning.candidates import (
    CLOSE,
    Candidates,
    all_untried,
    any_untried,
    axis_moves,
    from_space,
    join,
    mutations,
    reach,
    untried,
)
from optformer.planning.space_transform import SpaceTransform

SPACE = SearchSpace(x=Float(0, 1), y=Float(0, 1))


def test_from_space__candidates__fill_the_space() -> None:
    candidates = from_space(SpaceTransform(SPACE, {}), 100, np.random.default_rng(0))
    assert len(candidates) == 100
    cells = (candidates.values * 5).astype(int) @ [5, 1]
    assert np.bincount(cells, minlength=25).min() >= 2
    assert set(candidates.source) == {"space"}


def test_mutations__parents__are_mutated_in_turn() -> None:
    space = SpaceTransform(SPACE, {})
    centres = np.array([[0.2, 0.2], [0.8, 0.8]])
    found = mutations(space, centres, 200, np.random.default_rng(0), scales=(0.01, 0.02))
    gap = np.abs(found.values - centres[np.arange(200) % 2]).max(-1)
    assert gap.max() < 0.12
    assert gap.min() > 0
    assert set(found.source) == {"mutation"}


def test_axis_moves__parents__leave_one_or_two_parameters_for_anywhere() -> None:
    space = SpaceTransform(SearchSpace({f"x{i}": Float(0, 1) for i in range(6)}), {})
    parents = np.array([[0.4] * 6, [0.6] * 6])
    found = axis_moves(space, parents, 600, np.random.default_rng(0))
    changed = found.values != parents[np.arange(600) % 2]
    assert set(changed.sum(-1)) == {1, 2}
    assert 0.2 < (changed.sum(-1) == 2).mean() < 0.4
    moved = found.values[changed]
    for end in (0.0, 1.0):
        assert 0.1 < (np.abs(moved - end) < 1e-9).mean() < 0.2
    assert np.histogram(moved, bins=5, range=(0.01, 0.99))[0].min() > 60
    assert set(found.source) == {"axis"}


def test_axis_moves__conditions__are_kept() -> None:
    space = SpaceTransform(
        SearchSpace(
            kind=Categorical(["a", "b"]),
            depth=Int(1, 9, when={"kind": ["a"]}),
            rate=Float(0, 1, when={"kind": ["b"]}),
        ),
        {},
    )
    parents = space.encode([{"kind": "a", "depth": 3}, {"kind": "b", "rate": 0.25}])
    points = [
        space.decode(v) for v in axis_moves(space, parents, 80, np.random.default_rng(0)).values
    ]
    for point in points:
        assert space.space.validate(point) == point
    switched = [point for point in points[1::2] if point["kind"] == "a"]
    assert len({point["depth"] for point in switched}) > 1  # a child that is switched on


def test_untried__repeats_and_near_repeats__are_left_out() -> None:
    space = SpaceTransform(SPACE, {})
    tried = np.array([[0.5, 0.5]])
    values = np.array(
        [
            [0.5, 0.5],
            [0.5 + CLOSE / 2, 0.5],
            [0.5 + 2 * CLOSE, 0.5],
            [0.1, 0.1],
            [0.1, 0.1],
            [0.5, 0.9],
        ]
    )
    found = untried(space, Candidates(values, np.array(list("abcdef"))), tried)
    assert found.source.tolist() == ["c", "d", "f"]
    nothing = untried(space, Candidates(values, np.array(list("abcdef"))), tried[:0])
    assert nothing.source.tolist() == ["a", "b", "c", "d", "f"]


def test_untried__finite_space__compares_exactly() -> None:
    space = SpaceTransform(SearchSpace(n=Int(0, 3000), m=Int(0, 3000)), {})
    first, second = space.encode([{"n": 7, "m": 7}, {"n": 8, "m": 7}])
    found = untried(space, Candidates(np.stack([first, second]), np.array(["a", "b"])), first[None])
    assert found.source.tolist() == ["b"]  # neighbours nearer than CLOSE are other points


def test_untried__trials_that_have_gathered__let_candidates_come_closer() -> None:
    space = SpaceTransform(SearchSpace(x=Float(0, 1)), {})
    tried = np.array([[0.5], [0.5008], [0.4993], [0.1], [0.9]])
    values = np.array([[0.5001], [0.5004], [0.1004], [0.4997]])
    found = untried(space, Candidates(values, np.array(list("abcd"))), tried)
    assert found.source.tolist() == ["b", "d"]  # .1 stands alone
    assert reach(space, tried, np.array([0, 3])).tolist() == pytest.approx([0.0008, 0.4])


def test_reach__a_point_measured_again_and_again__has_not_gathered() -> None:
    space = SpaceTransform(SearchSpace(x=Float(0, 1)), {})
    tried = np.array([[0.5]] * 6 + [[0.25]])
    assert np.isinf(reach(space, tried, np.array([0]))).all()
    tried = np.concatenate([tried, [[0.5 + 1e-9], [0.5 - 1e-9]]])
    assert reach(space, tried, np.array([0])).tolist() == [1e-6]


_FINITE: list[tuple[dict[str, Any], int]] = [
    ({"n": Int(1, 5000)}, 5000),
    ({"a": Categorical(["p", "q"]), "n": Int(1, 4500, when={"a": ["q"]})}, 4501),
    ({"n": Int(1, 4400, log=True), "m": Int(1, 3, when={"n": [4400]})}, 4402),
    ({"a": Ordinal(list(range(40))), "b": Ordinal(list(range(30)), when={"a": [1, 2]})}, 98),
]


@pytest.mark.parametrize(("parameters", "count"), _FINITE)
def test_any_untried__finite_space__gives_what_is_left_and_then_says_so(
    parameters: dict[str, Any], count: int
) -> None:
    space = SpaceTransform(SearchSpace(parameters), {})
    points = space.listed(count)
    assert points is not None
    rng = np.random.default_rng(0)
    left = rng.permutation(count)[:3]
    tried = np.delete(points, left, axis=0)
    for _ in range(3):
        found = any_untried(space, tried, rng)
        assert set(space.keys(found.values)) <= set(space.keys(points[left]))
        tried = np.concatenate([tried, found.values[:1]])
    with pytest.raises(SpaceExhaustedError, match=f"all {count} points"):
        any_untried(space, tried, rng)


def test_any_untried__few_conditions_lead_to_what_is_left__finds_it() -> None:
    words = [f"v{i}" for i in range(250)]
    space = SpaceTransform(
        SearchSpace(
            a=Categorical(words),
            b=Categorical(words, when={"a": ["v7"]}),
            c=Categorical(words, when={"b": ["v9"]}),
            n=Int(1, 10**6, when={"c": ["v3"]}),
        ),
        {},
    )
    tried = space.encode(
        [{"a": a} for a in words if a != "v7"]
        + [{"a": "v7", "b": b} for b in words if b != "v9"]
        + [{"a": "v7", "b": "v9", "c": c} for c in words if c != "v3"]
        + [{"a": "v7", "b": "v9", "c": "v3", "n": 5}]
    )
    (point,) = map(space.decode, any_untried(space, tried, np.random.default_rng(0)).values[:1])
    assert point["c"] == "v3"
    assert point["n"] != 5


def test_all_untried__some_tried__gives_the_rest() -> None:
    config = SearchSpace(n=Int(0, 4), m=Int(0, 2))
    space = SpaceTransform(config, {})
    tried = space.encode([{"n": 1, "m": 1}, {"n": 4, "m": 0}])
    rest = all_untried(space, tried)
    assert len(join(rest, rest)) == 26
    assert {"n": 1, "m": 1} not in [space.decode(row) for row in rest.values]
