"""Search spaces: named parameters, some of them conditional on others."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from optformer.data.studies.counting import count_points
from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Parameter, Value

_TYPES: dict[str, type[Parameter]] = {
    "float": Float,
    "int": Int,
    "categorical": Categorical,
    "ordinal": Ordinal,
}
_NAMES = {cls: name for name, cls in _TYPES.items()}


class SearchSpace(Mapping[str, Parameter]):
    """Named parameters in topological order: a parent comes before its children.

    Names may be given as keywords, or, when they are no Python identifiers, in a mapping:
    `SearchSpace({"num.impute": Categorical(["mean", "median"])})`. Spaces are equal when they hold
    equal parameters in the same order, because the order is part of how a study reads.

    Raises:
        SearchSpaceError: The space is empty, or a condition names an unknown parameter, an illegal
            value of it, or goes in a circle.
    """

    def __init__(self, parameters: Mapping[str, Parameter] | None = None, /, **named: Parameter):
        if parameters is not None and not isinstance(parameters, Mapping):
            raise SearchSpaceError(
                f"a space must map names to parameters, got {type(parameters).__name__}"
            )
        given = dict(parameters or {})
        twice = given.keys() & named.keys()
        if twice:
            raise SearchSpaceError(f"parameter {min(twice)!r} is given twice")
        given.update(named)
        if not given:
            raise SearchSpaceError("a search space needs at least one parameter, got none")
        for name, parameter in given.items():
            if not isinstance(name, str) or not name.strip():
                raise SearchSpaceError(
                    f"a parameter's name must be text, got {name!r}; quote it in a file"
                )
            if not isinstance(parameter, Parameter):
                raise SearchSpaceError(
                    f"parameter {name!r} must be a Float, Int, Categorical or Ordinal, "
                    f"got {type(parameter).__name__}"
                )
        self._parameters = _topological(_with_checked_conditions(given))

    def __getitem__(self, name: str) -> Parameter:
        return self._parameters[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)

    def __repr__(self) -> str:
        inside = ", ".join(f"{name!r}: {parameter!r}" for name, parameter in self.items())
        return f"SearchSpace({{{inside}}})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SearchSpace):
            return NotImplemented
        return list(self.items()) == list(other.items())

    def __hash__(self) -> int:
        return hash(tuple(self._parameters))

    @property
    def names(self) -> tuple[str, ...]:
        """Parameter names, parents before children."""
        return tuple(self._parameters)

    def is_active(self, name: str, params: Mapping[str, Value]) -> bool:
        """Whether a parameter takes part, given its parents' values in `params`.

        A parameter whose parent is itself inactive is inactive.
        """
        when = self._parameters[name].when
        if not when:
            return True
        return all(
            parent in params and self.is_active(parent, params) and is_among(params[parent], values)
            for parent, values in when.items()
        )

    def validate(self, params: Mapping[str, Value]) -> dict[str, Value]:
        """Check one point and return it in the space's order with built-in Python values.

        Raises:
            SearchSpaceError: A name is unknown, an active parameter is missing, an inactive one is
                given, or a value is not legal; the message names the parameter.
        """
        if not isinstance(params, Mapping):
            raise SearchSpaceError(f"a point must map names to values, got {params!r}")
        unknown = [name for name in params if name not in self._parameters]
        if unknown:
            raise SearchSpaceError(
                f"unknown parameter {unknown[0]!r}; this space has {list(self._parameters)}"
            )
        valid: dict[str, Value] = {}
        for name, parameter in self._parameters.items():
            if not self.is_active(name, valid):
                if name in params:
                    raise SearchSpaceError(
                        f"parameter {name!r} is inactive here: "
                        f"it needs {dict(parameter.when or {})}"
                    )
                continue
            if name not in params:
                raise SearchSpaceError(f"parameter {name!r} is missing")
            valid[name] = self.validate_value(name, params[name])
        return valid

    def validate_value(self, name: str, value: Value) -> Value:
        """Check one parameter's value; the error names the parameter."""
        if name not in self._parameters:
            raise SearchSpaceError(
                f"unknown parameter {name!r}; this space has {list(self._parameters)}"
            )
        try:
            return self._parameters[name].validate(value)
        except SearchSpaceError as error:
            raise SearchSpaceError(f"parameter {name!r}: {error}") from None

    def sample(
        self, rng: np.random.Generator, fixed: Mapping[str, Value] | None = None
    ) -> dict[str, Value]:
        """Draw one point, every active parameter on its own; `fixed` values are kept."""
        return self.repair(fixed or {}, rng)

    def repair(self, params: Mapping[str, Value], rng: np.random.Generator) -> dict[str, Value]:
        """Make a point legal: inactive parameters are dropped, missing active ones drawn."""
        point: dict[str, Value] = {}
        for name, parameter in self._parameters.items():
            if self.is_active(name, point):
                point[name] = params[name] if name in params else parameter.sample(rng)
        return point

    def active(self, params: Mapping[str, Value]) -> dict[str, Value]:
        """The active ones of a full assignment of values, in the space's order."""
        point: dict[str, Value] = {}
        for name in self._parameters:
            if self.is_active(name, point):
                point[name] = params[name]
        return point

    @property
    def size(self) -> int | None:
        """Number of distinct points, counted along the conditions; None for a continuum.

        A parameter with more than a million levels counts as one.
        """
        return count_points(self._parameters)

    def grid(self, fixed: Mapping[str, Value] | None = None) -> Iterator[dict[str, Value]]:
        """Walk all distinct points of a finite space in lexicographic order.

        Raises:
            SearchSpaceError: A parameter is continuous.
        """
        fixed = fixed or {}

        def walk(names: tuple[str, ...], point: dict[str, Value]) -> Iterator[dict[str, Value]]:
            if not names:
                yield dict(point)
                return
            name, rest = names[0], names[1:]
            if not self.is_active(name, point):
                yield from walk(rest, point)
                return
            for value in (fixed[name],) if name in fixed else self._levels(name):
                yield from walk(rest, {**point, name: value})

        return walk(self.names, {})

    def _levels(self, name: str) -> tuple[Value, ...]:
        try:
            return self._parameters[name].grid()
        except SearchSpaceError as error:
            raise SearchSpaceError(f"parameter {name!r}: {error}") from None

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """The space as plain JSON-ready values; `from_dict` reads them back."""
        described: dict[str, dict[str, Any]] = {}
        for name, parameter in self._parameters.items():
            entry: dict[str, Any] = {"type": _NAMES[type(parameter)]}
            if isinstance(parameter, Float | Int):
                entry |= {"low": parameter.low, "high": parameter.high}
                if parameter.log:
                    entry["log"] = True
                if parameter.step != type(parameter).step:
                    entry["step"] = parameter.step
            else:
                entry["choices"] = list(parameter.choices)
            if parameter.when:
                entry["when"] = {parent: list(values) for parent, values in parameter.when.items()}
            if parameter.description:
                entry["description"] = parameter.description
            described[name] = entry
        return described

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> SearchSpace:
        """Build a space from plain values, one entry a parameter.

        Args:
            described: Name to a mapping with `type` (float, int, categorical or ordinal) and that
                type's fields, for instance `{"lr": {"type": "float", "low": 1e-5, "high": 1}}`.

        Raises:
            SearchSpaceError: A type or field is unknown or missing; the message names both.
        """
        if not isinstance(described, Mapping):
            raise SearchSpaceError(
                f"a space must map names to parameters, got {type(described).__name__}"
            )
        return cls({name: _parameter(name, entry) for name, entry in described.items()})


def _parameter(name: str, entry: Any) -> Parameter:
    if not isinstance(entry, Mapping):
        raise SearchSpaceError(f"parameter {name!r} must be a mapping with a 'type', got {entry!r}")
    fields = dict(entry)
    kind = fields.pop("type", None)
    if not isinstance(kind, str) or kind not in _TYPES:
        raise SearchSpaceError(
            f"parameter {name!r}: type must be one of {sorted(_TYPES)}, got {kind!r}"
        )
    cls = _TYPES[kind]
    known = set(cls.__dataclass_fields__)
    for field in fields:
        if field not in known:
            raise SearchSpaceError(
                f"parameter {name!r}: unknown field {field!r}; {kind} takes {sorted(known)}"
            )
    for field in ("low", "high") if cls in (Float, Int) else ("choices",):
        if field not in fields:
            raise SearchSpaceError(f"parameter {name!r}: field {field!r} is missing")
    try:
        return cls(**fields)
    except SearchSpaceError as error:
        raise SearchSpaceError(f"parameter {name!r}: {error}") from None


def _with_checked_conditions(parameters: Mapping[str, Parameter]) -> dict[str, Parameter]:
    """The parameters with the parents' values spelled as the parents spell them."""
    checked: dict[str, Parameter] = {}
    for name, parameter in parameters.items():
        when: dict[str, list[Value]] = {}
        for parent, values in (parameter.when or {}).items():
            if parent not in parameters:
                raise SearchSpaceError(
                    f"parameter {name!r} depends on unknown parameter {parent!r}; "
                    f"this space has {list(parameters)}"
                )
            try:
                when[parent] = [parameters[parent].validate(value) for value in values]
            except SearchSpaceError as error:
                raise SearchSpaceError(
                    f"parameter {name!r}: when[{parent!r}] holds an illegal value: {error}"
                ) from None
        checked[name] = replace(parameter, when=when) if when else parameter
    return checked


def _topological(parameters: Mapping[str, Parameter]) -> dict[str, Parameter]:
    """Order parents before children and otherwise keep the given order."""
    names = list(parameters)
    children: dict[str, list[int]] = {}
    missing = []  # parents of each parameter that have no place yet
    for position, parameter in enumerate(parameters.values()):
        missing.append(len(parameter.when or {}))
        for parent in parameter.when or {}:
            children.setdefault(parent, []).append(position)
    ready = [position for position, count in enumerate(missing) if not count]
    ordered: dict[str, Parameter] = {}
    while ready:
        name = names[heapq.heappop(ready)]
        ordered[name] = parameters[name]
        for child in children.get(name, []):
            missing[child] -= 1
            if not missing[child]:
                heapq.heappush(ready, child)
    if len(ordered) < len(names):
        raise SearchSpaceError(
            f"conditions go in a circle among {sorted(set(names) - set(ordered))}"
        )
    return ordered


def is_among(value: Value, values: Sequence[Value]) -> bool:
    """Whether a value is one of several; True is not 1."""
    return any(isinstance(value, bool) == isinstance(v, bool) and value == v for v in values)
