"""Binning of the unit interval."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optformer.data.studies.errors import TokenizationError
from optformer.tokenization.binning import EDGE_SLACK, bin_center, quantize
from optformer.tokenization.symbols import NUM_BINS


@given(st.floats(0.0, 1.0))
def test_quantize__any_unit_value__returns_within_half_a_bin(unit: float) -> None:
    assert abs(float(bin_center(quantize(unit))) - unit) <= (0.5 + EDGE_SLACK) / NUM_BINS + 1e-12


@given(st.integers(0, NUM_BINS - 1))
def test_bin_center__any_bin__is_a_fixed_point(index: int) -> None:
    assert int(quantize(bin_center(index))) == index


@pytest.mark.parametrize(
    ("unit", "index"), [(0.0, 0), (-0.0, 0), (0.9999, 999), (1.0, 999), (0.5, 500), (5e-324, 0)]
)
def test_quantize__bounds_and_negative_zero__stay_in_range(unit: float, index: int) -> None:
    assert int(quantize(unit)) == index


@pytest.mark.parametrize("unit", [-0.01, 1.01, np.nan, np.inf, -np.inf])
def test_quantize__outside_unit_interval__names_the_position(unit: float) -> None:
    with pytest.raises(TokenizationError, match=r"\(0, 1\)"):
        quantize(np.array([[0.5, unit]]))


def test_quantize__near_equal_values__share_a_bin_and_keep_their_order() -> None:
    assert quantize([0.1234, 0.12345]).tolist() == [123, 123]
    assert (np.diff(quantize(np.linspace(0, 1, 5001))) >= 0).all()


@pytest.mark.parametrize("index", [-1, NUM_BINS])
def test_bin_center__no_bin__names_the_position(index: int) -> None:
    with pytest.raises(TokenizationError, match=rf"\(1,\) is {index}, expected 0 to 999"):
        bin_center([0, index])


def test_bin_center__fractions__are_refused() -> None:
    with pytest.raises(TokenizationError, match="whole numbers"):
        bin_center([0.5])


def test_quantize__values_on_edges__agree_in_single_and_double_precision() -> None:
    edges = np.arange(NUM_BINS) / NUM_BINS
    assert quantize(edges).tolist() == list(range(NUM_BINS))
    assert quantize(edges.astype(np.float32)).tolist() == list(range(NUM_BINS))
