"""Architecture search systems by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from optformer.data.registry import Registry

if TYPE_CHECKING:
    from optformer.data.systems.architectures.search import System

ARCHITECTURES: Registry[Callable[[], System]] = Registry("architecture search system")
"""Every system; `ARCHITECTURES[name]()` makes one with its defaults, and imports torch."""

for _name, _maker, _line in (
    (
        "compound-scaling",
        "compound_scaling:compound_scaling",
        "A grid of depth, width and resolution coefficients under a cost, scaled by one number.",
    ),
    (
        "connection-evolution",
        "connections:connections",
        "Graphs of blocks; children keep connections by their learned weight.",
    ),
    (
        "factorized-hierarchy",
        "factorized:factorized",
        "Blocks with choices of their own; a recurrent controller rewarded for accuracy and speed.",
    ),
    (
        "regularized-evolution",
        "cells:cells",
        "Cells of freely combined operations; tournaments for parents, death by age.",
    ),
    (
        "scale-permuted",
        "scale_permuted:scale_permuted",
        "Blocks in permuted scales, then connections, then adjustments, at equal operations.",
    ),
):
    ARCHITECTURES.register(_name, f"optformer.data.systems.architectures.{_maker}", _line)
