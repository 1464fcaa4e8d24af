"""What keeps the trials of a study.

A study's history is its only state, so a store has three verbs: append a trial, update one that was
pending, and read all of them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from optformer.data.studies.errors import OptFormerError, StorageError
from optformer.data.studies.parameters import Value, is_whole
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

FORMAT_VERSION = 1
"""Version of `StudyRecord.to_dict`; a reader refuses versions it does not know."""


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """What is stored about a study besides its trials.

    Attributes:
        config: Space, metric, goal, metadata and fixed values.
        seed: Seed of its suggestions.
        strategy: How suggestions are chosen.
        model: Checkpoint that suggests; None is the shipped one.
        pruner: Which trials stop early, as `make_pruner` reads it; None stops none.
    """

    config: StudyConfig
    seed: int
    strategy: str = "ei"
    model: str | None = None
    pruner: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON-ready values; `from_dict` reads them back."""
        return {
            "format_version": FORMAT_VERSION,
            "config": self.config.to_dict(),
            "seed": self.seed,
            "strategy": self.strategy,
            "model": self.model,
            "pruner": self.pruner,
        }

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> StudyRecord:
        """Read a record written by `to_dict`.

        Raises:
            StorageError: It was written in a format this version does not know, or is damaged.
        """
        if not isinstance(described, Mapping):
            raise StorageError(
                f"the study's record is damaged: expected a mapping, got {described!r:.100}"
            )
        version = described.get("format_version")
        if version != FORMAT_VERSION:
            raise StorageError(
                f"the study was stored with format_version {version!r}, "
                f"this version of OptFormer reads {FORMAT_VERSION}; install a newer one"
            )
        try:
            record = cls(
                config=StudyConfig.from_dict(described["config"]),
                seed=described["seed"],
                strategy=described["strategy"],
                model=described["model"],
                pruner=described.get("pruner"),  # there are studies from before pruners
            )
        except (
            OptFormerError,
            AttributeError,
            KeyError,
            RecursionError,
            TypeError,
            ValueError,
        ) as error:
            raise StorageError(
                f"the study's record is damaged: {type(error).__name__}: {error!s:.200}"
            ) from error
        record._check()
        return record

    def _check(self) -> None:
        wrong = [
            f"{name} is {value!r:.100}"
            for name, value, right in (
                ("seed", self.seed, is_whole(self.seed) and self.seed >= 0),
                ("strategy", self.strategy, isinstance(self.strategy, str)),
                ("model", self.model, isinstance(self.model, str | None)),
                ("pruner", self.pruner, isinstance(self.pruner, str | None)),
            )
            if not right
        ]
        if wrong:
            raise StorageError(f"the study's record is damaged: {', '.join(wrong)}")


class TrialStore(Protocol):
    """Keeps the trials of one study, numbered from 0 without gaps."""

    @property
    def address(self) -> str | None:
        """Where another process finds the study, None if it cannot."""

    def suggest_lock(self) -> AbstractContextManager[None]:
        """A lock that one process at a time holds while it suggests, where the storage can lock.

        Raises:
            StorageError: Another process does not release the lock.
        """

    def append(self, trial: Trial) -> Trial:
        """Store a new trial durably and return it with its number; the given one is ignored.

        Raises:
            StorageError: The storage could not be written; the trial is not stored.
        """

    def update(self, trial: Trial) -> Trial:
        """Durably replace the pending trial of the same number by its finished self, once.

        What comes of a trial that was given up as interrupted is stored as a new trial, once, too.

        Returns:
            The trial as stored; its number is another one when the trial was interrupted.

        Raises:
            TrialError: No trial has this number, or it is not pending any more.
            StorageError: The storage could not be written; the stored trial stays pending and the
                call can be repeated.
        """

    def report(self, trial: Trial, step: int, value: float) -> float:
        """Store what a pending trial measured at a step, unless that step has a value.

        Returns:
            The value that the step has now.

        Raises:
            TrialError: No trial has this number, or it is not pending any more.
            StorageError: The storage could not be written.
        """

    def should_prune(self, trial: Trial, pruner: BasePruner) -> bool:
        """Whether a pruner would stop a pending trial at its latest step.

        Raises:
            TrialError: No trial has this number, or it is not pending any more.
            StorageError: The storage could not be read.
        """

    def set_user_attr(self, trial: Trial, key: str, value: Any) -> None:
        """Store something else about a pending trial.

        Raises:
            TrialError: No trial has this number, or it is not pending any more.
            StorageError: The storage could not be written.
        """

    def enqueue(self, params: Mapping[str, Value]) -> Trial:
        """Store a trial to be handed out, with values for some or all parameters.

        Raises:
            StorageError: The storage could not be written.
        """

    def waiting(self) -> list[Trial]:
        """The pending trials that nobody runs yet, by number.

        Somebody has enqueued them, or they were stored by an `append` that seemed to fail. They may
        have values for some parameters only.

        Raises:
            StorageError: The storage could not be read.
        """

    def hand_out(self, trial: Trial) -> bool:
        """Give an enqueued trial its parameters and have it run; False when somebody was quicker.

        Raises:
            StorageError: The storage could not be written.
        """

    def adopt(self, trial: Trial, helper: int | None = None) -> None:
        """Make this process the owner of a pending trial, whoever suggested it.

        Args:
            trial: The trial.
            helper: A process of this machine that keeps the trial alive when this one has ended.

        Raises:
            TrialError: No trial has this number, or it is not pending.
            StorageError: The storage could not be written.
        """

    def under_way(self) -> list[Trial]:
        """Pending trials whose owner is known and there, by number.

        Raises:
            StorageError: The storage could not be read.
        """

    def reclaim(self, *, grace: float, older_than: float | None = None) -> list[Trial]:
        """Fail the pending trials whose owner has ended, as interrupted.

        Those that had been enqueued are enqueued again.

        Args:
            grace: Seconds since the last sign of an owner in which its trials are left alone.
            older_than: Seconds since its start after which a trial without a known owner is failed,
                too; None for never.

        Returns:
            The trials that were failed, by number.

        Raises:
            StorageError: The storage could not be read or written.
        """

    def all(self) -> list[Trial]:
        """All trials by number, those of other processes on the same storage too.

        Raises:
            StorageError: The storage could not be read.
        """


def settled(stored: Trial, outcome: Trial, now: datetime) -> Trial:
    """A finished trial with what was recorded of it while it was pending.

    Args:
        stored: The pending trial as stored.
        outcome: What became of it.
        now: When it ended.
    """
    return replace(
        outcome,
        metrics={**numbers_of(stored.user_attrs), **outcome.metrics},
        intermediate_values=stored.intermediate_values,
        user_attrs={**stored.user_attrs, **outcome.metrics},
        datetime_start=stored.datetime_start,
        datetime_complete=now,
    )


def numbers_of(attributes: Mapping[str, object]) -> dict[str, float]:
    """The user attributes of a trial that are its metrics: those that are finite numbers."""
    return {
        name: float(value)
        for name, value in attributes.items()
        if isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) <= sys.float_info.max  # False of NaN; an int may have more digits
    }


def has_ended(trial: Trial) -> str:
    """The message about a trial that cannot be told anything any more."""
    return f"trial {trial.number} of study {trial.study!r} is {trial.status.value}: it has ended"


def unknown_trial(trial: Trial, count: int) -> str:
    """The message about a trial whose number the study does not have."""
    have = f"trials 0 to {count - 1}" if count else "no trials"
    return f"study {trial.study!r} has no trial {trial.number}; it has {have}"


def observed_before(trial: Trial) -> str:
    """The message about a trial that is not pending any more."""
    outcome = f"value {trial.value!r}" if trial.has_value else f"reason {trial.reason!r}"
    return (
        f"trial {trial.number} of study {trial.study!r} was observed before: "
        f"{trial.status.value} with {outcome}; observe each trial once"
    )
