"""Population methods: searches that own training runs, and change hyperparameters in training.

`POPULATIONS.names()` lists them and `POPULATIONS[name]()` makes one.
"""

from __future__ import annotations

from optformer.data.systems.populations.base import PopulationResult, PopulationRun, Trainable
from optformer.data.systems.populations.registry import POPULATIONS

__all__ = ["POPULATIONS", "PopulationResult", "PopulationRun", "Trainable"]
