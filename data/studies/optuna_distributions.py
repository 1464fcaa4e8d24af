"""Translate search spaces to and from Optuna's distributions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
            parameters[name] = from_distribution(distribution)
        except SearchSpaceError as error:
            raise SearchSpaceError(f"parameter {name!r}: {error}") from None
    return SearchSpace(parameters)


def union_of_distributions(
    trials: Iterable[Mapping[str, BaseDistribution]],
) -> dict[str, BaseDistribution]:
    """One distribution a parameter that holds the values of all trials.

    Optuna lets a numeric range differ from trial to trial: the union spans them all, and keeps the
    step when they agree on it.

    Args:
        trials: The distributions of each trial by parameter, in order.

    Raises:
        SearchSpaceError: A parameter changes its kind or choices between trials.
    """
    union: dict[str, BaseDistribution] = {}
    for distributions in trials:
        for name, new in distributions.items():
            old = union.get(name, new)
            union[name] = new if old == new else _widen(name, old, new)
    return union


def to_numeric_distribution(parameter: Float | Int) -> FloatDistribution | IntDistribution:
    """A number as an Optuna distribution that ends at the last legal value."""
    from optuna.distributions import FloatDistribution, IntDistribution

    # Optuna wants a bound on the step grid, and from_unit gives the last value there is.
    if isinstance(parameter, Float):
        top = parameter.from_unit(1.0)
        if parameter.step is not None:  # Optuna divides decimals: 1.1, not 1.0999999999999999
            top = float(f"{top:.15g}")
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


def from_distribution(distribution: BaseDistribution) -> Parameter:
    """The parameter of one distribution; a float or int of a single value is an `Ordinal` of it.

    Raises:
        SearchSpaceError: It is of a kind unknown here, or holds what no parameter can.
    """
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


def _widen(name: str, old: BaseDistribution, new: BaseDistribution) -> BaseDistribution:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(old, FloatDistribution) and isinstance(new, FloatDistribution):
        low, high = min(old.low, new.low), max(old.high, new.high)
        grid = old.step == new.step and old.low == new.low
        return FloatDistribution(
            low, high, log=old.log and new.log, step=new.step if grid else None
        )
    if isinstance(old, IntDistribution) and isinstance(new, IntDistribution):
        low, high = min(old.low, new.low), max(old.high, new.high)
        grid = old.step == new.step and old.low == new.low
        return IntDistribution(low, high, log=old.log and new.log, step=new.step if grid else 1)
    if isinstance(old, CategoricalDistribution) and isinstance(new, CategoricalDistribution):
        more = tuple(choice for choice in new.choices if choice not in old.choices)
        return CategoricalDistribution(old.choices + more)
    raise SearchSpaceError(f"parameter {name!r} is {old} in one trial and {new} in another")
