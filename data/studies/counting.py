"""How many distinct points a space has, counted along its conditions."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from optformer.data.studies.parameters import Parameter, Value


def count_points(parameters: Mapping[str, Parameter]) -> int | None:
    """The number of distinct points: what is inactive has one value.

    Goes through the parameters and keeps, of all partial points, which children they rule out. So
    no point is ever listed.

    Args:
        parameters: The parameters of a space, parents before children.

    Returns:
        The number; None when a parameter that can be active has no number of levels.
    """
    children: dict[str, list[str]] = defaultdict(list)
    for name, parameter in parameters.items():
        for parent in parameter.when or {}:
            children[parent].append(name)
    partial = Counter({frozenset[str](): 1})  # children ruled out: how many partial points do so
    for name in _order(parameters, children):
        levels, followed = parameters[name].num_levels, children[name]
        outcomes = _outcomes(name, parameters, followed, levels)
        longer: Counter[frozenset[str]] = Counter()
        for ruled_out, count in partial.items():
            if name in ruled_out:
                longer[ruled_out - {name} | set(followed)] += count
            elif levels is None:
                return None
            else:
                for more, times in outcomes.items():
                    longer[ruled_out | more] += count * times
        partial = longer
    return partial.total()


def _outcomes(
    name: str, parameters: Mapping[str, Parameter], children: list[str], levels: int | None
) -> Counter[frozenset[str]]:
    """The sets of children that values of a parameter rule out, with the number of such values."""
    allowed: dict[tuple[bool, Value], set[str]] = defaultdict(set)
    for child in children:
        for value in (parameters[child].when or {})[name]:
            allowed[isinstance(value, bool), value].add(child)
    found = Counter(frozenset(children) - those for those in allowed.values())
    if unnamed := (levels or 0) - len(allowed):
        found[frozenset(children)] += unnamed
    return found


def _order(parameters: Mapping[str, Parameter], children: Mapping[str, list[str]]) -> Iterator[str]:
    """Parents before children, and such that few children are open at a time.

    A child is open from the first of its parents on; the partial points to keep apart are as many
    as there are sets of open children, at most.
    """
    waiting = dict.fromkeys(parameters)
    parents = {name: set(parameter.when or {}) for name, parameter in parameters.items()}
    opened: set[str] = set()
    while waiting:
        best, least = "", math.inf
        for name in waiting:
            if parents[name] & waiting.keys():
                continue
            if (grown := len({*children[name]} - opened) - (name in opened)) < least:
                best, least = name, grown
            if least <= 0:
                break
        opened = (opened | {*children[best]}) - {best}
        del waiting[best]
        yield best
