from __future__ import annotations

import numpy as np

from optformer.data.studies.parameters import Categorical, Float, Int
from optformer.data.studies.spaces import SearchSpace
from optformer.planning.candidates import (
    CLOSE,
    Candidates,
    all_untried,
    axis_moves,
    from_space,
    join,
    mutations,
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


def test_all_untried__some_tried__gives_the_rest() -> None:
    config = SearchSpace(n=Int(0, 4), m=Int(0, 2))
    space = SpaceTransform(config, {})
    tried = space.encode([{"n": 1, "m": 1}, {"n": 4, "m": 0}])
    rest = all_untried(space, tried)
    assert len(join(rest, rest)) == 26
    assert {"n": 1, "m": 1} not in [space.decode(row) for row in rest.values]
