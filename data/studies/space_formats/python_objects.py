"""Spaces in Python: a mapping of names to parameters, distributions of any library, and lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optformer.data.runtime.text import shorten
from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.optuna_distributions import from_distribution
from optformer.data.studies.parameters import Parameter
from optformer.data.studies.space_formats import scipy_distributions
from optformer.data.studies.space_formats.translated import (
    SpaceBuilder,
    TranslatedSpace,
    expect_mapping,
)

TOOL = "Python"


def matches(described: Mapping[Any, Any]) -> bool:
    """Whether a mapping holds objects and lists, and no descriptions of parameters."""
    return bool(described) and not any(isinstance(v, Mapping) for v in described.values())


def read(described: Mapping[str, Any]) -> TranslatedSpace:
    """The parameters of a mapping.

    Raises:
        SearchSpaceError: A value is neither a parameter, a distribution nor a list; the message
            names it.
    """
    builder = SpaceBuilder(TOOL)
    for name, value in expect_mapping(described).items():
        with builder.at(name):
            add(builder, name, value)
    return builder.build()


def add(builder: SpaceBuilder, name: str, value: Any) -> None:
    """Add what one value of a mapping describes.

    Raises:
        SearchSpaceError: It is neither a parameter, a distribution nor a list.
    """
    if isinstance(value, Parameter):
        builder.add(name, value)
    elif _is_of_optuna(value):
        builder.add(name, from_distribution(value))
    elif scipy_distributions.is_frozen(value):
        builder.add(name, scipy_distributions.parameter_of(value, builder.note))
    elif _is_list(value):
        builder.add_choices(name, list(value))
    else:
        raise SearchSpaceError(
            "expected a list of values, a distribution of scipy.stats or Optuna, or a Float, Int, "
            f"Categorical or Ordinal, got {shorten(repr(value), 80)}"
        )


def _is_of_optuna(value: Any) -> bool:
    return any(
        base.__module__ == "optuna.distributions" and base.__name__ == "BaseDistribution"
        for base in type(value).__mro__
    )


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple | range) or getattr(value, "ndim", None) == 1
