"""Search methods by name.

A name stands for a method with its settings. A variant is called after its method and what differs,
joined by a hyphen: `gp-3` is `gp` after 3 random trials.
"""

from __future__ import annotations

from optformer.data.methods.base import MethodFactory, SearchMethod
from optformer.data.registry import Registry
from optformer.data.studies.study_config import StudyConfig

RENAMED = {"optuna-gp": "gp", "optuna-random": "random", "optuna-tpe": "tpe"}
"""Names in older files and commands, to those of today."""

METHODS: Registry[MethodFactory] = Registry("search method", RENAMED)
"""Every search method; `register` adds another."""

_ALGORITHMS = {"gp": "optuna gp", "tpe": "optuna tpe"}


def create(name: str, config: StudyConfig) -> SearchMethod:
    """Make the search method of that name for one study.

    Raises:
        ConfigError: No method has that name; the message lists those that exist.
        MissingExtraError: It needs a package that is not installed.
    """
    return METHODS[name](config)


def algorithm_of(name: str) -> str:
    """How a model is told that a study was searched by the method of that name.

    These are words of a language that models have learned: they outlive the names of methods.
    """
    return _ALGORITHMS.get(RENAMED.get(name, name), name.replace("-", " "))
