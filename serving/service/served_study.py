"""A study whose trials are run by clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from optformer.data.studies.errors import TrialError
from optformer.data.studies.parameters import Value
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.serving.service.client_store import Asked, ClientStore
from optformer.serving.service.problems import Problem
from optformer.serving.study.outcomes import decide_outcome
from optformer.serving.study.study import Study
from optformer.serving.study.suggesting import StudyPlanner
from optformer.serving.study.trial_store import StudyRecord

_FEW = 8  # trials that are read one by one


class ServedStudy(Study):
    """A study with the verbs that a server needs: each knows the request that asks for it.

    Args:
        record: What is stored about the study.
        store: Where its trials are kept.
        name: Its name in the storage.
        planner: Who suggests; None loads the record's model.
    """

    def __init__(
        self,
        record: StudyRecord,
        store: ClientStore,
        *,
        name: str,
        planner: StudyPlanner | None = None,
    ) -> None:
        super().__init__(record, store, name=name, planner=planner)
        self.store = store

    def trial(self, number: int) -> Trial:
        """The trial of a number.

        Raises:
            Problem: There is none.
        """
        with self._lock:
            found = self.store.read(number)
        if found is None:
            count = len(self.trials)
            have = f"0 to {count - 1}" if count else "there is none yet"
            raise Problem(
                404, "TrialError", field="number", expected=f"a trial ({have})", got=number
            )
        return self._bound(found)

    def hand_out(
        self, asked: Asked, count: int, fixed: Mapping[str, Value], budget: int | None
    ) -> list[Trial]:
        """Like `suggest`, or `suggest_within` when there is a budget."""
        with self.store.asked(asked):
            if budget is None:
                given = self.suggest(count, fixed=fixed)
            else:
                within = self.suggest_within(budget)
                given = [] if within is None else [within]
            return self._as_stored(given)

    def record_outcome(
        self,
        asked: Asked,
        trial: int | Mapping[str, Value],
        value: float | Mapping[str, float] | None,
        failed: str | None,
        stopped: bool,
    ) -> tuple[Trial, list[str]]:
        """Like `observe`, of a trial's number or a point; the trial and what to warn of."""
        with self.store.asked(asked):
            done = self._observed_before(trial)
            if done is None:
                told = self._pending_trial(trial) if isinstance(trial, int) else trial
                try:
                    observed, warning = self._observe(told, value, failed, stopped)
                except TrialError:  # maybe by the same request, sent twice at the same time
                    done = self.store.observed()
                    if done is None:
                        raise
                else:
                    (finished,) = self._as_stored([observed])
            if done is not None:
                again = replace(done, status=TrialStatus.PENDING, value=None, reason=None)
                _, warning = decide_outcome(self.config, again, value, failed, stopped)
                finished, warning = done, warning and f"trial {done.number}: {warning}"
        return finished, [warning] if warning else []

    def record_report(
        self, asked: Asked, trial: Trial, value: float | Mapping[str, float], step: int
    ) -> list[str]:
        """Like `Trial.report`, and a sign of life; what to warn of."""
        warning = self._reporter.keep(trial, value, step)
        self.renew(asked, trial)
        return [warning] if warning else []

    def put_first(self, asked: Asked, params: Mapping[str, Value]) -> Trial:
        """Like `enqueue`."""
        with self.store.asked(asked):
            return self.enqueue(params)

    def renew(self, asked: Asked, trial: Trial) -> None:
        """Renew the lease of a pending trial."""
        with self._lock, self.store.asked(asked):
            self.store.beat(trial)

    def _observed_before(self, trial: int | Mapping[str, Value]) -> Trial | None:
        """The trial that the request under way has observed before."""
        with self._lock:
            if isinstance(trial, int) and not self.store.is_observed(trial):
                return None
            return self.store.observed()

    def _pending_trial(self, number: int) -> Trial:
        """The trial of a number, known as pending if it is."""
        trial = self.trial(number)
        if trial.status is TrialStatus.PENDING:
            self._pending.setdefault(number, trial)
        return trial

    def _as_stored(self, trials: Sequence[Trial]) -> list[Trial]:
        """Trials just written, as they are read later: with the times that the storage has."""
        if len(trials) <= _FEW:
            return [self.trial(trial.number) for trial in trials]
        stored = self.trials
        return [stored[trial.number] for trial in trials]

    def _suggest(self, count: int, held: Mapping[str, Value]) -> list[Trial]:
        with self.store.reads_together():
            done = [self._bound(trial) for trial in self.store.suggested()]
            missing = count - len(done)
            return [*done, *(super()._suggest(missing, held) if missing > 0 else [])]

    def _has(self, budget: int) -> bool:
        return not self.store.suggested() and super()._has(budget)
