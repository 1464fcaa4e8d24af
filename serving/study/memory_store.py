"""Studies in memory, which end with their process."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from optformer.data.studies.errors import TrialError
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.serving.study.trial_store import observed_before, unknown_trial


class MemoryStore:
    """Keeps trials in this process only."""

    def __init__(self) -> None:
        self._trials: list[Trial] = []

    def suggest_lock(self) -> AbstractContextManager[None]:
        """No lock, because no other process has this store."""
        return nullcontext()

    def append(self, trial: Trial) -> Trial:
        """Store a new trial; see `TrialStore.append`."""
        numbered = replace(trial, number=len(self._trials))
        self._trials.append(numbered)
        return numbered

    def update(self, trial: Trial) -> None:
        """Replace a pending trial; see `TrialStore.update`."""
        if not 0 <= trial.number < len(self._trials):
            raise TrialError(unknown_trial(trial, len(self._trials)))
        if self._trials[trial.number].status is not TrialStatus.PENDING:
            raise TrialError(observed_before(self._trials[trial.number]))
        self._trials[trial.number] = trial

    def all(self) -> list[Trial]:
        """All trials by number."""
        return list(self._trials)
