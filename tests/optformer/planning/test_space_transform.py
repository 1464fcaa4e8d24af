from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Parameter, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.planning.space_transform import SpaceTransform
from optformer.tokenization.history import ValueKind, encode_points

_KINDS: dict[str, Any] = {
    "float": lambda w: Float(-2.0, 3.0, when=w),
    "log": lambda w: Float(1e-7, 1e2, log=True, when=w),
    "step": lambda w: Float(0.1, 0.85, step=0.1, when=w),
    "int": lambda w: Int(-3, 11, step=2, when=w),
    "log int": lambda w: Int(1, 900, log=True, when=w),
    "wide int": lambda w: Int(0, 10**7, when=w),
    "choice": lambda w: Categorical(["a", "b", True, 1, None], when=w),
    "single choice": lambda w: Categorical([0.5], when=w),
    "ordinal": lambda w: Ordinal([1, 2, 4, 8], when=w),
    "single ordinal": lambda w: Ordinal(["only"], when=w),
    "many levels": lambda w: Ordinal([f"v{i}" for i in range(119)], when=w),
}
_PARENTS = {"choice": ["a", 1], "ordinal": [2, 4], "many levels": ["v3", "v40", "v117"]}


@st.composite
def _spaces(draw: st.DrawFn) -> SearchSpace:
    parameters: dict[str, Parameter] = {}
    kinds = draw(st.lists(st.sampled_from(sorted(_KINDS)), min_size=1, max_size=6))
    for number, kind in enumerate(kinds):
        parents = [n for n in parameters if n.split("/")[0] in _PARENTS]
        when = None
        conditional: bool = draw(st.booleans())
        if parents and conditional:
            parent = draw(st.sampled_from(parents))
            when = {parent: _PARENTS[parent.split("/")[0]]}
        parameters[f"{kind}/{number}"] = _KINDS[kind](when)
    return SearchSpace(parameters)


def _fixed(space: SearchSpace, seed: int, every: int) -> dict[str, Value]:
    rng = np.random.default_rng(seed)
    return {
        name: parameter.sample(rng)
        for i, (name, parameter) in enumerate(space.items())
        if i % every == 1
    }


@given(space=_spaces(), seed=st.integers(0, 2**32), clamp=st.booleans())
@settings(max_examples=60)
def test_space_transform__from_uniform_and_mutate__give_points_of_the_space(
    space: SearchSpace, seed: int, clamp: bool
) -> None:
    fixed = _fixed(space, seed, 3) if clamp else {}
    transform = SpaceTransform(space, fixed)
    rng = np.random.default_rng(seed)
    values = transform.from_uniform(rng.random((8, len(space))))
    scale = np.full((8, 1), 0.1)
    for rows in (values, transform.mutate(values, scale, 0.5, rng)):
        np.testing.assert_array_equal(transform.project(rows), rows)
        kinds = transform.kinds(rows)
        for row, row_kinds in zip(rows, kinds, strict=True):
            point = transform.decode(row)
            assert space.validate(point) == point
            assert all(point[name] == value for name, value in fixed.items() if name in point)
            assert set(point) == {
                name
                for name, kind in zip(space, row_kinds, strict=True)
                if kind != ValueKind.INACTIVE
            }


@given(space=_spaces(), seed=st.integers(0, 2**32))
@settings(max_examples=60)
def test_space_transform__points_of_the_space__come_back(space: SearchSpace, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = [space.sample(rng) for _ in range(6)]
    transform = SpaceTransform(space, {})
    values = transform.encode(points)
    assert transform.kinds(values).tolist() == encode_points(space, points).kinds.tolist()
    for row, point in zip(values, points, strict=True):
        decoded = transform.decode(row)
        assert list(decoded) == list(point)
        for name, value in decoded.items():
            if isinstance(space[name], Float):
                assert value == pytest.approx(point[name], rel=1e-5, abs=1e-6)
            elif "wide int" in name:
                assert abs(value - point[name]) <= 1  # single precision
            else:
                assert value == point[name]
                assert type(value) is type(point[name])


@given(space=_spaces(), seed=st.integers(0, 2**32))
@settings(max_examples=40)
def test_listed__finite_space__is_the_grid_once_each(space: SearchSpace, seed: int) -> None:
    transform = SpaceTransform(space, {})
    listed = transform.listed(2000)
    if not transform.finite:
        active_continuum = any(
            isinstance(p, Float) and p.step is None and not p.when for p in space.values()
        )
        assert listed is None or not active_continuum
        return
    expected = list(islice(space.grid(), 2001)) if "wide int" not in repr(list(space)) else []
    if listed is None:
        assert len(expected) in (0, 2001)
        return
    points = [transform.decode(row) for row in listed]
    assert points == expected
    # Every one of them is recognized when it comes back from the user.
    assert set(transform.keys(listed)) == set(transform.keys(transform.encode(points)))
    assert transform.listed(len(points) - 1) is None
    walked = transform.keys(np.array(list(transform.walk(np.random.default_rng(seed)))))
    assert len(walked) == len(points)
    assert set(walked) == set(transform.keys(listed))


def test_listed__conditions__are_followed() -> None:
    kinds = "abcdefgh"
    space = SearchSpace(
        {"kind": Categorical(list(kinds)), **{k: Int(1, 6, when={"kind": [k]}) for k in kinds}}
    )
    listed = SpaceTransform(space, {}).listed(48)
    assert listed is not None  # the product of all levels is 13 million
    assert len(listed) == 48
    assert SpaceTransform(space, {}).listed(47) is None


@pytest.mark.parametrize(
    "parameter",
    [
        Int(1, 4097, log=True),
        Int(0, 10**6, step=7),
        Float(0.0, 1.0, step=1e-4),
        Float(-3.0, 9e5, step=0.3),
        Ordinal(list(range(5000))),
        Int(1, 2**40, log=True),
    ],
)
def test_space_transform__many_levels__are_told_apart_as_written(parameter: Any) -> None:
    space = SearchSpace(n=parameter, m=Float(0, 1, when={"n": [parameter.from_unit(0.5)]}))
    transform = SpaceTransform(space, {})
    values = transform.from_uniform(np.random.default_rng(0).random((400, 2)))
    points = [transform.decode(row) for row in values]
    assert [space.validate(point) for point in points] == points
    names = {repr(sorted(point.items())) for point in points}
    assert len(names) == len(set(transform.keys(values)))
    assert transform.keys(transform.encode(points)) == transform.keys(values)
    named = transform.encode([{"n": parameter.from_unit(0.5), "m": 0.25}])
    assert transform.decode(named[0]) == {"n": parameter.from_unit(0.5), "m": 0.25}


def test_decode__value_of_a_continuum_that_a_condition_names__is_written_so() -> None:
    space = SearchSpace(x=Float(0.1, 0.9), y=Float(0, 1, when={"x": [0.3]}))
    transform = SpaceTransform(space, {})
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rows = transform.encode([{"x": 0.3, "y": 0.5}] * 8)
        moved = transform.mutate(rows, np.full((8, 1), 0.1), 0.1, rng)
        for point in map(transform.decode, [*rows, *moved]):
            assert space.validate(point) == point


def test_encode__parameter_that_a_trial_lacks__equals_nothing_and_is_drawn() -> None:
    space = SearchSpace(
        a=Categorical(["p", "q"]), n=Int(1, 9), x=Float(0, 1, when={"a": ["q"]}), y=Float(0, 1)
    )
    transform = SpaceTransform(space, {})
    (row,) = transform.encode([{"n": 4}])
    assert transform.decode(row) == {"n": 4}
    assert transform.kinds(row[None]).tolist() == [
        [ValueKind.MISSING, ValueKind.NUMBER, ValueKind.INACTIVE, ValueKind.MISSING]
    ]
    assert np.isfinite(transform.points(row[None]).values).all()
    low = transform.encode([{"a": "p", "n": 4, "y": 0.0}])
    assert transform.unseen(low, row[None]).all()
    assert transform.distances(low, row[None])[0, 0] == 0.0
    rows = np.tile(row, (200, 1))
    moved = transform.mutate(rows, np.full((200, 1), 0.01), 0.1, np.random.default_rng(0))
    assert np.isfinite(moved).all()
    assert set(moved[:, 0]) == {0.0, 1.0}
    assert moved[:, 3].std() > 0.2
    assert moved[moved[:, 0] == 1, 2].std() > 0.2


def test_with_fixed__parent__switches_on_a_child_that_is_missing() -> None:
    space = SearchSpace(a=Categorical(["p", "q"]), x=Float(0, 1, when={"a": ["q"]}))
    transform = SpaceTransform(space, {"a": "q"})
    held = transform.with_fixed(transform.encode([{"a": "p"}, {"a": "q", "x": 0.5}]))
    assert held[:, 0].tolist() == [1.0, 1.0]
    assert np.isnan(held[0, 1])
    assert held[1, 1] == 0.5


def test_encode__levels_that_single_precision_misses__are_exact() -> None:
    space = SearchSpace(a=Int(0, 997), b=Ordinal(list(range(119))))
    transform = SpaceTransform(space, {})
    points = [{"a": i, "b": i % 119} for i in range(998)]
    keys = transform.keys(transform.encode(points))
    exact = np.array([[i / 997, (i % 119) / 118] for i in range(998)])
    assert keys == transform.keys(exact)


def test_active__ordinal_parent__is_met_after_encoding() -> None:
    space = SearchSpace(
        size=Ordinal([1, 2, 4, 8]), depth=Int(1, 8, when={"size": [2, 4]}), x=Float(0, 1)
    )
    transform = SpaceTransform(space, {})
    values = transform.encode([{"size": 2, "depth": 3, "x": 0.5}, {"size": 8, "x": 0.1}])
    assert transform.active(values).tolist() == [[True, True, True], [True, False, True]]


def test_encode__other_value_of_a_fixed_parameter__stays() -> None:
    space = SearchSpace(x=Float(0, 1), k=Int(1, 5))
    transform = SpaceTransform(space, {"k": 3})
    assert transform.decode(transform.encode([{"x": 0.25, "k": 3}])[0]) == {"x": 0.25, "k": 3}
    assert transform.encode([{"x": 0.25, "k": 5}])[0, 1] == 1.0
    assert transform.project(transform.encode([{"x": 0.25, "k": 5}]))[0, 1] == 0.5


@pytest.mark.parametrize("value", [1e-3, 0.3, 7e-5, 0.1])
def test_decode__fixed_value__is_exactly_as_given(value: float) -> None:
    space = SearchSpace(lr=Float(1e-5, 0.7, log=True), x=Float(0, 1))
    transform = SpaceTransform(space, {"lr": value})
    for row in transform.from_uniform(np.random.default_rng(0).random((5, 2))):
        assert transform.decode(row)["lr"] == value


@pytest.mark.parametrize(
    ("fixed", "match"),
    [({"z": 1}, "unknown parameter 'z'"), ({"x": 2.0}, "'x'"), ({"c": "no"}, "'c'")],
)
def test_space_transform__impossible_fixed_value__names_the_parameter(
    fixed: dict[str, Value], match: str
) -> None:
    space = SearchSpace(x=Float(0, 1), c=Categorical(["yes"]))
    with pytest.raises(SearchSpaceError, match=match):
        SpaceTransform(space, fixed)


def test_from_uniform__log_int__is_spread_over_its_logarithm() -> None:
    space = SearchSpace(n=Int(1, 1000, log=True), m=Int(1, 1000))
    transform = SpaceTransform(space, {})
    unit = np.linspace(0, 1, 20_000, endpoint=False)
    values = transform.from_uniform(np.stack([unit, unit], 1))
    counts = np.array([transform.decode(row)["n"] for row in values[::20]])
    drawn = np.array([space["n"].sample(np.random.default_rng(i)) for i in range(1000)])
    for level in (1, 10, 100, 500):
        assert (counts <= level).mean() == pytest.approx((drawn <= level).mean(), abs=0.05)
    plain = np.array([transform.decode(row)["m"] for row in values])
    assert np.bincount(plain)[1:].min() == np.bincount(plain).max() == 20


def test_mutate__numbers_and_choices__move_about_as_far_as_asked() -> None:
    space = SearchSpace(x=Float(0, 1), c=Categorical(list("abcd")), n=Int(0, 9))
    transform = SpaceTransform(space, {})
    rng = np.random.default_rng(0)
    values = np.tile(transform.project(np.array([[0.5, 2.0, 0.5]])), (4000, 1))
    moved = transform.mutate(values, np.full((4000, 1), 0.02), 0.4, rng)
    step = moved[:, 0] - 0.5
    assert 0.4 < (step != 0).mean() < 0.75  # 0.4, or the one that is touched at least
    assert step[step != 0].std() == pytest.approx(0.02, rel=0.1)
    assert 0.2 < (moved[:, 1] != 2).mean() < 0.5
    assert 0.1 < (moved[:, 2] != values[0, 2]).mean() < 0.6  # a level is left in small steps too
    assert not (moved == values).all(-1).all()


def test_mutate__parent_that_switches_a_child_on__draws_the_child_anywhere() -> None:
    space = SearchSpace(c=Categorical(["off", "on"]), x=Float(0, 1, when={"c": ["on"]}))
    transform = SpaceTransform(space, {})
    values = np.zeros((2000, 2))
    moved = transform.mutate(values, np.full((2000, 1), 0.01), 0.5, np.random.default_rng(1))
    on = moved[:, 0] == 1
    assert on.any()
    assert (moved[~on, 1] == 0).all()
    assert moved[on, 1].std() > 0.2


def test_listed__fixed_parameters__count_once() -> None:
    space = SearchSpace(x=Float(0, 1), c=Categorical(list("abc")), n=Int(1, 4))
    assert SpaceTransform(space, {}).listed(100) is None
    for fixed, count in (({"x": 0.3}, 12), ({"x": 0.3, "c": "b"}, 4)):
        listed = SpaceTransform(space, fixed).listed(100)
        assert listed is not None
        assert len(listed) == count


def test_centrality__numbers__grows_from_the_ends_to_the_middle() -> None:
    space = SpaceTransform(SearchSpace(a=Float(0, 1), b=Categorical(["p", "q"])), {})
    places = np.array([0.0, 0.01, 0.2, 0.5, 0.8, 1.0])
    found = space.centrality(np.stack([places, np.arange(6) % 2], 1))
    assert found.tolist() == pytest.approx(
        [np.log(4 * u * (1 - u)) for u in (0.01, 0.01, 0.2, 0.5, 0.8, 0.99)]
    )


def test_centrality__levels__are_where_their_shares_are() -> None:
    space = SpaceTransform(SearchSpace(a=Ordinal([1, 2, 4]), b=Ordinal([1, 2])), {})
    found = space.centrality(space.encode([{"a": 1, "b": 1}, {"a": 2, "b": 2}, {"a": 4, "b": 2}]))
    expected = np.array([np.log(4 * u * (1 - u)) for u in (1 / 6, 0.5, 5 / 6)]) + np.log(0.75)
    assert found == pytest.approx(expected / np.sqrt(2))


def test_centrality__inactive_numbers__count_as_the_mean_of_active_ones() -> None:
    space = SpaceTransform(
        SearchSpace(kind=Categorical(["p", "q"]), x=Float(0, 1, when={"kind": ["p"]})), {}
    )
    places = (np.arange(10_000) + 0.5) / 10_000
    active = space.centrality(np.stack([np.zeros_like(places), places], 1))
    assert space.centrality(np.array([[1.0, 0.0]]))[0] == pytest.approx(active.mean(), abs=0.02)


def test_centrality__no_numbers__is_nothing() -> None:
    space = SpaceTransform(SearchSpace(kind=Categorical(["p", "q"])), {})
    assert space.centrality(np.array([[0.0], [1.0]])).tolist() == [0.0, 0.0]
