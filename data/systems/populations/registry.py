"""Population methods by name."""

from __future__ import annotations

from collections.abc import Callable

from optformer.data.studies.errors import ConfigError
from optformer.data.systems.populations.base import PopulationRun
from optformer.data.systems.populations.fixed import FixedValues
from optformer.data.systems.populations.partitioned import PartitionedPopulations
from optformer.data.systems.populations.pbt import PopulationBasedTraining
from optformer.data.systems.populations.progressive import ProgressiveLearning
from optformer.data.systems.populations.sessions import AsynchronousSessions

_METHODS: dict[str, Callable[[], PopulationRun]] = {
    "asynchronous-sessions": AsynchronousSessions,
    "fixed-values": FixedValues,
    "partitioned-populations": PartitionedPopulations,
    "population-based-training": PopulationBasedTraining,
    "progressive-learning": ProgressiveLearning,
}


def names() -> list[str]:
    """Names of all population methods, sorted."""
    return sorted(_METHODS)


def create(name: str) -> PopulationRun:
    """Make the population method of that name with its default settings.

    Raises:
        ConfigError: No method has that name; the message lists those that exist.
    """
    return _known(name)()


def describe(name: str) -> str:
    """What a population method is, in a line.

    Raises:
        ConfigError: No method has that name; the message lists those that exist.
    """
    return (_known(name).__doc__ or "").partition("\n")[0]


def _known(name: str) -> Callable[[], PopulationRun]:
    if name not in _METHODS:
        raise ConfigError(f"unknown population method {name!r}; known are {names()}")
    return _METHODS[name]
