"""Search methods by name."""

from __future__ import annotations

from optformer.data.methods.base import MethodFactory, SearchMethod
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.study_config import StudyConfig

_FACTORIES: dict[str, MethodFactory] = {}


def register(name: str, factory: MethodFactory) -> None:
    """Make a search method known by name.

    Args:
        name: Lower-case words joined by hyphens, not registered yet.
        factory: Makes the method for one study.

    Raises:
        ConfigError: The name is taken.
    """
    if name in _FACTORIES:
        raise ConfigError(f"search method {name!r} is registered already; pick another name")
    _FACTORIES[name] = factory


def create(name: str, config: StudyConfig) -> SearchMethod:
    """Make the search method of that name for one study.

    Raises:
        ConfigError: No method has that name; the message lists those that exist.
    """
    if name not in _FACTORIES:
        raise ConfigError(f"unknown search method {name!r}; known are {names()}")
    return _FACTORIES[name](config)


def names() -> list[str]:
    """Names of all registered search methods, sorted."""
    return sorted(_FACTORIES)
