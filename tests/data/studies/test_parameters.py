"""Parameters: legal values, the unit interval, sampling and grids."""

from __future__ import annotations

import copy
import itertools
import math
import pickle
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Parameter

FINITE = st.floats(-1e9, 1e9, allow_nan=False)
POSITIVE = st.floats(1e-12, 1e12)
UNIT = st.floats(0.0, 1.0)


@st.composite
def floats(draw: st.DrawFn) -> Float:
    log = draw(st.booleans())
    bound = POSITIVE if log else FINITE
    low, high = sorted([draw(bound), draw(bound)])
    if not high > low * (1 + 1e-6) + 1e-9 * abs(low) or high - low < 1e-15:
        high = low + abs(low) + 1.0
    step = None if log else draw(st.none() | st.integers(1, 1000).map(lambda n: (high - low) / n))
    return Float(low, high, log=log, step=step)


@st.composite
def ints(draw: st.DrawFn) -> Int:
    log = draw(st.booleans())
    low = draw(st.integers(1, 10**6) if log else st.integers(-(10**9), 10**9))
    width = draw(st.integers(1, 10**4))
    step = 1 if log else draw(st.integers(1, width))
    return Int(low, low + width, log=log, step=step)


ORDINALS = st.lists(st.integers() | st.text(max_size=5), min_size=1, max_size=9, unique=True).map(
    Ordinal
)
NUMERIC = floats() | ints() | ORDINALS


class TestRoundTrip:
    @given(floats(), UNIT)
    def test_float__unit_to_value_and_back__same_within_round_off(
        self, parameter: Float, unit: float
    ) -> None:
        value = parameter.from_unit(unit)
        half_step = 0.5 * (parameter.step or 0.0) / (parameter.high - parameter.low)
        scale = max(abs(parameter.low), abs(parameter.high)) / (parameter.high - parameter.low)
        if parameter.log:
            scale = 1 + 30 / math.log(parameter.high / parameter.low)
        if parameter.step is not None and unit > 1 - half_step * 2:
            return  # above the last level of a grid that does not end at the upper bound
        assert parameter.to_unit(value) == pytest.approx(
            unit, abs=half_step + 1e-12 + 1e-14 * scale
        )

    @given(NUMERIC, UNIT)
    def test_from_unit__any_position__gives_a_legal_value_that_stays(
        self, parameter: Float | Int | Ordinal, unit: float
    ) -> None:
        value = parameter.from_unit(unit)
        assert parameter.validate(value) == value
        again = parameter.from_unit(parameter.to_unit(value))
        if isinstance(parameter, Float) and parameter.step is None:
            assert again == pytest.approx(value, rel=1e-9, abs=1e-12)
        else:
            assert again == value

    @given(NUMERIC, st.integers(0, 2**32 - 1))
    def test_sample__any_parameter__is_legal_and_built_in(
        self, parameter: Parameter, seed: int
    ) -> None:
        value = parameter.sample(np.random.default_rng(seed))
        assert parameter.validate(value) == value
        assert type(value) in (int, float, str)

    @given(NUMERIC)
    def test_to_unit__bounds_and_order__ascend_within_the_unit_interval(
        self, parameter: Float | Int | Ordinal
    ) -> None:
        units = [parameter.to_unit(parameter.from_unit(u)) for u in np.linspace(0, 1, 7)]
        assert all(-1e-12 <= u <= 1 + 1e-12 for u in units)
        assert all(a <= b + 1e-12 for a, b in itertools.pairwise(units))

    @given(floats() | ints())
    def test_from_unit__ends__are_exactly_the_bounds(self, parameter: Float | Int) -> None:
        assert parameter.from_unit(0.0) == parameter.low
        if parameter.step in (None, 1):
            assert parameter.from_unit(1.0) == parameter.high

    @given(st.floats())
    def test_from_unit__outside__is_clipped(self, unit: float) -> None:
        if not math.isnan(unit):
            assert 1 <= Int(1, 5).from_unit(unit) <= 5

    @pytest.mark.parametrize("parameter", [Float(1e-300, 1e300, log=True), Float(-1e300, 1e300)])
    def test_float__extreme_bounds__do_not_overflow(self, parameter: Float) -> None:
        for unit in (0.0, 0.3, 1.0):
            assert parameter.to_unit(parameter.from_unit(unit)) == pytest.approx(unit)

    def test_ordinal__single_choice__lies_in_the_middle(self) -> None:
        assert Ordinal(["only"]).to_unit("only") == 0.5
        assert Ordinal(["only"]).from_unit(0.9) == "only"

    def test_int__log__treats_octaves_alike(self) -> None:
        assert Int(1, 1024, log=True).to_unit(32) == pytest.approx(0.5)

    def test_int__negative_and_zero_bounds__are_plain_numbers(self) -> None:
        parameter = Int(-4, 0, step=2)
        assert parameter.grid() == (-4, -2, 0)
        assert parameter.to_unit(-2) == 0.5
        assert str(Float(-1.0, 1.0).from_unit(0.5)) == "0.0"


class TestGrid:
    @given(floats() | ints() | ORDINALS)
    def test_grid__finite_parameter__lists_every_value_once(self, parameter: Parameter) -> None:
        if parameter.num_levels is None:
            with pytest.raises(SearchSpaceError, match="grid"):
                parameter.grid()
            return
        grid = parameter.grid()
        assert len(grid) == parameter.num_levels == len(set(grid))
        assert all(parameter.validate(value) == value for value in grid)

    @given(ints())
    def test_grid__int__covers_all_samples(self, parameter: Int) -> None:
        grid = set(parameter.grid())
        rng = np.random.default_rng(0)
        assert all(parameter.sample(rng) in grid for _ in range(50))

    def test_grid__decimal_step__spells_each_value_once(self) -> None:
        parameter = Float(0.0, 1.0, step=0.1)
        assert parameter.grid() == (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
        assert parameter.validate(0.1 + 0.2) == 0.3
        assert parameter.from_unit(0.31) == 0.3

    def test_grid__step_beside_the_upper_bound__stops_below(self) -> None:
        parameter = Float(0.0, 1.0, step=0.4)
        assert parameter.grid() == (0.0, 0.4, 0.8)
        assert parameter.from_unit(1.0) == 0.8
        with pytest.raises(SearchSpaceError, match=r"multiple of 0\.4"):
            parameter.validate(1.0)

    def test_num_levels__too_many_to_list__counts_as_continuous(self) -> None:
        assert Int(0, 10**7).num_levels is None
        assert Float(0, 1, step=1e-7).num_levels is None
        with pytest.raises(SearchSpaceError, match="too many"):
            Int(0, 10**7).grid()


class TestSampling:
    def test_int__log__draws_small_numbers_as_often_as_their_share(self) -> None:
        parameter, rng = Int(1, 1000, log=True), np.random.default_rng(0)
        draws = np.array([parameter.sample(rng) for _ in range(4000)])
        share = math.log(31.5 / 0.5) / math.log(1000.5 / 0.5)
        assert np.mean(draws <= 31) == pytest.approx(share, abs=0.03)

    def test_float__log__has_its_median_at_the_geometric_middle(self) -> None:
        parameter, rng = Float(1e-4, 1.0, log=True), np.random.default_rng(0)
        assert np.median([parameter.sample(rng) for _ in range(4000)]) == pytest.approx(
            1e-2, rel=0.2
        )

    def test_float__step__draws_every_level_alike(self) -> None:
        parameter, rng = Float(0.0, 1.0, step=0.5), np.random.default_rng(0)
        draws = [parameter.sample(rng) for _ in range(3000)]
        assert draws.count(0.0) == pytest.approx(1000, abs=120)
        assert draws.count(1.0) == pytest.approx(1000, abs=120)

    def test_categorical__sample__draws_every_choice(self) -> None:
        rng = np.random.default_rng(0)
        assert {Categorical(["a", "b", None]).sample(rng) for _ in range(50)} == {"a", "b", None}


class TestValidate:
    @pytest.mark.parametrize(
        ("parameter", "value", "expected"),
        [
            (Float(0, 1), np.float32(0.5), 0.5),
            (Float(0, 1), 1, 1.0),
            (Float(0, 1), 1 + 1e-12, 1.0),
            (Float(0, 1), Fraction(1, 4), 0.25),
            (Int(0, 5), np.int64(3), 3),
            (Int(0, 5), 3.0, 3),
            (Categorical(["a", True, 2]), np.str_("a"), "a"),
            (Categorical(["a", True, 2]), np.bool_(True), True),
            (Categorical(["a", True, 2]), 2.0, 2),
            (Ordinal([16, 32]), np.int32(32), 32),
        ],
    )
    def test_validate__foreign_number__returns_a_built_in_value(
        self, parameter: Parameter, value: Any, expected: Any
    ) -> None:
        valid = parameter.validate(value)
        assert valid == expected
        assert type(valid) is type(expected)

    @pytest.mark.parametrize(
        ("parameter", "value", "message"),
        [
            (Float(0, 1), 1.1, "expected a float in"),
            (Float(0, 1), math.nan, "finite"),
            (Float(0, 1), "0.5", "must be a number"),
            (Float(0, 1), True, "must be a number"),
            (Float(0, 1), None, "must be a number"),
            (Float(0, 1, step=0.25), 0.3, "multiple of"),
            (Int(0, 5), 6, "expected an int in"),
            (Int(0, 5), 2.5, "whole number"),
            (Int(0, 5), True, "must be a number"),
            (Int(0, 5), np.bool_(True), "must be a number"),
            (Int(0, 5), 10**400, "finite"),
            (Int(0, 6, step=2), 3, "multiple of"),
            (Categorical(["a", "b"]), "c", r"one of \['a', 'b'\], got 'c'"),
            (Categorical([1, 2]), True, "one of"),
            (Categorical([True, False]), 1, "one of"),
            (Categorical(["a"]), ["a"], "one of"),
            (Ordinal([1, 2]), math.nan, "one of"),
        ],
    )
    def test_validate__illegal_value__says_what_was_expected(
        self, parameter: Parameter, value: Any, message: str
    ) -> None:
        with pytest.raises(SearchSpaceError, match=message):
            parameter.validate(value)


class TestConstruction:
    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: Float(1, 1), "low must be below high"),
            (lambda: Float(1e9, 1e9 + 1e-6), "so close that few floats lie between"),
            (lambda: Float(2, 1), "low must be below high"),
            (lambda: Float(0, 1, log=True), "log needs low above 0"),
            (lambda: Float(-1, 1, log=True), "log needs low above 0"),
            (lambda: Float(0, math.inf), "high must be finite"),
            (lambda: Float(-1.7e308, 1.7e308), "too far apart"),
            (lambda: Float("0", 1), "low must be a number"),  # type: ignore[arg-type]
            (lambda: Float(1, 2, log=True, step=0.1), "step and log"),
            (lambda: Float(0, 1, step=0), "step must be above 0"),
            (lambda: Float(0, 1, step=2), "step must be above 0"),
            (lambda: Float(0, 1, log="yes"), "log must be true or false"),  # type: ignore[arg-type]
            (lambda: Float(0, 1, description=3), "description"),  # type: ignore[arg-type]
            (lambda: Int(0, 8, log=True), "log needs low above 0"),
            (lambda: Int(-3, 8, log=True), "log needs low above 0"),
            (lambda: Int(True, 8), "low must be a number"),
            (lambda: Int(0, 2.5), "high must be a whole number"),  # type: ignore[arg-type]
            (lambda: Int(0, 10**20), r"within 2\*\*53"),
            (lambda: Int(1, 8, log=True, step=2), "step and log"),
            (lambda: Int(0, 4, step=5), "step must be in"),
            (lambda: Categorical([]), "at least one"),
            (lambda: Categorical("abc"), "must be a list"),
            (lambda: Categorical(["a", "a"]), "must differ"),
            (lambda: Categorical([1, 1.0]), "must differ"),
            (lambda: Categorical([(1, 2)]), "a choice must be"),
            (lambda: Categorical([math.nan]), "a choice must be finite"),
            (lambda: Ordinal({1, 2}), "must be a list"),  # type: ignore[arg-type]
            (lambda: Float(0, 1, when={}), "when must map"),
            (lambda: Float(0, 1, when={"kind": "a"}), r"when\['kind'\] must be a list"),
            (lambda: Float(0, 1, when={"kind": []}), r"when\['kind'\] must be a list"),
        ],
    )
    def test_parameter__impossible_definition__is_refused_by_field(
        self, make: Any, message: str
    ) -> None:
        with pytest.raises(SearchSpaceError, match=message):
            make()

    def test_categorical__true_and_one__are_two_choices(self) -> None:
        parameter = Categorical([True, 1, 0, False])
        assert [parameter.index(v) for v in (True, 1, 0, False)] == [0, 1, 2, 3]

    def test_categorical__numpy_choices__become_built_in(self) -> None:
        assert [type(c) for c in Categorical(list(np.array([1, 2]))).choices] == [int, int]


class TestIdentity:
    def test_parameters__equal_content__are_equal_and_hash_alike(self) -> None:
        for make in (
            lambda: Float(0, 1, when={"kind": ["a"]}),
            lambda: Int(0, 4, when={"kind": ["a"]}),
            lambda: Categorical(["a", 1], when={"kind": ["a"]}),
            lambda: Ordinal([1, 2]),
        ):
            assert make() == make()
            assert hash(make()) == hash(make())

    def test_choices__values_that_read_differently__are_not_equal(self) -> None:
        assert Categorical([True, False]) != Categorical([1, 0])
        assert Categorical([1, 2]) != Categorical([1.0, 2.0])
        assert Categorical([1, 2]) != Ordinal([1, 2])
        assert Categorical(["a", "b"]) != Categorical(["b", "a"])

    @pytest.mark.parametrize("copier", [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))])
    def test_parameters__copied__stay_equal(self, copier: Any) -> None:
        for parameter in (Float(0, 1, step=0.1, when={"k": [1]}), Categorical(["a", None])):
            parameter.validate(parameter.grid()[0])
            assert copier(parameter) == parameter


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        (Float(1e-12, 1e12, log=True), -5.0),
        (Float(1e-12, 1e12, log=True), 0.0),
        (Float(1e-12, 1e12, log=True), 0.9e-12),
        (Float(1e-12, 1e12), 0.0),
        (Float(0.0, 1e12), -5.0),
        (Float(-1e12, 0.0), 5.0),
        (Float(-1e12, 1e-3), 2e-3),
        (Float(0.0, 1e9, step=1e9), -0.5),
    ],
)
def test_float_validate__outside_one_bound__is_refused_whatever_the_other_is(
    parameter: Float, value: float
) -> None:
    with pytest.raises(SearchSpaceError):
        parameter.validate(value)


@given(
    bounds=st.lists(
        st.floats(-1e12, 1e12, allow_subnormal=False), min_size=2, max_size=2, unique=True
    ).map(sorted),
)
def test_float_validate__round_off_of_a_bound__is_that_bound(bounds: list[float]) -> None:
    parameter = Float(*bounds)
    for bound in bounds:
        for factor in (1 - 1e-12, 1.0, 1 + 1e-12):
            assert parameter.validate(bound * factor) == pytest.approx(bound, rel=1e-11, abs=0)
        outside = bound - 1e-6 * abs(bound) if bound == bounds[0] else bound + 1e-6 * abs(bound)
        if outside != bound:
            with pytest.raises(SearchSpaceError):
                parameter.validate(outside)


@given(low=st.integers(-50, 50), step=st.integers(1, 30), levels=st.integers(1, 40))
def test_float__step_grid_in_tenths__has_all_its_levels(low: int, step: int, levels: int) -> None:
    parameter = Float(low / 10, (low + step * levels) / 10, step=step / 10)
    assert parameter.grid() == tuple((low + step * i) / 10 for i in range(levels + 1))


@pytest.mark.parametrize("step", [0.0, -0.1, 2.0, 5e-324, float("nan")])
def test_float__impossible_step__is_refused(step: float) -> None:
    with pytest.raises(SearchSpaceError, match="step"):
        Float(0.0, 1.0, step=step)


def test_float__very_fine_step__keeps_its_highest_level() -> None:
    parameter = Float(0.0, 1.0, step=1e-12)
    assert parameter.top_level == 10**12
    assert parameter.validate(1.0) == 1.0
