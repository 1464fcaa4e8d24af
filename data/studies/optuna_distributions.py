"""Translate search spaces to and from Optuna's distributions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Parameter
from optformer.data.studies.spaces import SearchSpace

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution


def to_distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """The space as Optuna distributions, one a parameter, in the space's order.

    Optuna knows neither order among choices nor conditions nor descriptions: an `Ordinal` becomes
    categorical, and every parameter stands on its own.

    Raises:
        SearchSpaceError: Choices hold both a truth value and the number equal to it, which Optuna
            takes for one and the same.
    """
    return {name: _to_distribution(name, parameter) for name, parameter in space.items()}


def from_distributions(distributions: Mapping[str, BaseDistribution]) -> SearchSpace:
    """A search space from Optuna distributions, without conditions or descriptions.

    A float or int distribution of a single value becomes an `Ordinal` with that one choice.

    Raises:
        SearchSpaceError: A distribution is of a kind unknown here, or holds what no parameter can;
            the message names the parameter.
    """
    parameters: dict[str, Parameter] = {}
    for name, distribution in distributions.items():
        try:
            parameters[name] = _from_distribution(distribution)
        except SearchSpaceError as error:
            raise SearchSpaceError(f"parameter {name!r}: {error}") from None
    return SearchSpace(parameters)


def to_numeric_distribution(parameter: Float | Int) -> FloatDistribution | IntDistribution:
    """A number as an Optuna distribution that ends at the last legal value."""
    from optuna.distributions import FloatDistribution, IntDistribution

    # Optuna wants a bound on the step grid, and from_unit gives the last value there is.
    if isinstance(parameter, Float):
        top = parameter.from_unit(1.0)
        return FloatDistribution(parameter.low, top, log=parameter.log, step=parameter.step)
    last = parameter.from_unit(1.0)
    return IntDistribution(parameter.low, last, log=parameter.log, step=parameter.step)


def _to_distribution(name: str, parameter: Parameter) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution

    if isinstance(parameter, Float | Int):
        return to_numeric_distribution(parameter)
    if len(set(parameter.choices)) < len(parameter.choices):
        raise SearchSpaceError(
            f"parameter {name!r}: Optuna cannot tell True from 1 or False from 0; "
            f"write the choices {list(parameter.choices)!r} as text"
        )
    return CategoricalDistribution(parameter.choices)


def _from_distribution(distribution: BaseDistribution) -> Parameter:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(distribution, CategoricalDistribution):
        return Categorical(distribution.choices)
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        raise SearchSpaceError(
            "expected a FloatDistribution, IntDistribution or CategoricalDistribution, "
            f"got {type(distribution).__name__}"
        )
    if distribution.single():
        return Ordinal([distribution.low])
    if isinstance(distribution, FloatDistribution):
        return Float(
            distribution.low, distribution.high, log=distribution.log, step=distribution.step
        )
    return Int(distribution.low, distribution.high, log=distribution.log, step=distribution.step)
