"""Spaces of scikit-learn's random search: distributions of SciPy, lists, alternatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.svm import SVC

from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal
from optformer.data.studies.space_files import load_space
from optformer.data.studies.space_formats.reading import read_space


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (stats.uniform(2, 3), Float(2, 5)),
        (stats.uniform(loc=-1, scale=2), Float(-1, 1)),
        (stats.loguniform(1e-4, 1e-1), Float(1e-4, 1e-1, log=True)),
        (stats.reciprocal(1, 100, scale=10), Float(10, 1000, log=True)),
        (stats.randint(1, 11), Int(1, 10)),
        (stats.randint(1, 11, loc=5), Int(6, 15)),
        (["rbf", "linear"], Categorical(["rbf", "linear"])),
        ([10, 1, 0.1], Ordinal([0.1, 1, 10])),
        ((None, 5), Categorical([None, 5])),
        (np.array([1, 2, 4]), Ordinal([1, 2, 4])),
        (np.array([True, False]), Categorical([True, False])),
        (range(1, 500, 2), Int(1, 499, step=2)),
        (["only"], Categorical(["only"])),
        (Float(0, 1, description="share"), Float(0, 1, description="share")),
    ],
)
def test_read__uniform_distributions_and_lists__are_exact(value: Any, expected: Any) -> None:
    read = read_space({"x": value})
    assert read.space["x"] == expected
    assert read.notes == ()


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [
        (stats.expon(scale=100), Float(0.501, 530, log=True)),
        (stats.norm(5, 1), Float(2.42, 7.58)),
        (stats.lognorm(2), Float(0.00579, 173, log=True)),
        (stats.beta(2, 5), Float(0, 1)),
        (stats.truncnorm(-1, 1), Float(-1, 1)),
        (stats.poisson(10), Int(3, 19)),
        (stats.geom(0.1), Int(1, 51, log=True)),
    ],
)
def test_read__other_distributions__are_ranges_that_hold_most_draws(
    distribution: Any, expected: Any
) -> None:
    read = read_space({"x": distribution})
    parameter = read.space["x"]
    assert (type(parameter), parameter.log) == (type(expected), expected.log)
    assert parameter.high == expected.high
    assert read.notes[0].startswith("x: ")
    draws = distribution.rvs(2000, random_state=0)
    assert np.mean((draws >= parameter.low) & (draws <= parameter.high)) > 0.98


def test_decode__choices_that_are_objects__are_the_same_objects() -> None:
    one, other = SVC(), SVC(C=2.0)
    read = read_space({"model": [one, other, "passthrough"], "layers": [(5,), (5, 5)]})
    labels = list(read.space["model"].grid())
    decoded = [read.decode({"model": label})["model"] for label in labels]
    assert decoded[0] is one
    assert decoded[1] is other
    assert decoded[2] == "passthrough"
    assert read.decode({"layers": "[5, 5]"}) == {"layers": (5, 5)}


def test_load_space__alternatives__become_conditions() -> None:
    cost = stats.loguniform(1e-2, 1e2)
    space = load_space(
        [
            {"kernel": ["linear"], "C": cost},
            {"kernel": ["rbf", "sigmoid"], "C": cost, "gamma": stats.loguniform(1e-4, 1)},
            {"kernel": ["poly"], "C": cost, "gamma": stats.loguniform(1e-4, 1), "degree": [2, 3]},
        ]
    )
    assert dict(space) == {
        "kernel": Categorical(["linear", "rbf", "sigmoid", "poly"]),
        "C": Float(1e-2, 1e2, log=True),
        "gamma": Float(1e-4, 1, log=True, when={"kernel": ["rbf", "sigmoid", "poly"]}),
        "degree": Ordinal([2, 3], when={"kernel": ["poly"]}),
    }


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({"x": 3}, "^x: expected a list of values, a distribution"),
        ({"x": stats.uniform}, "^x: uniform_gen draws values and does not say which"),
        ({"x": stats.uniform([0, 1], 2)}, "^x: uniform draws several values at once"),
        ({"x": stats.norm(0, 0)}, "^x: norm has no quantiles"),
        ({"x": []}, "^x: choices must hold"),
        ([{"k": ["a"]}, {"k": ["a", "b"]}], "no parameter tells the 2 alternatives apart"),
        ([{"k": ["a"]}, {"j": ["b"]}], "no parameter tells the 2 alternatives apart"),
        (
            [{"k": ["a"], "c": [1, 2]}, {"k": ["b"], "c": [1, 3]}],
            "^'c' has one range in alternative 0 and another one in 1",
        ),
        ([{"k": ["a"]}, {"k": 3}], r"^\[1\]\.k: expected a list"),
    ],
)
def test_read__what_cannot_be_read__is_named(described: Any, message: str) -> None:
    with pytest.raises(SearchSpaceError, match=message):
        read_space(described)
