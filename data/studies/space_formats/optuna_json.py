"""Optuna's distributions as JSON: `distribution_to_json`, its short form, those of a storage."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import Any

from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.optuna_distributions import from_distribution
from optformer.data.studies.parameters import Parameter
from optformer.data.studies.space_formats.translated import (
    SpaceBuilder,
    TranslatedSpace,
    expect_mapping,
)

TOOL = "Optuna"


def matches(described: Mapping[Any, Any]) -> bool:
    """Whether a mapping holds distributions, as objects or as texts of JSON."""
    return any(
        isinstance(entry, Mapping)
        and isinstance(entry.get("name"), str)
        and entry["name"].endswith("Distribution")
        for entry in map(_parsed, described.values())
    )


def read(described: Mapping[str, Any]) -> TranslatedSpace:
    """The parameters of distributions.

    Raises:
        SearchSpaceError: A distribution cannot be read; the message has its path.
    """
    builder = SpaceBuilder(TOOL)
    for name, entry in expect_mapping(described).items():
        with builder.at(name):
            builder.add(name, parameter_of(_parsed(entry)))
    return builder.build()


def parameter_of(entry: Any) -> Parameter:
    """The parameter of a distribution as a mapping.

    Raises:
        SearchSpaceError: Optuna does not know it, or we do not.
    """
    from optuna.distributions import json_to_distribution

    text = json.dumps(expect_mapping(entry))
    try:
        with warnings.catch_warnings():  # of the names that older versions wrote
            warnings.simplefilter("ignore")
            distribution = json_to_distribution(text)
            distribution.single()  # fails for bounds that are no numbers
    except KeyError as error:
        raise SearchSpaceError(f"no distribution of Optuna: {error.args[0]!r} is missing") from None
    except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
        why = str(error) or type(error).__name__
        raise SearchSpaceError(f"no distribution of Optuna: {why}") from None
    return from_distribution(distribution)


def _parsed(entry: Any) -> Any:
    if not isinstance(entry, str):
        return entry
    try:
        return json.loads(entry)
    except ValueError:
        return entry
