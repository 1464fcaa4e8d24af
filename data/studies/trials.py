"""Trials: one point of a search space and what became of it."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NoReturn, Protocol, TypeVar

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


class TrialReporter(Protocol):
    """What a running trial tells its study, and asks it."""

    def report(self, trial: Trial, value: float | Mapping[str, float], step: int) -> None:
        """Store what was measured at a step."""

    def should_prune(self, trial: Trial) -> bool:
        """Whether a trial is to stop early."""

    def was_told_to_stop(self, trial: Trial) -> bool:
        """Whether `should_prune` said so since the trial's last report."""

    def set_user_attr(self, trial: Trial, key: str, value: Any) -> None:
        """Store something else about a trial."""


@dataclass(frozen=True)
class Trial:
    """One point of a search space and its outcome.

    `trial["lr"]` is a parameter's value, `"lr" in trial` says whether the parameter is active.

    Attributes:
        number: Position in its study, from 0.
        params: Active parameters and their values, in the space's order.
        status: What became of it.
        value: The metric in the user's units and sign; set when completed or stopped early.
        reason: Why it failed, when it failed.
        metrics: Other measured metrics, stored and not searched on.
        study: Name of the study it belongs to.
        explanation: Why it was suggested, when the model suggested it.
        intermediate_values: What it reported, by step.
        user_attrs: What else is stored about it, its metrics among them.
        datetime_start: When it began, in local time; None before that, or when it is not known.
        datetime_complete: When it ended, in local time.
        reporter: Its way to its study while it is pending.

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
    intermediate_values: Mapping[int, float] = field(
        default_factory=dict, compare=False, repr=False
    )
    user_attrs: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    datetime_start: datetime | None = field(default=None, compare=False, repr=False)
    datetime_complete: datetime | None = field(default=None, compare=False, repr=False)
    reporter: TrialReporter | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if (self.value is not None) != self.has_value:
            raise TrialError(f"a {self.status.value} trial cannot have value={self.value!r}")
        if self.value is not None and not math.isfinite(self.value):
            raise MetricError(f"a trial's value must be finite, got {self.value!r}")
        if self.reason is not None and self.status is not TrialStatus.FAILED:
            raise TrialError(f"a {self.status.value} trial cannot have reason={self.reason!r}")
        # Read-only copies: nothing that a caller does later may rewrite history.
        for name in ("params", "metrics", "intermediate_values", "user_attrs"):
            object.__setattr__(self, name, ReadOnly(getattr(self, name)))

    def __getitem__(self, parameter: str) -> Value:
        if parameter not in self.params:
            raise TrialError(
                f"trial {self.number} has no parameter {parameter!r}; it has {list(self.params)}"
            )
        return self.params[parameter]

    def __contains__(self, parameter: object) -> bool:
        return parameter in self.params

    @property
    def has_value(self) -> bool:
        """Whether the metric was measured (completed, or stopped early with its last value)."""
        return self.status in (TrialStatus.COMPLETED, TrialStatus.STOPPED)

    @property
    def interrupted(self) -> bool:
        """Whether it was cut short from outside, so that its point still counts as untried."""
        return self.status is TrialStatus.FAILED and self.reason == INTERRUPTED

    @property
    def duration(self) -> timedelta | None:
        """How long it took, None when that is not known."""
        if self.datetime_start is None or self.datetime_complete is None:
            return None
        return self.datetime_complete - self.datetime_start

    def report(self, value: float | Mapping[str, float], step: int) -> None:
        """Tell the study what the metric is at a step of this trial, such as an epoch.

        The steps may come in any order. A step that was reported before keeps its value, with a
        warning when the new one differs. NaN and infinity are stored as they are.

        Args:
            value: The metric in its own units and sign, as `Study.observe` takes it.
            step: A whole number of at least 0; the same step of all trials is compared.

        Raises:
            TrialError: The step is no such number, or the trial is not pending, or has no study.
            MetricError: The value is not a number, or the metric is missing.
            StorageError: It could not be stored; the call can be repeated.
        """
        self._running().report(self, value, step)

    def should_prune(self) -> bool:
        """Whether the study's pruner would stop this trial at the latest step that it reported.

        Always False without a pruner. A trial that is told to stop ends with
        `raise optformer.TrialPruned`.

        Raises:
            TrialError: The trial is not pending, or has no study.
            StorageError: The storage cannot be read.
        """
        return self._running().should_prune(self)

    def set_user_attr(self, key: str, value: Any) -> None:
        """Store something else about this trial, which Optuna's tools show.

        Args:
            key: Its name.
            value: Anything that JSON can hold; a number counts as one of the trial's metrics.

        Raises:
            TrialError: JSON cannot hold it, or the trial is not pending, or has no study.
            StorageError: It could not be stored; the call can be repeated.
        """
        self._running().set_user_attr(self, key, value)

    def _running(self) -> TrialReporter:
        if self.status is not TrialStatus.PENDING:
            raise TrialError(f"trial {self.number} is {self.status.value}: it has ended")
        if self.reporter is None:
            raise TrialError(
                f"trial {self.number} has no study to report to; "
                "take it from study.suggest() or study.trials"
            )
        return self.reporter

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
