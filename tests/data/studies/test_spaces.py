"""Search spaces: order, conditions, points, grids and plain descriptions."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Parameter
from optformer.data.studies.spaces import SearchSpace


def nested() -> SearchSpace:
    """Two levels of conditions, given with children first."""
    return SearchSpace(
        nesterov=Categorical([True, False], when={"momentum_on": [True]}),
        momentum_on=Categorical([True, False], when={"optimizer": ["sgd"]}),
        optimizer=Categorical(["adam", "sgd"]),
        layers=Int(1, 2),
    )


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    """Up to six parameters; later ones may depend on earlier ones with few values."""
    parameters: dict[str, Parameter] = {}
    for i in range(draw(st.integers(1, 6))):
        parents = [name for name, p in parameters.items() if (p.num_levels or 99) <= 4]
        when = None
        parent = draw(st.sampled_from([None, *parents]))
        if parent is not None:
            values = parameters[parent].grid()
            when = {parent: draw(st.lists(st.sampled_from(values), min_size=1, unique=True))}
        kinds: list[Parameter] = [
            Float(1e-4, 1.0, log=True, when=when),
            Float(0.0, 1.0, step=0.25, when=when),
            Int(-2, 1, when=when),
            Int(1, 64, log=True, when=when, description="width"),
            Categorical(["a", "b", None], when=when),
            Ordinal([1, 2.5, "many"], when=when),
        ]
        parameters[f"p{i}"] = draw(st.sampled_from(kinds))
    return SearchSpace(parameters)


class TestConstruction:
    def test_space__children_first__puts_parents_before_them(self) -> None:
        assert nested().names == ("optimizer", "momentum_on", "nesterov", "layers")

    def test_space__names_that_are_no_identifiers__are_kept(self) -> None:
        space = SearchSpace({"num.impute": Categorical(["mean"])}, lr=Float(0, 1))
        assert list(space) == ["num.impute", "lr"]
        assert len(space) == 2
        assert space["lr"] == Float(0, 1)

    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({}, "at least one parameter"),
            ({"": Float(0, 1)}, "name must be text"),
            ({3: Float(0, 1)}, "name must be text, got 3"),
            ({"lr": 0.1}, "'lr' must be a Float, Int, Categorical or Ordinal, got float"),
            ({"m": Float(0, 1, when={"o": ["sgd"]})}, "'m' depends on unknown parameter 'o'"),
            (
                {"o": Categorical(["adam"]), "m": Float(0, 1, when={"o": ["sgd"]})},
                r"'m': when\['o'\] holds an illegal value",
            ),
            ({"a": Categorical([1], when={"a": [1]})}, "in a circle among"),
            (
                {
                    "a": Categorical([1], when={"b": [1]}),
                    "b": Categorical([1], when={"c": [1]}),
                    "c": Categorical([1], when={"a": [1]}),
                },
                r"in a circle among \['a', 'b', 'c'\]",
            ),
        ],
    )
    def test_space__impossible__is_refused_by_name(
        self, parameters: dict[Any, Any], message: str
    ) -> None:
        with pytest.raises(SearchSpaceError, match=message):
            SearchSpace(parameters)

    def test_space__name_given_twice__is_refused(self) -> None:
        with pytest.raises(SearchSpaceError, match="'lr' is given twice"):
            SearchSpace({"lr": Float(0, 1)}, lr=Float(0, 2))

    def test_space__same_parameters__is_equal_only_in_the_same_order(self) -> None:
        one = SearchSpace(a=Float(0, 1), b=Int(1, 2))
        assert one == SearchSpace(a=Float(0, 1), b=Int(1, 2))
        assert hash(one) == hash(SearchSpace(a=Float(0, 1), b=Int(1, 2)))
        assert one != SearchSpace(b=Int(1, 2), a=Float(0, 1))
        assert one != SearchSpace(a=Float(0, 1), b=Int(1, 3))
        assert one != {"a": Float(0, 1), "b": Int(1, 2)}

    def test_space__pickled__is_equal(self) -> None:
        assert pickle.loads(pickle.dumps(nested())) == nested()


class TestConditions:
    @pytest.mark.parametrize(
        ("params", "active"),
        [
            ({"optimizer": "adam"}, False),
            ({"optimizer": "sgd", "momentum_on": False}, False),
            ({"optimizer": "sgd", "momentum_on": True}, True),
            # The parent is inactive, whatever value was left in it.
            ({"optimizer": "adam", "momentum_on": True}, False),
            ({}, False),
        ],
    )
    def test_is_active__grandchild__needs_the_whole_line(
        self, params: dict[str, Any], active: bool
    ) -> None:
        assert nested().is_active("nesterov", params) is active

    def test_is_active__two_parents__needs_both(self) -> None:
        space = SearchSpace(
            a=Int(0, 2), b=Categorical(["x", "y"]), c=Float(0, 1, when={"a": [1, 2], "b": ["x"]})
        )
        assert space.is_active("c", {"a": 2, "b": "x"})
        assert not space.is_active("c", {"a": 0, "b": "x"})
        assert not space.is_active("c", {"a": 1, "b": "y"})

    def test_is_active__truth_value_and_number__are_not_mixed_up(self) -> None:
        space = SearchSpace(a=Categorical([True, 1]), b=Float(0, 1, when={"a": [1]}))
        assert space.is_active("b", {"a": 1})
        assert not space.is_active("b", {"a": True})

    def test_is_active__condition_in_another_spelling__holds_for_the_parents_value(self) -> None:
        space = SearchSpace(
            drop=Float(0.0, 1.0, step=0.1),
            layers=Int(1, 3),
            extra=Float(0, 1, when={"drop": [0.1 + 0.2], "layers": [2.0]}),
        )
        assert space.is_active("extra", {"drop": 0.3, "layers": 2})
        assert space.to_dict()["extra"]["when"] == {"drop": [0.3], "layers": [2]}

    def test_active__full_assignment__drops_the_inactive_in_order(self) -> None:
        params = {"layers": 1, "nesterov": True, "momentum_on": True, "optimizer": "adam"}
        assert nested().active(params) == {"optimizer": "adam", "layers": 1}
        assert list(nested().active(params)) == ["optimizer", "layers"]


class TestValidate:
    def test_validate__legal_point__is_ordered_and_built_in(self) -> None:
        point = nested().validate({"layers": np.int64(2), "optimizer": np.str_("adam")})
        assert list(point.items()) == [("optimizer", "adam"), ("layers", 2)]
        assert type(point["layers"]) is int

    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ({"optimizer": "adam"}, "parameter 'layers' is missing"),
            ({"optimizer": "sgd", "layers": 1}, "parameter 'momentum_on' is missing"),
            (
                {"optimizer": "adam", "momentum_on": True, "layers": 1},
                "parameter 'momentum_on' is inactive here: it needs",
            ),
            ({"optimizer": "adam", "layers": 1, "lr": 1}, r"unknown parameter 'lr'; this space"),
            ({"optimizer": "adam", "layers": 3}, "parameter 'layers': expected an int in"),
        ],
    )
    def test_validate__illegal_point__names_the_parameter(
        self, params: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(SearchSpaceError, match=message):
            nested().validate(params)

    def test_validate_value__unknown_name__lists_the_known(self) -> None:
        with pytest.raises(SearchSpaceError, match="unknown parameter 'x'"):
            nested().validate_value("x", 1)


class TestPoints:
    @given(spaces(), st.integers(0, 2**32 - 1))
    def test_sample__any_space__is_legal(self, space: SearchSpace, seed: int) -> None:
        point = space.sample(np.random.default_rng(seed))
        assert space.validate(point) == point
        assert list(space.validate(point)) == list(point)

    @given(spaces(), st.integers(0, 2**32 - 1))
    def test_repair__point_of_the_wrong_branch__becomes_legal(
        self, space: SearchSpace, seed: int
    ) -> None:
        rng = np.random.default_rng(seed)
        mixed = {name: parameter.sample(rng) for name, parameter in space.items()}
        point = space.repair(mixed, rng)
        assert space.validate(point) == point
        assert all(point[name] == mixed[name] for name in point)

    def test_sample__fixed_values__are_kept_when_active(self) -> None:
        rng = np.random.default_rng(0)
        for _ in range(20):
            point = nested().sample(rng, {"optimizer": "sgd", "nesterov": True})
            assert point["optimizer"] == "sgd"
            assert point.get("nesterov", True) is True

    def test_sample__same_seed__gives_the_same_point(self) -> None:
        draws = [nested().sample(np.random.default_rng(3)) for _ in range(2)]
        assert draws[0] == draws[1]


class TestGrid:
    def test_grid__conditional_space__lists_distinct_points_in_order(self) -> None:
        points = list(nested().grid())
        assert len(points) == 2 * (1 + 1 + 2)
        assert points[0] == {"optimizer": "adam", "layers": 1}
        assert points[-1] == {"optimizer": "sgd", "momentum_on": False, "layers": 2}
        assert len({json.dumps(point) for point in points}) == len(points)
        assert all(nested().validate(point) == point for point in points)

    @given(spaces())
    def test_grid__finite_space__covers_every_sample(self, space: SearchSpace) -> None:
        size = space.size
        if size is None or size > 2000:
            return
        points = [json.dumps(point) for point in space.grid()]
        assert len(set(points)) == len(points) <= size
        rng = np.random.default_rng(0)
        assert all(json.dumps(space.sample(rng)) in points for _ in range(20))

    def test_grid__fixed_values__walks_only_the_rest(self) -> None:
        points = list(nested().grid({"optimizer": "adam"}))
        assert points == [{"optimizer": "adam", "layers": 1}, {"optimizer": "adam", "layers": 2}]

    def test_grid__continuous_parameter__is_refused_by_name(self) -> None:
        space = SearchSpace(kind=Categorical(["a"]), lr=Float(0, 1))
        assert space.size is None
        with pytest.raises(SearchSpaceError, match="parameter 'lr': a continuous parameter"):
            list(space.grid())
        assert list(space.grid({"lr": 0.5})) == [{"kind": "a", "lr": 0.5}]


class TestDescription:
    @given(spaces())
    def test_to_dict__through_json__reads_back_equal(self, space: SearchSpace) -> None:
        assert SearchSpace.from_dict(json.loads(json.dumps(space.to_dict()))) == space

    def test_to_dict__every_field__is_written_only_when_set(self) -> None:
        space = SearchSpace(
            lr=Float(1e-6, 1e-1, log=True, description="learning rate"),
            drop=Float(0, 10, step=1),
            kind=Categorical(["a", "b"]),
            n=Int(0, 8, step=2, when={"kind": ["a"]}),
            size=Ordinal([16, 32]),
        )
        assert space.to_dict() == {
            "lr": {
                "type": "float",
                "low": 1e-6,
                "high": 0.1,
                "log": True,
                "description": "learning rate",
            },
            "drop": {"type": "float", "low": 0.0, "high": 10.0, "step": 1.0},
            "kind": {"type": "categorical", "choices": ["a", "b"]},
            "n": {"type": "int", "low": 0, "high": 8, "step": 2, "when": {"kind": ["a"]}},
            "size": {"type": "ordinal", "choices": [16, 32]},
        }
        assert SearchSpace.from_dict(space.to_dict()) == space

    @pytest.mark.parametrize(
        ("described", "message"),
        [
            ([], "must map names to parameters, got list"),
            ({"lr": 3}, "'lr' must be a mapping with a 'type', got 3"),
            ({"lr": {"low": 0}}, "'lr': type must be one of .* got None"),
            ({"lr": {"type": "real"}}, "'lr': type must be one of .* got 'real'"),
            ({"lr": {"type": ["float"]}}, r"'lr': type must be one of .* got \['float'\]"),
            ({"lr": {"type": "float", "low": 0}}, "'lr': field 'high' is missing"),
            ({"k": {"type": "ordinal"}}, "'k': field 'choices' is missing"),
            (
                {"lr": {"type": "float", "low": 0, "high": 1, "scale": "log"}},
                "'lr': unknown field 'scale'; float takes",
            ),
            ({"lr": {"type": "float", "low": "x", "high": 1}}, "'lr': low must be a number"),
            ({True: {"type": "float", "low": 0, "high": 1}}, "name must be text, got True"),
        ],
    )
    def test_from_dict__wrong_description__names_parameter_and_field(
        self, described: Any, message: str
    ) -> None:
        with pytest.raises(SearchSpaceError, match=message):
            SearchSpace.from_dict(described)
