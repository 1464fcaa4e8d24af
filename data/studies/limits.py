"""Limits on metrics: what a trial must keep to count."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from optformer.data.studies.errors import MetricError, StudyError

Relation = Literal["<=", ">="]

_WRITTEN = re.compile(r"\s*([<>]=)\s*(\S+)\s*")
_EXPECTED = "a limit is written '<= number' or '>= number', such as '<= 8'"


@dataclass(frozen=True)
class Limit:
    """A bound that the metric of a trial must not pass; the bound itself is allowed.

    Attributes:
        relation: "<=" or ">=".
        bound: A finite number in the metric's units.

    Raises:
        MetricError: The relation is another one, or the bound is not a finite number.
    """

    relation: Relation
    bound: float

    def __post_init__(self) -> None:
        if self.relation not in get_args(Relation):
            raise MetricError(f"{_EXPECTED}; got the relation {self.relation!r}")
        bound: object = self.bound
        number = isinstance(bound, int | float) and not isinstance(bound, bool)
        if not number or not math.isfinite(self.bound):
            raise MetricError(f"{_EXPECTED}; got the bound {bound!r}")
        object.__setattr__(self, "bound", float(self.bound))

    def __str__(self) -> str:
        return f"{self.relation} {self.bound!r}"

    @classmethod
    def parse(cls, text: str | Limit) -> Limit:
        """Read a limit such as "<= 8"; a `Limit` passes.

        Raises:
            MetricError: The text is no limit.
        """
        if isinstance(text, Limit):
            return text
        written = _WRITTEN.fullmatch(text) if isinstance(text, str) else None
        if written is None:
            raise MetricError(f"{_EXPECTED}; got {text!r}")
        relation, number = written.groups()
        try:
            return cls("<=" if relation == "<=" else ">=", float(number))
        except ValueError as error:
            if isinstance(error, MetricError):
                raise
            raise MetricError(f"{_EXPECTED}; got {text!r}") from None

    @property
    def sign(self) -> float:
        """1.0 when greater values keep the limit, -1.0 when smaller ones do."""
        return 1.0 if self.relation == ">=" else -1.0

    def violation(self, value: float) -> float:
        """How far a value is beyond the bound, in the metric's units; at most 0 if it is kept."""
        return self.sign * (self.bound - value)


def read_limits(limits: Mapping[str, str] | Mapping[str, Limit]) -> dict[str, Limit]:
    """Limits by the name of the metric, from texts such as "<= 8".

    Raises:
        StudyError: It is no mapping.
        MetricError: One is no limit; the message names the metric.
    """
    if not isinstance(limits, Mapping):
        raise StudyError(f"limits must be a mapping such as {{'memory': '<= 8'}}, got {limits!r}")
    read = {}
    for name, limit in limits.items():
        try:
            read[name] = Limit.parse(limit)
        except MetricError as error:
            raise MetricError(f"limit of {name!r}: {error}") from None
    return read
