from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from optformer.tokenization.objective_scale import ObjectiveScale, fit_scale


def _fit(values: list[float], observed: list[bool] | None = None) -> ObjectiveScale:
    seen = torch.tensor([True] * len(values) if observed is None else observed, dtype=torch.bool)
    return fit_scale(torch.tensor(values, dtype=torch.float64), seen)


def _unit(scale: ObjectiveScale, *values: float) -> Tensor:
    return scale.to_unit(torch.tensor(values, dtype=torch.float64))


_NUMBERS = st.floats(-1e6, 1e6).map(lambda x: round(x, 6))
_HISTORIES = st.lists(_NUMBERS, min_size=2, max_size=30).filter(
    lambda values: max(values) - min(values) > 1e-3
)


@given(values=_HISTORIES)
def test_scale__fitted_values__come_back(values: list[float]) -> None:
    scale = _fit(values)
    numbers = torch.tensor(values, dtype=torch.float64)
    unit = scale.to_unit(numbers)
    assert unit.dtype is torch.float64
    # Only what lies further below the median than the floor is flattened.
    kept = (numbers - scale.median) / scale.spread > -torch.expm1(torch.tensor(2.49))
    back = scale.from_unit(unit)
    size = max(abs(v) for v in values)
    torch.testing.assert_close(back[kept], numbers[kept], rtol=1e-9, atol=1e-9 * size)
    assert (back[~kept] > numbers[~kept]).all()


@given(values=_HISTORIES)
def test_scale__unit_interval__comes_back(values: list[float]) -> None:
    scale = _fit(values)
    lowest = float(scale.offset - 2.5 * scale.slope)
    unit = torch.linspace(max(lowest + 1e-6, 0.0), 1.0, 101, dtype=torch.float64)
    torch.testing.assert_close(scale.to_unit(scale.from_unit(unit)), unit, rtol=0, atol=1e-6)


@given(values=_HISTORIES)
def test_scale__larger_values__map_higher(values: list[float]) -> None:
    scale = _fit(values)
    ordered = torch.tensor(sorted(values), dtype=torch.float64)
    assert (scale.to_unit(ordered).diff() >= 0).all()
    unit = torch.linspace(0, 1, 50, dtype=torch.float64)
    assert (scale.from_unit(unit).diff() > 0).all()


@given(values=_HISTORIES)
def test_scale__n_values__fill_an_interval_that_grows_with_n(values: list[float]) -> None:
    unit = _unit(_fit(values), *values)
    n = len(values)
    width = 0.7 * n / (n + 4)
    assert float(unit.max() - unit.min()) == pytest.approx(width, abs=1e-6)
    assert float(unit.min()) == pytest.approx(0.5 - 4 / 7 * width, abs=1e-6)
    assert 1 - float(unit.max()) > 0.19  # room above


def test_scale__above_the_median__is_affine() -> None:
    scale = _fit([0.0, 1.0, 2.0, 3.0, 10.0])
    unit = _unit(scale, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0)
    torch.testing.assert_close(unit.diff(), unit.diff()[:1].expand(5))


def test_scale__better_than_all__has_head_room() -> None:
    scale = _fit([0.0, 1.0, 2.0])
    best, better = _unit(scale, 2.0, 2.5)
    assert best < better < 1


@pytest.mark.parametrize("exploded", [-1e3, -1e6, -1e12])
def test_scale__one_exploded_run__does_not_flatten_the_rest(exploded: float) -> None:
    values = [0.90, 0.91, 0.92, 0.93, 0.94, 0.95]
    unit = _unit(_fit([*values, exploded]), *values)
    whole = _unit(_fit(values), *values)
    assert float(unit.max() - unit.min()) > 0.25 * float(whole.max() - whole.min())
    assert (unit.diff() > 0.01).all()


@pytest.mark.parametrize("start", [1.0, -1.0, 1e9, -1e9, 1e-9])
def test_scale__huge_offset__keeps_small_differences(start: float) -> None:
    small = 1e-3 * max(1.0, abs(start) * 1e-9)
    values = [start + i * small for i in range(8)]
    unit = _unit(_fit(values), *values)
    assert (unit.diff() > 0.01).all()
    back = _fit(values).from_unit(unit)
    torch.testing.assert_close(
        back, torch.tensor(values, dtype=torch.float64), rtol=1e-15, atol=1e-7 * small
    )


@pytest.mark.parametrize("factor", [1e-12, 1.0, 1e12])
def test_scale__other_units__map_alike(factor: float) -> None:
    values = [-3.0, -1.0, 0.5, 2.0, 7.0]
    scaled = [factor * value for value in values]
    torch.testing.assert_close(_unit(_fit(scaled), *scaled), _unit(_fit(values), *values))


@pytest.mark.parametrize("value", [0.0, 3.0, -3.0, 1e-8, -1e12])
@pytest.mark.parametrize("count", [1, 4])
def test_scale__one_or_equal_values__lie_in_the_middle(value: float, count: int) -> None:
    scale = _fit([value] * count)
    assert _unit(scale, value).tolist() == [0.5]
    size = abs(value) if value else 10.0
    low, high = _unit(scale, value - 0.05 * size, value + 0.05 * size).tolist()
    assert 0 < low < 0.5 < high < 1


def test_scale__no_value__is_finite_and_centred_on_zero() -> None:
    for scale in (_fit([]), _fit([5.0, 7.0], [False, False])):
        assert _unit(scale, 0.0).tolist() == [0.5]
        assert scale.from_unit(torch.tensor([0.0, 1.0])).isfinite().all()


def test_scale__unobserved_values__have_no_influence() -> None:
    seen = [True, False, True, True, False]
    first = _fit([1.0, 1e9, 2.0, 4.0, -1e9], seen)
    second = _fit([1.0, float("nan"), 2.0, 4.0, float("inf")], seen)
    only = _fit([1.0, 2.0, 4.0])
    for scale in (first, second):
        assert torch.equal(_unit(scale, 1.0, 2.0, 4.0), _unit(only, 1.0, 2.0, 4.0))


def test_scale__most_values_equal_the_best__stays_finite() -> None:
    unit = _unit(_fit([1.0, 1.0, 1.0, 0.5]), 0.5, 1.0)
    assert 0 < unit[0] < unit[1] < 1


def test_fit_scale__batch__equals_one_at_a_time() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(3, 4, 9, generator=generator, dtype=torch.float64)
    values[0] *= 1e6
    values[1, 0] = 2.0
    observed = torch.rand(3, 4, 9, generator=generator) < 0.7
    observed[2, 3] = False
    together = fit_scale(values, observed)
    assert together.median.shape == (3, 4, 1)
    asked = torch.linspace(0, 1, 5, dtype=torch.float64).expand(3, 4, 5)
    for i in range(3):
        for j in range(4):
            alone = fit_scale(values[i, j], observed[i, j])
            assert torch.equal(together.to_unit(values)[i, j], alone.to_unit(values[i, j]))
            assert torch.equal(together.from_unit(asked)[i, j], alone.from_unit(asked[i, j]))


def test_fit_scale__fallback_spread__is_used_for_equal_values_only() -> None:
    fallback = torch.tensor([2.0])
    flat = fit_scale(torch.tensor([5.0, 5.0]), torch.tensor([True, True]), fallback)
    assert flat.spread.tolist() == [2.0]
    varied = fit_scale(torch.tensor([5.0, 6.0]), torch.tensor([True, True]), fallback)
    assert varied.spread.tolist() == [1.0]


def test_fit_scale__values_near_the_largest_float__stay_finite() -> None:
    values = [1e300, 2e300, -1e300]
    unit = _unit(_fit(values), *values)
    assert unit.isfinite().all()


def test_fit_scale__run_exploded_beyond_precision__the_rest_stays_apart() -> None:
    values = torch.tensor([0.90, 0.91, 0.95, -1e20], dtype=torch.float64)
    unit = fit_scale(values, torch.ones(4, dtype=torch.bool)).to_unit(values)
    assert float(unit[2] - unit[1]) > 0.05
    assert float(unit[1] - unit[0]) > 0.01


@pytest.mark.parametrize(
    "values",
    [
        [5e-324],
        [5e-324, 0.0],
        [-5e-324, 1e-310],
        [1e308, -1e308],
        [1.7e308, -1.7e308, 0.0, 1.0],
        [-1.7e308] * 3 + [1.7e308],
    ],
)
def test_scale__numbers_at_the_ends_of_double_precision__stay_apart_and_finite(
    values: list[float],
) -> None:
    scale = _fit(values)
    unit = _unit(scale, *values)
    assert ((unit >= 0) & (unit <= 1)).all()
    assert unit.argmax() == torch.tensor(values).double().argmax()
    assert scale.from_unit(torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)).isfinite().all()
