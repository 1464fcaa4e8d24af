"""Spaces of ConfigSpace as its JSON, of versions from 1 on and of older ones.

Source: `ConfigSpace.read_and_write.json` of 0.4 to 0.7 and `ConfigurationSpace.to_json` of 1.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.parameters import Categorical, Ordinal, Parameter, Value
from optformer.data.studies.space_formats.ranges import bell, interval, stepped
from optformer.data.studies.space_formats.translated import (
    SpaceBuilder,
    TranslatedSpace,
    expect_list,
    expect_mapping,
    expect_one_of,
)
from optformer.data.studies.spaces import is_among

TOOL = "ConfigSpace"

_TYPES = (
    *("uniform_float", "normal_float", "beta_float", "uniform_int", "normal_int", "beta_int"),
    *("categorical", "ordinal", "constant", "unparametrized"),
)
_Allowed = dict[str, list[Value]]
"""Parent to the values under which a child is active."""


def matches(described: Mapping[Any, Any]) -> bool:
    """Whether a mapping looks like the JSON of a space, or its like with names as keys."""
    given = described.get("hyperparameters")
    if isinstance(given, list):
        return any(isinstance(entry, Mapping) for entry in given)
    return isinstance(given, Mapping) and not isinstance(given.get("type"), str)


def read(described: Mapping[str, Any]) -> TranslatedSpace:
    """The parameters of a space with their conditions.

    Raises:
        SearchSpaceError: A parameter or condition cannot be read, or something is forbidden, which
            no space of ours can say; the message has its path.
    """
    builder = SpaceBuilder(TOOL)
    for number, clause in enumerate(_list(builder, described, "forbiddens")):
        with builder.at(f"forbiddens[{number}]"):
            raise SearchSpaceError(
                f"cannot read a forbidden clause: {_clause(clause)}; remove it, and observe such "
                "trials as failed"
            )
    parameters: dict[str, Parameter] = {}
    given = described["hyperparameters"]
    if isinstance(given, Mapping):  # as SMAC's sweeper for Hydra writes it
        given = [{**expect_mapping(entry), "name": name} for name, entry in given.items()]
    for number, entry in enumerate(given):
        with builder.at(f"hyperparameters[{number}]"):
            name = expect_mapping(entry).get("name")
            if not isinstance(name, str):
                raise SearchSpaceError(f"a name must be text, got {name!r}")
        with builder.at(f"hyperparameters.{name}"):
            if name in parameters:
                raise SearchSpaceError(f"parameter {name!r} is given twice")
            parameters[name] = _parameter(builder, entry)
    allowed: dict[str, _Allowed] = {}
    for number, entry in enumerate(_list(builder, described, "conditions")):
        with builder.at(f"conditions[{number}]"):
            child = expect_one_of(expect_mapping(entry).get("child"), parameters)
            allowed[child] = _both(allowed.get(child, {}), _condition(entry, parameters))
    for name, parameter in parameters.items():
        when = allowed.get(name)
        builder.add(name, replace(parameter, when=when) if when else parameter)
    return builder.build()


def _list(builder: SpaceBuilder, described: Mapping[str, Any], name: str) -> list[Any]:
    with builder.at(name):
        return expect_list(described[name]) if described.get(name) else []


def _parameter(builder: SpaceBuilder, entry: Mapping[str, Any]) -> Parameter:
    kind = expect_one_of(entry.get("type"), _TYPES)
    if kind in ("constant", "unparametrized"):
        return Categorical([_field(entry, "value")])
    if kind == "ordinal":
        return Ordinal(expect_list(_field(entry, "sequence")))
    if kind == "categorical":
        weights = entry.get("weights") or entry.get("probabilities")
        if weights and any(weight != weights[0] for weight in expect_list(weights)):
            builder.note("the weights of the choices are left out")
        return Categorical(expect_list(_field(entry, "choices")))
    return _number(builder, kind, entry)


def _number(builder: SpaceBuilder, kind: str, entry: Mapping[str, Any]) -> Parameter:
    shape, _, type_name = kind.partition("_")
    log, whole, step = bool(entry.get("log", False)), type_name == "int", entry.get("q")
    low, high = entry.get("lower"), entry.get("upper")
    if shape == "normal" and (low is None or high is None):
        step = 1 if whole and step is None else step
        mean, deviation = _field(entry, "mu"), _field(entry, "sigma")
        return bell(mean, deviation, log=log, step=step, note=builder.note)
    if shape != "uniform":
        builder.note(f"the {shape} distribution between the bounds is left out")
    low, high = _field(entry, "lower"), _field(entry, "upper")
    if step is None:
        return interval(low, high, log=log, whole=whole)
    return stepped(low, high, step, log=log, whole=whole, note=builder.note)


def _condition(entry: Any, parameters: Mapping[str, Parameter]) -> _Allowed:
    kind = expect_mapping(entry).get("type")
    if kind in ("AND", "OR"):
        parts = [_condition(part, parameters) for part in expect_list(_field(entry, "conditions"))]
        joined = parts[0]
        for part in parts[1:]:
            joined = _both(joined, part) if kind == "AND" else _either(joined, part)
        return joined
    parent = expect_one_of(_field(entry, "parent"), parameters)
    values = _field(entry, "values") if kind == "IN" else [_field(entry, "value")]
    if kind in ("EQ", "IN"):
        return {parent: expect_list(values)}
    if kind not in ("NEQ", "LT", "GT"):
        raise SearchSpaceError(f"expected a condition EQ, NEQ, IN, LT, GT, AND or OR, got {kind!r}")
    levels = _levels(parent, parameters[parent])
    place = _position(levels, values[0], parent)
    if kind == "NEQ":
        kept = [level for level in levels if not is_among(level, values)]
    else:
        kept = levels[:place] if kind == "LT" else levels[place + 1 :]
    if not kept:
        raise SearchSpaceError(f"no value of {parent!r} meets the condition")
    return {parent: kept}


def _levels(parent: str, parameter: Parameter) -> list[Value]:
    if parameter.num_levels is None or parameter.num_levels > 256:
        raise SearchSpaceError(
            f"a condition on {parent!r} needs a list of values, and it has a range"
        )
    return list(parameter.grid())


def _position(levels: Sequence[Value], value: Value, parent: str) -> int:
    for place, level in enumerate(levels):
        if is_among(level, [value]):
            return place
    raise SearchSpaceError(f"{value!r} is no value of {parent!r}")


def _both(one: _Allowed, other: _Allowed) -> _Allowed:
    joined = {**one, **other}
    for parent in one.keys() & other.keys():
        joined[parent] = [value for value in one[parent] if is_among(value, other[parent])]
        if not joined[parent]:
            raise SearchSpaceError(f"no value of {parent!r} meets all conditions")
    return joined


def _either(one: _Allowed, other: _Allowed) -> _Allowed:
    if one.keys() != other.keys() or len(one) != 1:
        raise SearchSpaceError(
            f"cannot read OR over several parameters: {sorted(one.keys() | other.keys())}"
        )
    (parent,) = one
    more = [value for value in other[parent] if not is_among(value, one[parent])]
    return {parent: one[parent] + more}


def _field(entry: Mapping[str, Any], name: str) -> Any:
    if entry.get(name) is None:
        raise SearchSpaceError(f"field {name!r} is missing")
    return entry[name]


def _clause(clause: Any) -> str:
    """A forbidden clause in words."""
    if not isinstance(clause, Mapping):
        return repr(clause)
    if clause.get("type") == "AND":
        return " and ".join(map(_clause, clause.get("clauses") or []))
    if clause.get("type") == "RELATION":
        return f"{clause.get('left')} {clause.get('lambda')} {clause.get('right')}"
    if clause.get("type") == "IN":
        return f"{clause.get('name')} in {clause.get('values')}"
    return f"{clause.get('name')} == {clause.get('value')!r}"
