from __future__ import annotations

import math

import numpy as np
import pytest

from optformer.data.studies.encoding import decode_value, encode_point, encode_value
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Parameter, Value
from optformer.data.studies.spaces import SearchSpace


@pytest.mark.parametrize(
    ("parameter", "value", "number"),
    [
        (Float(1e-4, 1.0, log=True), 1e-2, 0.5),
        (Int(0, 8), 2, 0.25),
        (Ordinal([16, 32, 64]), 64, 1.0),
        (Categorical(["a", True, None]), None, 2.0),
    ],
)
def test_encode_value__every_kind__comes_back(
    parameter: Parameter, value: Value, number: float
) -> None:
    assert encode_value(parameter, value) == pytest.approx(number)
    assert decode_value(parameter, number) == pytest.approx(value)


def test_encode_point__inactive_parameter__is_nan() -> None:
    space = SearchSpace(
        kind=Categorical(["sgd", "adam"]), momentum=Float(0.0, 0.5, when={"kind": ["sgd"]})
    )
    np.testing.assert_array_equal(encode_point(space, {"kind": "sgd", "momentum": 0.5}), [0, 1])
    np.testing.assert_array_equal(encode_point(space, {"kind": "adam"}), [1, math.nan])
