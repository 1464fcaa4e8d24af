"""Frozen distributions of SciPy, as scikit-learn's random search takes them.

Source: `sklearn.model_selection.RandomizedSearchCV`, `scipy.stats`.
"""

from __future__ import annotations

from typing import Any

from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.parameters import Parameter
from optformer.data.studies.space_formats.ranges import interval, spread
from optformer.data.studies.space_formats.translated import Note


def is_frozen(value: Any) -> bool:
    """Whether something is a distribution with its arguments, or any object that draws values."""
    return callable(getattr(value, "rvs", None))


def parameter_of(distribution: Any, note: Note) -> Parameter:
    """The parameter of a distribution.

    `uniform`, `loguniform` and `randint` are read exactly, others as the range of most of their
    draws, with a note.

    Raises:
        SearchSpaceError: It does not say which values it draws.
    """
    family = getattr(distribution, "dist", None)
    name = str(getattr(family, "name", type(distribution).__name__))
    if family is None or not callable(getattr(distribution, "support", None)):
        raise SearchSpaceError(
            f"{name} draws values and does not say which; give a list, a distribution of "
            "scipy.stats with its arguments, or a Float, Int or Categorical"
        )
    bounds = distribution.support()
    if any(getattr(bound, "ndim", 0) for bound in bounds):
        raise SearchSpaceError(f"{name} draws several values at once; give it single arguments")
    low, high = map(float, bounds)
    whole = not hasattr(family, "pdf")  # discrete ones have a mass function
    if name == "uniform":
        return interval(low, high)
    if name == "randint":
        return interval(int(low), int(high), whole=True)
    if name in ("loguniform", "reciprocal") and _location(distribution) == 0:
        return interval(low, high, log=True)
    return spread(distribution, name, note=note, whole=whole)


def _location(distribution: Any) -> float:
    """Where a log-uniform distribution is moved to."""
    arguments, keywords = distribution.args, distribution.kwds
    return float(keywords.get("loc", arguments[2] if len(arguments) > 2 else 0))
