from __future__ import annotations

import numpy as np
import pytest

from optformer.data.corpora.emulation.ranges import LEAST_WIDTH, as_list, narrow, span_of
from optformer.data.studies.parameters import Float, Int, Numeric, Ordinal

NUMBERS = [
    Float(1e-5, 1.0, log=True, description="step size"),
    Float(-2.0, 3.0),
    Int(1, 400),
    Int(1, 3000, log=True, when={"kind": ["tree"]}),
    Ordinal([1, 2, 5, 10, 20]),
]


@pytest.mark.parametrize("parameter", NUMBERS, ids=str)
def test_narrow__any_number__keeps_a_part_and_all_else(parameter: Numeric) -> None:
    rng = np.random.default_rng(0)
    parts = [narrow(parameter, rng) for _ in range(50)]

    for part in parts:
        start, end = span_of(part, parameter)
        assert type(part) is type(parameter)
        assert (part.when, part.description) == (parameter.when, parameter.description)
        assert 0.0 <= start < end <= 1.0
        # A list's values, and whole numbers, are coarser than the draw.
        assert end - start > LEAST_WIDTH / 2
        middle = part.from_unit(0.5)
        place = start + (end - start) * part.to_unit(middle)
        assert parameter.to_unit(parameter.validate(middle)) == pytest.approx(place)
    assert len({span_of(part, parameter) for part in parts}) > 5


def test_narrow__step_or_two_values__stays() -> None:
    rng = np.random.default_rng(0)
    stepped, pair = Float(0.0, 1.0, step=0.1), Int(3, 4)

    assert narrow(stepped, rng) is stepped
    assert all(narrow(pair, rng) == pair for _ in range(20))


@pytest.mark.parametrize("parameter", NUMBERS[:4], ids=str)
def test_as_list__any_number__lies_evenly_on_its_range(parameter: Numeric) -> None:
    rng = np.random.default_rng(1)
    lists = [as_list(parameter, rng) for _ in range(30)]

    made = [listed for listed in lists if isinstance(listed, Ordinal)]
    assert len(made) > 10
    for listed in made:
        assert (listed.when, listed.description) == (parameter.when, parameter.description)
        places = [parameter.to_unit(parameter.validate(value)) for value in listed.choices]
        assert places == pytest.approx(np.linspace(0, 1, len(places)), abs=0.05)
        assert span_of(listed, parameter) == (0.0, 1.0)


def test_as_list__too_few_values__stays() -> None:
    rng = np.random.default_rng(0)
    few, given = Int(1, 6, log=True), NUMBERS[-1]

    assert all(as_list(few, rng) == few for _ in range(20))
    assert as_list(given, rng) is given
