"""Tune any script: suggest parameters, run it, read its metric, observe."""

from __future__ import annotations

import errno
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from optformer.data.runtime.text import shorten, visible
from optformer.data.studies.errors import (
    MetricError,
    ObjectiveError,
    OptFormerError,
    StorageError,
    StudyError,
    TrialError,
)
from optformer.data.studies.trials import INTERRUPTED, Trial, TrialStatus
from optformer.serving.script.process import RunningScript, ScriptProcess, StopRequest
from optformer.serving.script.reporting import CurveReport
from optformer.serving.script.script import Script, ScriptOutcome
from optformer.serving.script.trial_folder import trial_folders

if TYPE_CHECKING:
    from optformer.serving.study.study import Study

FIRST_FAILURES = 5
"""So many failures without any success end the search: the script, not a value, is at fault."""

STORAGE_PATIENCE = 600.0
"""Seconds for which a storage may fail while no script runs before the search ends."""

_POLL_SECONDS = 0.05  # how soon the end of a script or a request to stop is seen
_CURVE_SECONDS = 0.2  # between looks at what scripts print
_RETRY_SECONDS = 2.0  # between attempts to use a storage that fails


class Watcher(Protocol):
    """Is told what happens in a search."""

    def started(self, trial: Trial, since: float) -> None:
        """The script of a trial runs, since a time in seconds since 1970."""

    def reported(self, trial: Trial, step: int, value: float) -> None:
        """The script of a trial has printed its metric, at a step."""

    def observed(self, trial: Trial, outcome: ScriptOutcome) -> None:
        """A trial was observed."""

    def note(self, text: str) -> None:
        """Something goes wrong that does not end the search."""


def is_finished(trial: Trial) -> bool:
    """Whether a trial used up budget: it has a value, or failed by its own fault."""
    return trial.has_value or (trial.status is TrialStatus.FAILED and not trial.interrupted)


def check_folder(study: Study, out: Path) -> None:
    """Check that the trials in a search's folder are those of a study.

    Raises:
        StudyError: They are another's.
    """
    trials = study.trials
    for number, folder in trial_folders(out):
        params = folder.load().get("params")
        if params is not None and (number >= len(trials) or params != dict(trials[number].params)):
            raise StudyError(
                f"{folder.path} holds a trial of another search than study {study.name!r}; "
                "give the --out that the study was started with, or a new one"
            )


def tune_script(
    study: Study,
    script: Script,
    *,
    trials: int,
    parallel: int,
    stop: StopRequest,
    watcher: Watcher,
) -> None:
    """Run trials until the study holds enough finished ones, or a stop is requested.

    Each suggestion sees the trials that are still running. Trials of this folder that an earlier
    search has left pending are taken over: those whose script still runs are waited for, those
    whose script has ended are observed. Other pending trials are failed as interrupted when their
    process is gone, and left alone when it is not. While the storage fails the scripts run on, and
    it is tried again. Where the study has a pruner, the curves that scripts print are reported, and
    scripts that are to stop early are ended.

    Args:
        study: Where trials come from and go to.
        script: What to run.
        trials: Finished trials wanted, those of earlier runs and of other searches included; see
            `Study.suggest_within`.
        parallel: How many scripts run at the same time.
        stop: Ends the search early. Trials ended by it fail with `INTERRUPTED` and do not count.
        watcher: Is told of it.

    Raises:
        ObjectiveError: The first `FIRST_FAILURES` trials all failed, or all of them did.
        SpaceExhaustedError: Every point of a finite space was tried before `trials` were finished.
        StorageError: The storage failed for too long; what came of each trial is in its folder.
    """
    search = _Search(study, script, trials, parallel, stop, watcher)
    try:
        search.take_over()
        search.run()
    finally:
        search.end_scripts(kill=False)  # an error is on its way: leave no script behind
    search.raise_fault()


class _Search:
    """The state of one call of `tune_script`."""

    def __init__(
        self,
        study: Study,
        script: Script,
        trials: int,
        parallel: int,
        stop: StopRequest,
        watcher: Watcher,
    ) -> None:
        self._study = study
        self._script = script
        self._trials = trials
        self._parallel = parallel
        self._stop = stop
        self._watcher = watcher
        self._suggested: Trial | None = None  # to be started
        self._running: dict[int, tuple[Trial, RunningScript]] = {}
        self._curves: dict[int, CurveReport] = {}  # of scripts that run, or are to be observed
        self._look_at = 0.0  # when curves are read again, in the clock's seconds
        self._ended: deque[tuple[Trial, ScriptOutcome]] = deque()  # to be observed
        self._enough = False  # finished and running trials, as far as this search knows
        self._failures: list[Trial] = []
        self._succeeded = False
        self._fault: OptFormerError | None = None  # ends the search when no script runs any more
        self._failing_since: float | None = None  # the storage, in the clock's seconds
        self._retry_at = 0.0

    def take_over(self) -> None:
        """Take over what an earlier search in this folder has left pending."""
        trials = self._study.trials
        self._succeeded = any(trial.has_value for trial in trials)
        for trial in trials:
            folder = self._script.folder(trial.number)
            pending = trial.status is TrialStatus.PENDING
            # Others may have given it up: the lock says that nobody has stored what came of it.
            if (pending or (trial.interrupted and folder.lock.exists())) and folder.holds(trial):
                self._attend(trial, ScriptProcess(folder), folder.started)
        self._study.fail_stale_trials()
        others = [
            trial.number
            for trial in self._study.trials
            if trial.status is TrialStatus.PENDING and trial.number not in self._running
        ]
        if others:
            numbers = shorten(", ".join(map(str, others)), 60)
            self._watcher.note(
                f"note: pending trials that are run elsewhere are left alone: {numbers}"
            )

    def run(self) -> None:
        """Start scripts, wait for them and observe their trials, until there is nothing to do."""
        while not self._is_over():
            self._collect()
            if time.monotonic() >= self._retry_at or self._stop.requested:
                try:
                    self._report_curves()
                    self._observe_ended()
                    self._start_more()
                    self._failing_since = None
                except StorageError as error:
                    self._be_patient(error)
            if self._stop.requested:
                self.end_scripts(kill=self._stop.forced)
            if self._running or self._failing_since is not None:
                time.sleep(_POLL_SECONDS)

    def end_scripts(self, *, kill: bool) -> None:
        """Ask all running scripts to end."""
        for _, process in self._running.values():
            process.end(kill=kill)

    def raise_fault(self) -> None:
        """Raise what ended the search, if it was not its aim or its user."""
        if self._failures and not self._succeeded and self._failed_enough():
            last = self._failures[-1]
            raise ObjectiveError(
                f"all of the first {len(self._failures)} trials failed; trial {last.number}: "
                f"{last.reason}; see {self._script.folder(last.number).path} and mend the script "
                "or the command"
            )
        if self._fault is not None:
            raise self._fault

    def _failed_enough(self) -> bool:
        return self._enough or self._fault is not None or len(self._failures) >= FIRST_FAILURES

    def _is_over(self) -> bool:
        if self._running or self._ended or self._suggested is not None:
            return False
        return self._enough or self._stop.requested or self._fault is not None

    def _be_patient(self, error: StorageError) -> None:
        """Have the storage tried again in a while, or give it up."""
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
            self._watcher.note(f"{error}; trying again, scripts run on")
        self._retry_at = now + _RETRY_SECONDS
        late = now - self._failing_since >= STORAGE_PATIENCE or self._stop.requested
        if late and not self._running:
            raise StorageError(
                f"{error}; what came of each trial is kept in {self._script.out}, and --resume "
                "stores it"
            ) from error

    def _attend(self, trial: Trial, process: RunningScript, since: float) -> None:
        """Take note of a script that runs."""
        self._running[trial.number] = (trial, process)
        if self._script.curves is not None and trial.status is TrialStatus.PENDING:
            curve = self._script.curves.open(self._script.folder(trial.number).path)
            self._curves[trial.number] = CurveReport(trial, curve, self._watcher.reported)
        self._watcher.started(trial, since)
        # Should this search be killed, the trial is its supervisor's.
        with suppress(TrialError, StorageError):
            self._study.adopt(trial, helper=process.supervisor)

    def _report_curves(self) -> None:
        """Report what running scripts have printed, and end those that are to stop early."""
        if time.monotonic() < self._look_at:
            return
        for trial, process in self._running.values():
            if trial.number in self._curves and self._report(trial):
                process.prune()
        self._look_at = time.monotonic() + _CURVE_SECONDS

    def _report(self, trial: Trial, *, to_end: bool = False) -> bool:
        """Report what a script has printed; whether its trial is to stop early."""
        try:
            return self._curves[trial.number].report(to_end=to_end)
        except (MetricError, TrialError) as error:  # a slow pattern; somebody has observed it
            self._watcher.note(f"trial {trial.number} reports no more: {error}")
            del self._curves[trial.number]
            return False

    def _collect(self) -> None:
        """Read the outcomes of the scripts that have ended."""
        for trial, process in list(self._running.values()):
            if process.ended:
                del self._running[trial.number]
                outcome = (
                    self._script.outcome(trial)
                    if process.complaint is None
                    else ScriptOutcome(None, process.complaint, 0.0, {})
                )
                self._ended.append((trial, outcome))

    def _observe_ended(self) -> None:
        """Store the outcomes that are not stored yet, in the order in which scripts ended."""
        while self._ended:
            trial, outcome = self._ended[0]
            folder = self._script.folder(trial.number)
            if trial.number in self._curves:
                self._report(trial, to_end=True)
                self._curves.pop(trial.number, None)
            if trial.interrupted and outcome.reason == INTERRUPTED:  # nothing new
                self._ended.popleft()
                folder.release()
                continue
            try:
                trial = _observe(self._study, trial, outcome)
            except TrialError as error:  # somebody else has observed it
                self._watcher.note(f"{error}; what it found here is in {folder.record}")
            else:
                self._watcher.observed(trial, outcome)
                self._succeeded |= trial.has_value
                if is_finished(trial) and not trial.has_value:
                    self._failures.append(trial)
            self._ended.popleft()
            folder.release()
            self._enough = False  # count again: interrupted trials do not count
        if not (self._succeeded or self._stop.requested or len(self._failures) < FIRST_FAILURES):
            self._stop.request()

    def _start_more(self) -> None:
        """Start scripts as long as there is room for them and trials are wanted."""
        while len(self._running) < self._parallel:
            if self._suggested is None:
                self._suggested = self._suggest()
            trial = self._suggested
            if trial is None:
                return
            try:
                if self._stop.requested:
                    self._ended.append((trial, ScriptOutcome(None, INTERRUPTED, 0.0, {})))
                else:
                    self._attend(trial, self._script.start(trial), time.time())
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise StorageError(f"cannot start trial {trial.number}: {error}") from error
                self._ended.append((trial, ScriptOutcome(None, f"cannot start: {error}", 0.0, {})))
            self._suggested = None

    def _suggest(self) -> Trial | None:
        """The next trial, None when none is wanted or possible."""
        if self._enough or self._stop.requested or self._fault is not None:
            return None
        try:
            trial = self._study.suggest_within(self._trials)
        except StorageError:
            raise
        except OptFormerError as error:
            self._fault = error
            return None
        self._enough = trial is None
        return trial


def _observe(study: Study, trial: Trial, outcome: ScriptOutcome) -> Trial:
    if outcome.metrics is None:
        return study.observe(trial, failed=outcome.reason)
    try:
        return study.observe(trial, outcome.metrics, stopped=outcome.stopped)
    except MetricError as error:
        return study.observe(trial, failed=visible(str(error)))
