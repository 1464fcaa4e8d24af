"""Studies in memory, which end with their process."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from optformer.data.studies.errors import StudyError, TrialError
from optformer.data.studies.parameters import Value
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.serving.study.trial_store import (
    has_ended,
    observed_before,
    settled,
    unknown_trial,
)

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


class MemoryStore:
    """Keeps trials in this process only.

    Pruners are Optuna's and look at trials as Optuna keeps them: a study with a pruner is kept in
    Optuna's memory instead, see `storage.create_store`.

    Args:
        study: The study's name.
    """

    address: str | None = None

    def __init__(self, study: str) -> None:
        self._study = study
        self._trials: list[Trial] = []
        self._waiting: list[int] = []  # numbers of trials that are to be handed out
        self._late: dict[int, Trial] = {}  # what came of interrupted trials after all

    def suggest_lock(self) -> AbstractContextManager[None]:
        """No lock, because no other process has this store."""
        return nullcontext()

    def append(self, trial: Trial) -> Trial:
        """Store a new trial; see `TrialStore.append`."""
        now = datetime.now()
        ended = None if trial.status is TrialStatus.PENDING else now
        return self._add(replace(trial, datetime_start=now, datetime_complete=ended))

    def update(self, trial: Trial) -> Trial:
        """Replace a pending trial; see `TrialStore.update`."""
        stored = self._stored(trial)
        if stored.status is TrialStatus.PENDING:
            if trial.number in self._waiting:
                self._waiting.remove(trial.number)
            finished = settled(stored, trial, datetime.now())
            self._trials[trial.number] = finished
            return finished
        if stored.interrupted and trial.number not in self._late:
            self._late[trial.number] = self.append(trial)
            return self._late[trial.number]
        raise TrialError(observed_before(self._late.get(trial.number, stored)))

    def report(self, trial: Trial, step: int, value: float) -> float:
        """Store what a trial measured at a step; see `TrialStore.report`."""
        stored = self._pending(trial)
        values = {step: value, **stored.intermediate_values}
        self._trials[trial.number] = replace(stored, intermediate_values=values)
        return values[step]

    def should_prune(self, trial: Trial, pruner: BasePruner) -> bool:
        """Not here; see `TrialStore.should_prune`."""
        raise StudyError(
            f"study {self._study!r} was created without a pruner; create it with pruner="
        )

    def set_user_attr(self, trial: Trial, key: str, value: Any) -> None:
        """Store something else about a trial; see `TrialStore.set_user_attr`."""
        stored = self._pending(trial)
        attributes = {**stored.user_attrs, key: value}
        self._trials[trial.number] = replace(stored, user_attrs=attributes)

    def enqueue(self, params: Mapping[str, Value]) -> Trial:
        """Store a trial to be handed out; see `TrialStore.enqueue`."""
        trial = self._add(Trial(number=-1, params=params, study=self._study))
        self._waiting.append(trial.number)
        return trial

    def waiting(self) -> list[Trial]:
        """Trials to be handed out; see `TrialStore.waiting`."""
        return [self._trials[number] for number in self._waiting]

    def hand_out(self, trial: Trial) -> bool:
        """Have an enqueued trial run; see `TrialStore.hand_out`."""
        if trial.number not in self._waiting:
            return False
        self._waiting.remove(trial.number)
        self._trials[trial.number] = replace(trial, datetime_start=datetime.now())
        return True

    def adopt(self, trial: Trial, helper: int | None = None) -> None:
        """Nothing: this process is the owner of all."""

    def under_way(self) -> list[Trial]:
        """All that are pending, because their owner is this process."""
        pending = [trial for trial in self._trials if trial.status is TrialStatus.PENDING]
        return [trial for trial in pending if trial.number not in self._waiting]

    def reclaim(self, *, grace: float, older_than: float | None = None) -> list[Trial]:
        """None, because their owner is this process."""
        return []

    def all(self) -> list[Trial]:
        """All trials by number."""
        return list(self._trials)

    def _add(self, trial: Trial) -> Trial:
        numbered = replace(trial, number=len(self._trials))
        self._trials.append(numbered)
        return numbered

    def _stored(self, trial: Trial) -> Trial:
        if not 0 <= trial.number < len(self._trials):
            raise TrialError(unknown_trial(trial, len(self._trials)))
        return self._trials[trial.number]

    def _pending(self, trial: Trial) -> Trial:
        stored = self._stored(trial)
        if stored.status is not TrialStatus.PENDING:
            raise TrialError(has_ended(stored))
        return stored
