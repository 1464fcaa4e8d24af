"""Sweeps of Weights & Biases.

Source: the reference of sweep configurations, docs.wandb.ai.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.parameters import Parameter
from optformer.data.studies.space_formats.ranges import (
    bell,
    interval,
    rounded_multiples,
    spread,
)
from optformer.data.studies.space_formats.translated import (
    Note,
    SpaceBuilder,
    TranslatedSpace,
    expect_list,
    expect_mapping,
    expect_number,
    expect_one_of,
)

TOOL = "W&B sweep"

_FIELDS = {
    "uniform": ("min", "max"),
    "int_uniform": ("min", "max"),
    "q_uniform": ("min", "max", "q"),
    "log_uniform": ("min", "max"),
    "log_uniform_values": ("min", "max"),
    "q_log_uniform": ("min", "max", "q"),
    "q_log_uniform_values": ("min", "max", "q"),
    "inv_log_uniform": ("min", "max"),
    "inv_log_uniform_values": ("min", "max"),
    "normal": ("mu", "sigma"),
    "q_normal": ("mu", "sigma", "q"),
    "log_normal": ("mu", "sigma"),
    "q_log_normal": ("mu", "sigma", "q"),
    "beta": ("a", "b"),
    "q_beta": ("a", "b", "q"),
}
_DEFAULTS = {"mu": 0.0, "sigma": 1.0, "q": 1, "a": 1.0, "b": 1.0}
_CHOICES = ("categorical", "categorical_w_probabilities", "constant")


def matches(described: Mapping[Any, Any]) -> bool:
    """Whether a mapping looks like a sweep: parameters, each a mapping, and no type of their own.

    A space of ours may have a parameter called `parameters`; it has a type.
    """
    parameters = described.get("parameters")
    return isinstance(parameters, Mapping) and not isinstance(parameters.get("type"), str)


def read(described: Mapping[str, Any]) -> TranslatedSpace:
    """The parameters of a sweep; nested ones are called `outer.inner`.

    Raises:
        SearchSpaceError: A parameter cannot be read; the message has its path.
    """
    builder = SpaceBuilder(TOOL)
    with builder.at("parameters"):
        _read_group(builder, described["parameters"], "parameters", "")
    return builder.build()


def _read_group(builder: SpaceBuilder, group: Any, path: str, prefix: str) -> None:
    for name, entry in expect_mapping(group).items():
        here = f"{path}.{name}"
        with builder.at(here):
            fields = expect_mapping(entry)
            if "parameters" in fields:
                with builder.at(f"{here}.parameters"):
                    _read_group(
                        builder, fields["parameters"], f"{here}.parameters", f"{prefix}{name}."
                    )
            elif "value" in fields or "values" in fields:
                _add_choices(builder, prefix + name, fields)
            else:
                kind = _kind(builder, here, fields)
                builder.add(prefix + name, _parameter(kind, _given(kind, fields), builder.note))


def _add_choices(builder: SpaceBuilder, name: str, fields: Mapping[str, Any]) -> None:
    known = {"value"} if "value" in fields else {"values", "probabilities"}
    _refuse_others(fields, {*known, "distribution"})
    kind = fields.get("distribution", "categorical")
    if kind not in _CHOICES:
        raise SearchSpaceError(f"a distribution {kind!r} has no {min(known & fields.keys())!r}")
    if fields.get("probabilities") is not None:
        builder.note("the probabilities of the choices are left out")
    builder.add_choices(
        name, [fields["value"]] if "value" in fields else expect_list(fields["values"])
    )


def _kind(builder: SpaceBuilder, path: str, fields: Mapping[str, Any]) -> str:
    """The distribution of a range, which W&B reads from the bounds where it is not given."""
    if "distribution" in fields:
        with builder.at(f"{path}.distribution"):
            return expect_one_of(fields["distribution"], _FIELDS)
    if "min" not in fields or "max" not in fields:
        raise SearchSpaceError(
            "expected value, values, parameters, a distribution, or min and max; "
            f"got {sorted(fields)}"
        )
    whole = all(
        isinstance(fields[bound], int) and not isinstance(fields[bound], bool)
        for bound in ("min", "max")
    )
    return "int_uniform" if whole else "uniform"


def _given(kind: str, fields: Mapping[str, Any]) -> list[float]:
    """The numbers of a distribution in the order of its fields."""
    _refuse_others(fields, {*_FIELDS[kind], "distribution"})
    given = {**_DEFAULTS, **fields}
    missing = [field for field in _FIELDS[kind] if field not in given]
    if missing:
        raise SearchSpaceError(f"{kind} needs {missing[0]!r}")
    return [expect_number(given[field]) for field in _FIELDS[kind]]


def _parameter(kind: str, numbers: list[float], note: Note) -> Parameter:
    from scipy import stats

    one, other, *rest = numbers
    step = rest[0] if rest else None
    if kind in ("log_uniform", "q_log_uniform"):  # the bounds are exponents of e
        one, other = _exp(one), _exp(other)
    elif kind == "inv_log_uniform":
        one, other = _exp(-other), _exp(-one)
    if kind in ("normal", "q_normal", "log_normal", "q_log_normal"):
        return bell(one, other, note=note, log=kind.endswith("log_normal"), step=step)
    if kind in ("beta", "q_beta"):
        if one <= 0 or other <= 0:
            raise SearchSpaceError(f"a and b must be above 0, got a={one} and b={other}")
        return spread(
            stats.beta(float(one), float(other)), f"beta({one:g}, {other:g})", note=note, step=step
        )
    log = "log" in kind
    if step is not None:
        return rounded_multiples(one, other, step, note=note, log=log)
    return interval(one, other, log=log, whole=kind == "int_uniform")


def _refuse_others(fields: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(fields.keys() - known)
    if unknown:
        raise SearchSpaceError(f"unknown field {unknown[0]!r}; expected some of {sorted(known)}")


def _exp(exponent: float) -> float:
    try:
        return math.exp(exponent)
    except OverflowError:
        raise SearchSpaceError(
            f"the bounds of log_uniform are exponents of e, and exp({exponent:g}) is too large; "
            "log_uniform_values takes the values themselves"
        ) from None
