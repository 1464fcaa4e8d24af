"""The conditions of a space that is known by its points alone, as that of a define-by-run search.

An objective that asks for `momentum` only `if optimizer == "sgd"` leaves points behind in which
`momentum` is absent wherever `optimizer` has another value. That is read back here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from optformer.data.studies.parameters import Categorical, Int, Ordinal, Parameter, Value
from optformer.data.studies.spaces import SearchSpace

Point = Mapping[str, Value]

_MAX_LEVELS = 64  # a number with more is not taken for a parent


def infer_conditions(
    space: SearchSpace, whole: Iterable[Point], cut: Iterable[Point] = ()
) -> SearchSpace:
    """The space with the conditions that its points follow.

    A parameter that is absent from some points gets the tightest conjunction of parents' values
    that holds where it is present (Mitchell 1982, "Generalization as search", find-S), without the
    parents that exclude nothing, if it holds nowhere else. Otherwise it stays unconditional.
    Parents are choices, and whole numbers of at most 64 levels, whose unseen values are taken for
    the nearest seen one. Unseen choices are left out: whoever meets one finds out what it asks for.

    Args:
        space: A space without conditions.
        whole: Legal points that hold all that the search asked for. Other names are ignored.
        cut: Points that may lack parameters for other reasons, such as a failure half-way: what
            they hold counts, what they lack does not.
    """
    whole = list(whole)
    points = [*whole, *cut]
    presence = {name: [point for point in points if name in point] for name in space}
    # A parent is present wherever its child is, so no later one can be the parent of an earlier.
    order = sorted(space, key=lambda name: -len(presence[name]))
    inferred: dict[str, Parameter] = dict(space)
    for index, name in enumerate(order):
        absence = [point for point in whole if name not in point]
        if absence and presence[name]:
            parents = {parent: space[parent] for parent in order[:index]}
            when = _conjunction(parents, presence[name], absence)
            if when is not None:
                inferred[name] = replace(space[name], when=when)
    return SearchSpace({name: inferred[name] for name in space})


def _conjunction(
    parents: Mapping[str, Parameter], presence: Sequence[Point], absence: Sequence[Point]
) -> dict[str, list[Value]] | None:
    """Values of the fewest parents that hold in all of `presence` and nowhere in `absence`."""
    seen = {
        name: {point[name] for point in presence}
        for name, parameter in parents.items()
        if _may_be_parent(parameter) and all(name in point for point in presence)
    }
    chosen: list[str] = []
    left = absence
    while left:
        kept = {
            name: [point for point in left if name in point and point[name] in values]
            for name, values in seen.items()
        }
        best = min(kept, key=lambda name: (len(kept[name]), *_rarity(parents[name])), default=None)
        if best is None or len(kept[best]) == len(left):
            return None
        chosen.append(best)
        left = kept[best]
    when = {}
    for name in chosen:
        others = {point[name] for point in absence if name in point} - seen[name]
        when[name] = _allowed(parents[name], seen[name], others)
    return when


def _may_be_parent(parameter: Parameter) -> bool:
    if isinstance(parameter, Int):
        return parameter.num_levels is not None and parameter.num_levels <= _MAX_LEVELS
    return isinstance(parameter, Categorical | Ordinal)


def _rarity(parameter: Parameter) -> tuple[bool, int]:
    """How seldom a parameter is a parent: choices more often than numbers, and few before many."""
    return isinstance(parameter, Int), parameter.num_levels or 0


def _allowed(parameter: Parameter, seen: Collection[Value], others: Iterable[Value]) -> list[Value]:
    """Values of a parent under which its child is active, in their order."""
    if not isinstance(parameter, Int):
        return [value for value in parameter.grid() if value in seen]
    known = [*seen, *others]  # of two as near, the first
    return [
        value
        for value in parameter.grid()
        if min(known, key=lambda other: abs(other - value)) in seen
    ]
