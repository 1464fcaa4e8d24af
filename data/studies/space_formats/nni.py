"""Search spaces of NNI, as in `search_space.json`.

Source: the specification of search spaces, nni.readthedocs.io.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.parameters import Categorical, Condition, Ordinal, Parameter
from optformer.data.studies.space_formats.ranges import bell, interval, is_multiple, multiples
from optformer.data.studies.space_formats.translated import (
    Note,
    SpaceBuilder,
    TranslatedSpace,
    expect_list,
    expect_mapping,
    expect_number,
    expect_one_of,
)

TOOL = "NNI"

_NUMBERS = {
    "randint": ("lower", "upper"),
    "uniform": ("low", "high"),
    "quniform": ("low", "high", "q"),
    "loguniform": ("low", "high"),
    "qloguniform": ("low", "high", "q"),
    "normal": ("mu", "sigma"),
    "qnormal": ("mu", "sigma", "q"),
    "lognormal": ("mu", "sigma"),
    "qlognormal": ("mu", "sigma", "q"),
}
_LISTED = 64  # multiples that are listed together with bounds that are none
_PLACES = ("searchSpace", "search_space")  # in the configuration of an experiment


def matches(described: Mapping[Any, Any]) -> bool:
    """Whether a mapping is a search space of NNI, or an experiment that holds one."""
    space, _ = _inside(described)
    return any(isinstance(entry, Mapping) and "_type" in entry for entry in space.values())


def read(described: Mapping[str, Any]) -> TranslatedSpace:
    """The parameters of a search space.

    A choice among nested spaces becomes a choice of their `_name`; what is nested in one is called
    `outer.name.inner` and is active under it.

    Raises:
        SearchSpaceError: A parameter cannot be read; the message has its path.
    """
    builder = SpaceBuilder(TOOL)
    space, path = _inside(described)
    _read_group(builder, space, path, "", None)
    return builder.build()


def _inside(described: Mapping[Any, Any]) -> tuple[Mapping[Any, Any], str]:
    for place in _PLACES:
        inner = described.get(place)
        if isinstance(inner, Mapping) and "_type" not in inner:
            return inner, f"{place}."
    return described, ""


def _read_group(
    builder: SpaceBuilder, group: Any, path: str, prefix: str, when: Condition | None
) -> None:
    for name, entry in expect_mapping(group).items():
        with builder.at(f"{path}{name}"):
            fields = expect_mapping(entry)
            if fields.keys() != {"_type", "_value"}:
                raise SearchSpaceError(f"expected _type and _value, got {sorted(fields)}")
            with builder.at(f"{path}{name}._type"):
                kind = expect_one_of(fields["_type"], [*_NUMBERS, "choice"])
            values = expect_list(fields["_value"])
            if kind == "choice":
                _read_choice(builder, f"{path}{name}", prefix + name, values, when)
            else:
                builder.add(prefix + name, _parameter(kind, values, builder.note, when))


def _read_choice(
    builder: SpaceBuilder, path: str, name: str, values: list[Any], when: Condition | None
) -> None:
    if not any(isinstance(value, Mapping) and "_name" in value for value in values):
        builder.add_choices(name, values, when=when)
        return
    nested: dict[str, Mapping[str, Any]] = {}
    for value in values:
        if isinstance(value, Mapping) and isinstance(value.get("_name"), str):
            nested[value["_name"]] = {key: v for key, v in value.items() if key != "_name"}
        elif isinstance(value, str):
            nested[value] = {}
        else:
            raise SearchSpaceError(f"a nested choice needs a _name, got {value!r}")
    if len(nested) < len(values):
        raise SearchSpaceError("a _name is given twice")
    builder.add(name, Categorical(list(nested), when=when))
    for option, group in nested.items():
        _read_group(builder, group, f"{path}.{option}.", f"{name}.{option}.", {name: [option]})


def _parameter(kind: str, values: list[Any], note: Note, when: Condition | None) -> Parameter:
    fields = _NUMBERS[kind]
    if kind == "randint" and len(values) == 1:
        values = [0, *values]  # of older versions
    if len(values) != len(fields):
        raise SearchSpaceError(f"{kind} takes {list(fields)}, got {values}")
    if kind == "randint":  # the upper bound is not drawn
        return interval(values[0], expect_number(values[1]) - 1, whole=True, when=when)
    step = values[2] if kind.startswith("q") else None
    log = "log" in kind
    if kind.endswith("normal"):
        return bell(values[0], values[1], note=note, log=log, step=step, when=when)
    if step is not None:
        return _clipped_multiples(values[0], values[1], step, log, note, when)
    return interval(values[0], values[1], log=log, when=when)


def _clipped_multiples(
    low: Any, high: Any, step: Any, log: bool, note: Note, when: Condition | None
) -> Parameter:
    """Multiples of a step, and the bounds that rounding beyond them is clipped to."""
    grid = multiples(low, high, step, log=log, note=lambda _: None, when=when)
    if is_multiple(low, step) and is_multiple(high, step):
        return multiples(low, high, step, log=log, note=note, when=when)
    if grid.num_levels is None or grid.num_levels > _LISTED:
        return multiples(low, high, step, log=log, note=note, when=when)
    ends = [
        bound
        for bound, beyond in (
            (low, round(low / step) < low / step),
            (high, round(high / step) > high / step),
        )
        if beyond and not is_multiple(bound, step)
    ]
    return Ordinal(sorted([*grid.grid(), *ends]), when=when)
