"""Studies in memory, which end with their process."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from optformer.data.studies.errors import TrialError
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.serving.study.trial_store import observed_before, unknown_trial


class MemoryStore:
    """Keeps trials in this process only."""

    address: str | None = None

    def __init__(self) -> None:
        self._trials: list[Trial] = []
        self._late: dict[int, Trial] = {}  # what came of interrupted trials after all

    def suggest_lock(self) -> AbstractContextManager[None]:
        """No lock, because no other process has this store."""
        return nullcontext()

    def append(self, trial: Trial) -> Trial:
        """Store a new trial; see `TrialStore.append`."""
        numbered = replace(trial, number=len(self._trials))
        self._trials.append(numbered)
        return numbered

    def update(self, trial: Trial) -> Trial:
        """Replace a pending trial; see `TrialStore.update`."""
        if not 0 <= trial.number < len(self._trials):
            raise TrialError(unknown_trial(trial, len(self._trials)))
        stored = self._trials[trial.number]
        if stored.status is TrialStatus.PENDING:
            self._trials[trial.number] = trial
            return trial
        if stored.interrupted and trial.number not in self._late:
            self._late[trial.number] = self.append(trial)
            return self._late[trial.number]
        raise TrialError(observed_before(self._late.get(trial.number, stored)))

    def waiting(self) -> list[Trial]:
        """None, because nobody else can enqueue one."""
        return []

    def hand_out(self, trial: Trial) -> bool:
        """Nothing can be handed out; see `waiting`."""
        return False

    def adopt(self, trial: Trial) -> None:
        """Nothing: this process is the owner of all."""

    def reclaim(self, *, grace: float, older_than: float | None = None) -> list[Trial]:
        """None, because their owner is this process."""
        return []

    def all(self) -> list[Trial]:
        """All trials by number."""
        return list(self._trials)
