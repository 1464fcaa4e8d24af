"""Conditions read back from the points that a search has left behind."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from optformer.data.studies.inferred_conditions import infer_conditions
from optformer.data.studies.parameters import Categorical, Float, Int, Value
from optformer.data.studies.spaces import SearchSpace

OPTIMIZER = Categorical(["sgd", "adam", "lion"])


def conditions(
    space: SearchSpace, whole: list[dict[str, Value]], cut: list[dict[str, Value]] | None = None
) -> dict[str, Mapping[str, object]]:
    """The inferred conditions by parameter, of those that have one."""
    inferred = infer_conditions(space, whole, cut or [])
    return {name: dict(p.when) for name, p in inferred.items() if p.when}


def test_infer_conditions__declared_tree__is_read_back_from_its_points() -> None:
    plain = {
        "lr": Float(0.0, 1.0),
        "optimizer": OPTIMIZER,
        "momentum": Float(0.0, 1.0),
        "nesterov": Categorical([True, False]),
        "layers": Int(1, 6),
        "units_2": Int(8, 64),
        "dampening": Float(0.0, 1.0),
    }
    when = {
        "momentum": {"optimizer": ("sgd",)},
        "nesterov": {"optimizer": ("sgd",)},
        "units_2": {"layers": (2, 3, 4, 5, 6)},
        "dampening": {"nesterov": (False,)},
    }
    fields = {
        name: parameter.__dict__ | {"when": when.get(name)} for name, parameter in plain.items()
    }
    truth = SearchSpace(
        {
            name: type(parameter)(
                **{key: fields[name][key] for key in parameter.__dataclass_fields__}
            )
            for name, parameter in plain.items()
        }
    )
    rng = np.random.default_rng(0)
    points = [truth.sample(rng) for _ in range(60)]

    assert conditions(SearchSpace(plain), points) == when


def test_infer_conditions__two_parents__both_must_agree() -> None:
    space = SearchSpace(a=Categorical([0, 1]), b=Categorical([0, 1]), c=Float(0, 1))
    points = [{"a": a, "b": b, **({"c": 0.5} if a and b else {})} for a in (0, 1) for b in (0, 1)]

    assert conditions(space, points) == {"c": {"a": (1,), "b": (1,)}}


def test_infer_conditions__whole_number_unseen__is_taken_for_its_nearest() -> None:
    space = SearchSpace(layers=Int(1, 10), units=Float(0, 1))
    points = [
        {"layers": 2},
        {"layers": 3},
        {"layers": 6, "units": 0.1},
        {"layers": 8, "units": 0.2},
    ]

    assert conditions(space, points) == {"units": {"layers": (5, 6, 7, 8, 9, 10)}}


@pytest.mark.parametrize(
    ("whole", "cut"),
    [
        ([{"lr": 0.1}, {"lr": 0.2, "late": 0.5}], []),  # no parent that explains it
        ([{"optimizer": "sgd", "late": 0.5}], [{"optimizer": "adam"}]),  # failed before it asked
        (  # the same value with and without
            [{"optimizer": "sgd"}, {"optimizer": "sgd", "late": 0.1}],
            [],
        ),
    ],
)
def test_infer_conditions__nothing_explains_absence__stays_unconditional(
    whole: list[dict[str, Value]], cut: list[dict[str, Value]]
) -> None:
    space = SearchSpace(lr=Float(0, 1), optimizer=OPTIMIZER, late=Float(0, 1))

    assert conditions(space, whole, cut) == {}


def test_infer_conditions__what_a_cut_point_holds__widens_the_condition() -> None:
    space = SearchSpace(optimizer=OPTIMIZER, momentum=Float(0, 1))
    whole = [{"optimizer": "sgd", "momentum": 0.5}, {"optimizer": "adam"}]

    assert conditions(space, whole, [{"optimizer": "lion", "momentum": 0.1}]) == {
        "momentum": {"optimizer": ("sgd", "lion")}
    }


def test_infer_conditions__choice_and_number_explain_alike__the_choice_is_the_parent() -> None:
    space = SearchSpace(layers=Int(1, 8), optimizer=OPTIMIZER, momentum=Float(0, 1))
    points = [
        {"layers": 2, "optimizer": "sgd", "momentum": 0.5},
        {"layers": 5, "optimizer": "adam"},
    ]

    assert conditions(space, points) == {"momentum": {"optimizer": ("sgd",)}}
