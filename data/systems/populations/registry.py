"""Population methods by name."""

from __future__ import annotations

from collections.abc import Callable

from optformer.data.registry import Registry
from optformer.data.systems.populations.base import PopulationRun
from optformer.data.systems.populations.fixed import FixedValues
from optformer.data.systems.populations.partitioned import PartitionedPopulations
from optformer.data.systems.populations.pbt import PopulationBasedTraining
from optformer.data.systems.populations.progressive import ProgressiveLearning
from optformer.data.systems.populations.sessions import AsynchronousSessions

POPULATIONS: Registry[Callable[[], PopulationRun]] = Registry("population method")
"""Every population method; `POPULATIONS[name]()` makes one with its default settings."""

POPULATIONS.register("asynchronous-sessions", AsynchronousSessions)
POPULATIONS.register("fixed-values", FixedValues)
POPULATIONS.register("partitioned-populations", PartitionedPopulations)
POPULATIONS.register("population-based-training", PopulationBasedTraining)
POPULATIONS.register("progressive-learning", ProgressiveLearning)
