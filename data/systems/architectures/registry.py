"""Architecture search systems by name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from optformer.data.studies.errors import ConfigError

if TYPE_CHECKING:
    from optformer.data.systems.architectures.search import System


class _Entry(NamedTuple):
    maker: str  # module and function, loaded when it is used: the modules need torch
    line: str


_SYSTEMS = {
    "compound-scaling": _Entry(
        "compound_scaling:compound_scaling",
        "A grid of depth, width and resolution coefficients under a cost, scaled by one number.",
    ),
    "connection-evolution": _Entry(
        "connections:connections",
        "Graphs of blocks; children keep connections by their learned weight.",
    ),
    "factorized-hierarchy": _Entry(
        "factorized:factorized",
        "Blocks with choices of their own; a recurrent controller rewarded for accuracy and speed.",
    ),
    "regularized-evolution": _Entry(
        "cells:cells",
        "Cells of freely combined operations; tournaments for parents, death by age.",
    ),
    "scale-permuted": _Entry(
        "scale_permuted:scale_permuted",
        "Blocks in permuted scales, then connections, then adjustments, at equal operations.",
    ),
}


def names() -> list[str]:
    """Names of all systems, sorted."""
    return sorted(_SYSTEMS)


def describe(name: str) -> str:
    """What a system is, in a line.

    Raises:
        ConfigError: No system has that name; the message lists those that exist.
    """
    return _entry(name).line


def create(name: str) -> System:
    """Make a system with its defaults; needs torch and scikit-learn.

    Raises:
        ConfigError: No system has that name; the message lists those that exist.
    """
    module, _, function = _entry(name).maker.partition(":")
    system: System = getattr(
        import_module(f"optformer.data.systems.architectures.{module}"), function
    )()
    return system


def _entry(name: str) -> _Entry:
    if name not in _SYSTEMS:
        raise ConfigError(f"unknown architecture search system {name!r}; known are {names()}")
    return _SYSTEMS[name]
