"""Search spaces and Optuna's distributions."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import create_trial

from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.optuna_distributions import from_distributions, to_distributions
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal
from optformer.data.studies.spaces import SearchSpace

SPACE = SearchSpace(
    kind=Categorical(["a", "b", None, True]),
    lr=Float(1e-6, 1e-1, log=True, description="learning rate", when={"kind": ["a"]}),
    drop=Float(0.0, 1.0, step=0.1),
    odd=Float(0.0, 1.0, step=0.4),
    layers=Int(1, 8),
    width=Int(16, 512, log=True),
    even=Int(0, 9, step=2),
    size=Ordinal([16, 32, 64]),
)


def test_to_distributions__every_type__becomes_its_counterpart() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        distributions = to_distributions(SPACE)
    assert distributions == {
        "kind": CategoricalDistribution(("a", "b", None, True)),
        "lr": FloatDistribution(1e-6, 1e-1, log=True),
        "drop": FloatDistribution(0.0, 1.0, step=0.1),
        "odd": FloatDistribution(0.0, 0.8, step=0.4),
        "layers": IntDistribution(1, 8),
        "width": IntDistribution(16, 512, log=True),
        "even": IntDistribution(0, 8, step=2),
        "size": CategoricalDistribution((16, 32, 64)),
    }
    assert list(distributions) == list(SPACE)


def test_to_distributions__points_of_the_space__are_contained() -> None:
    distributions, rng = to_distributions(SPACE), np.random.default_rng(0)
    for _ in range(100):
        point = SPACE.sample(rng)
        active = {name: distributions[name] for name in point}
        trial = create_trial(params=point, distributions=active, value=0.0)  # refuses others
        assert trial.params == point


def test_from_distributions__own_distributions__come_back_without_conditions() -> None:
    space = from_distributions(to_distributions(SPACE))
    assert list(space) == list(SPACE)
    assert space["lr"] == Float(1e-6, 1e-1, log=True)
    assert space["drop"] == SPACE["drop"]
    assert space["odd"].grid() == SPACE["odd"].grid()
    assert space["even"].grid() == SPACE["even"].grid()
    assert (space["layers"], space["width"]) == (SPACE["layers"], SPACE["width"])
    assert space["kind"] == SPACE["kind"]
    assert space["size"] == Categorical([16, 32, 64])


@pytest.mark.parametrize(
    ("distribution", "choice"), [(FloatDistribution(0.5, 0.5), 0.5), (IntDistribution(3, 3), 3)]
)
def test_from_distributions__single_value__is_an_ordinal_of_one(
    distribution: BaseDistribution, choice: float
) -> None:
    assert from_distributions({"x": distribution}) == SearchSpace(x=Ordinal([choice]))


def test_from_distributions__other_kind__is_refused_by_name() -> None:
    class Strange(BaseDistribution):
        def to_internal_repr(self, param_value_in_external_repr: Any) -> float:
            return 0.0

        def single(self) -> bool:
            return False

        def _contains(self, param_value_in_internal_repr: float) -> bool:
            return True

    with pytest.raises(SearchSpaceError, match=r"'x': expected a FloatDistribution.*got Strange"):
        from_distributions({"x": Strange()})


def test_from_distributions__bounds_beyond_exact_floats__are_refused_by_name() -> None:
    with pytest.raises(SearchSpaceError, match=r"'x': high must be within 2\*\*53"):
        from_distributions({"x": IntDistribution(0, 2**60)})


def test_to_distributions__true_beside_one__is_refused() -> None:
    with pytest.raises(SearchSpaceError, match="'flag': Optuna cannot tell True from 1"):
        to_distributions(SearchSpace(flag=Categorical([True, 1])))


@given(low=st.integers(-50, 50), step=st.integers(1, 30), levels=st.integers(1, 40))
def test_to_distributions__step_grid_in_tenths__keeps_all_its_levels(
    low: int, step: int, levels: int
) -> None:
    parameter = Float(low / 10, low / 10 + step / 10 * levels, step=step / 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        distribution = to_distributions(SearchSpace(x=parameter))["x"]
    assert all(distribution._contains(value) for value in parameter.grid())
