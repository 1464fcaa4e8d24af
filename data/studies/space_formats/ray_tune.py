"""Spaces of Ray Tune: `tune.loguniform` and its kin in a configuration.

Source: `ray.tune.search.sample` of 2.60.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.parameters import Parameter
from optformer.data.studies.space_formats.ranges import bell, interval, multiples
from optformer.data.studies.space_formats.translated import Note, SpaceBuilder, TranslatedSpace

TOOL = "Ray Tune"


def matches(described: Mapping[Any, Any]) -> bool:
    """Whether a mapping holds something of Ray to search, at any depth."""
    return any(_is_searched(value) for _, value in _leaves(described, ""))


def read(described: Mapping[str, Any]) -> TranslatedSpace:
    """The parameters of a configuration; nested ones are called `outer/inner`, as Ray does.

    Only what is searched becomes a parameter. Constants stay in the configuration, where Ray hands
    them to the trial. `grid_search` becomes a choice among its values.

    Raises:
        SearchSpaceError: Something that is searched cannot be read; the message has its path.
    """
    builder = SpaceBuilder(TOOL)
    for path, value in _leaves(described, ""):
        if not _is_searched(value):
            continue
        with builder.at(path):
            if isinstance(value, Mapping):
                builder.note("a grid search is read as a choice among its values")
                builder.add_choices(path, list(value["grid_search"]))
            elif hasattr(value, "categories"):
                builder.add_choices(path, list(value.categories))
            else:
                builder.add(path, _parameter(value, builder.note))
    return builder.build()


def _leaves(described: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in described.items():
        if isinstance(value, Mapping) and value.keys() != {"grid_search"}:
            yield from _leaves(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value


def _is_searched(value: Any) -> bool:
    if isinstance(value, Mapping):
        return True
    # Ray need not be installed to see that something is not of it.
    return any(
        base.__module__ == "ray.tune.search.sample" and base.__name__ == "Domain"
        for base in type(value).__mro__
    )


def _parameter(domain: Any, note: Note) -> Parameter:
    from ray.tune.search.sample import Float, Integer, LogUniform, Normal, Quantized, Uniform

    if not isinstance(domain, Float | Integer):
        raise SearchSpaceError(
            "tune.sample_from draws what a function says, which cannot be read; give a range, or "
            "compute the value inside the trial"
        )
    sampler: Any = domain.sampler or domain.default_sampler_cls()
    step = None
    if isinstance(sampler, Quantized):
        sampler, step = sampler.sampler, sampler.q
    if isinstance(sampler, Normal):
        return bell(sampler.mean, sampler.sd, step=step, note=note)
    if not isinstance(sampler, LogUniform | Uniform):
        raise SearchSpaceError(f"cannot read a range that is drawn by {type(sampler).__name__}")
    log, whole = isinstance(sampler, LogUniform), isinstance(domain, Integer)
    if step is not None and (not whole or step != 1):
        return multiples(domain.lower, domain.upper, step, log=log, whole=whole, note=note)
    # The upper bound of whole numbers is not drawn.
    upper = domain.upper - 1 if whole else domain.upper
    return interval(domain.lower, upper, log=log, whole=whole)
