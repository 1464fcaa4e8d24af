"""Trials: one point of a search space and what became of it."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, TypeVar

from yaml.representer import SafeRepresenter

from optformer.data.studies.errors import MetricError, TrialError
from optformer.data.studies.parameters import Value

INTERRUPTED = "interrupted"
"""Reason of trials that were cut short from outside: they say nothing about their point."""


_Content = TypeVar("_Content")


class ReadOnly(dict[str, _Content]):
    """A dictionary that cannot be changed: what is recorded of a trial.

    `dict(trial.params)` is a copy that can.

    Raises:
        TrialError: Something tries to change it.
    """

    def _refuse(self, *args: object, **kwargs: object) -> NoReturn:
        raise TrialError(
            "what is recorded of a trial cannot be changed; change a copy: "
            "params = dict(trial.params)"
        )

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)


# YAML's safe dumpers write exact dictionaries alone, unless they are told.
SafeRepresenter.add_representer(ReadOnly, SafeRepresenter.represent_dict)


class TrialStatus(enum.Enum):
    """What became of a trial. Append-only: stored studies hold these names."""

    PENDING = "pending"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Trial:
    """One point of a search space and its outcome.

    Attributes:
        number: Position in its study, from 0.
        params: Active parameters and their values, in the space's order.
        status: What became of it.
        value: The metric in the user's units and sign; set when completed or stopped early.
        reason: Why it failed, when it failed.
        metrics: Other measured metrics, stored and not searched on.
        study: Name of the study it belongs to.
        explanation: Why it was suggested, when the model suggested it.

    Raises:
        TrialError: Status, value and reason contradict each other.
        MetricError: The value is not a finite number.
    """

    number: int
    params: Mapping[str, Value]
    status: TrialStatus = TrialStatus.PENDING
    value: float | None = None
    reason: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    study: str = ""
    explanation: Any = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if (self.value is not None) != self.has_value:
            raise TrialError(f"a {self.status.value} trial cannot have value={self.value!r}")
        if self.value is not None and not math.isfinite(self.value):
            raise MetricError(f"a trial's value must be finite, got {self.value!r}")
        if self.reason is not None and self.status is not TrialStatus.FAILED:
            raise TrialError(f"a {self.status.value} trial cannot have reason={self.reason!r}")
        # Read-only copies: nothing that a caller does later may rewrite history.
        object.__setattr__(self, "params", ReadOnly(self.params))
        object.__setattr__(self, "metrics", ReadOnly(self.metrics))

    @property
    def has_value(self) -> bool:
        """Whether the metric was measured (completed, or stopped early with its last value)."""
        return self.status in (TrialStatus.COMPLETED, TrialStatus.STOPPED)

    @property
    def interrupted(self) -> bool:
        """Whether it was cut short from outside, so that its point still counts as untried."""
        return self.status is TrialStatus.FAILED and self.reason == INTERRUPTED

    def finish(
        self,
        value: float,
        *,
        stopped: bool = False,
        metrics: Mapping[str, float] | None = None,
    ) -> Trial:
        """This trial with its value, completed or stopped early."""
        status = TrialStatus.STOPPED if stopped else TrialStatus.COMPLETED
        return replace(
            self, status=status, value=float(value), reason=None, metrics=dict(metrics or {})
        )

    def fail(self, reason: str) -> Trial:
        """This trial as failed."""
        return replace(self, status=TrialStatus.FAILED, value=None, reason=reason)
