"""Population methods: searches that own training runs, and change hyperparameters in training.

`create(name)` makes one, `names()` lists them, `describe(name)` says what one is.
"""

from __future__ import annotations

from optformer.data.systems.populations.base import PopulationResult, PopulationRun, Trainable
from optformer.data.systems.populations.registry import create, describe, names

__all__ = ["PopulationResult", "PopulationRun", "Trainable", "create", "describe", "names"]
