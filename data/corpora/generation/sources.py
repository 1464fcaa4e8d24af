"""The objectives that histories are generated on, by name, and where their data come from."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from optformer.data.objectives.base import Objective
from optformer.data.objectives.sklearn_datasets import dataset
from optformer.data.objectives.sklearn_families import (
    PAIRS,
    find_pair,
    generated_names,
    sklearn_objective,
)
from optformer.data.objectives.sklearn_generated import is_generated
from optformer.data.objectives.sklearn_tasks import dev_tasks
from optformer.data.studies.errors import ConfigError

_BUNDLED = "bundled with scikit-learn (BSD-3-Clause), whose description names no other licence"
_GENERATED = "generated from a fixed seed; Apache-2.0, as this package"
_ORIGINS = {
    "iris": "Fisher's paper",
    "wine": "a copy of UCI ML Wine recognition",
    "breast-cancer": "a copy of UCI ML Breast Cancer Wisconsin (Diagnostic)",
    "digits": "a copy of the test set of UCI ML hand-written digits",
    "diabetes": "Efron, Hastie, Johnstone, Tibshirani, Least Angle Regression, 2004",
}


def load_objective(name: str) -> Objective:
    """The objective of that name.

    Raises:
        ConfigError: There is none; the message lists the known ones.
    """
    if find_pair(name) is not None:
        return sklearn_objective(name)
    reserved = _reserved()
    if name not in reserved:
        raise ConfigError(f"unknown objective {name!r}; known are {sorted([*PAIRS, *reserved])}")
    return reserved[name]


def suite_of(name: str) -> str:
    """The suite of an objective: `sklearn`, `generated`, or `dev` for those that are reserved."""
    pair = find_pair(name)
    if pair is None:
        return "dev"
    return "generated" if is_generated(pair[1]) else "sklearn"


def select_objectives(
    patterns: Sequence[str], *, generated: int, allow_reserved: bool
) -> tuple[list[str], list[str]]:
    """Names that match at least one pattern of the shell's kind (`*`, `?`, `[...]`).

    Args:
        patterns: Names or patterns; a name may be of any generated data set.
        generated: How many generated data sets of each kind patterns are matched against.
        allow_reserved: Take reserved objectives, too.

    Returns:
        The selected names, and the reserved ones that a pattern matched beside others and that were
        left out; both in alphabetical order.

    Raises:
        ConfigError: A pattern matches nothing, or only what is reserved and not allowed.
    """
    reserved = _reserved()
    known = sorted([*PAIRS, *generated_names(generated), *reserved])
    selected: set[str] = set()
    for pattern in patterns:
        if find_pair(pattern) is not None:
            selected.add(pattern)
            continue
        matched = [name for name in known if fnmatchcase(name, pattern)]
        if not matched:
            raise ConfigError(
                f"no objective matches {pattern!r}; known are {sorted([*PAIRS, *reserved])}, and "
                f"on {generated} generated data sets of each kind <family>-<kind>-<seed>"
            )
        if not allow_reserved and all(name in reserved for name in matched):
            raise ConfigError(
                f"{pattern!r} matches only reserved objectives, {matched}: nothing may be trained "
                "on them; choose others, or allow reserved ones (--allow-reserved) and keep what "
                "comes out away from training"
            )
        selected.update(matched)
    left_out = [] if allow_reserved else sorted(selected & reserved.keys())
    return sorted(selected - set(left_out)), left_out


def licence(name: str) -> str:
    """Origin and licence of the data behind an objective."""
    pair = find_pair(name)
    data = name.rpartition("-")[2] if pair is None else pair[1]
    if data in _ORIGINS:
        return f"{data}: {_ORIGINS[data]}, {_BUNDLED}"
    if is_generated(data):
        return f"{data.rpartition('-')[0]}-<seed>: {_GENERATED}"
    if data == "generated" or dataset(data).holdout is not None:
        return f"{data}: {_GENERATED}"
    raise ConfigError(f"the licence of data set {data!r} is not known; add its origin")


def _reserved() -> dict[str, Objective]:
    return {objective.name: objective for objective in dev_tasks()}
