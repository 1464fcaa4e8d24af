"""Tune any script: suggest parameters, run it, read its metric, observe."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from optformer.data.studies.errors import (
    MetricError,
    ObjectiveError,
    SpaceExhaustedError,
    StudyError,
)
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import INTERRUPTED, Trial, TrialStatus
from optformer.serving.script.command import CommandTemplate
from optformer.serving.script.metric import MetricReader
from optformer.serving.script.process import Ending, StopRequest, run_process

if TYPE_CHECKING:
    from optformer.serving.study.study import Study

FIRST_FAILURES = 5
"""So many failures without any success end the search: the script, not a value, is at fault."""


@dataclass(frozen=True)
class ScriptOutcome:
    """What one run of the script gave.

    Attributes:
        metrics: Metrics by name, None when it failed.
        reason: Why it failed, None when it did not.
        seconds: Wall-clock time it took.
    """

    metrics: dict[str, float] | None
    reason: str | None
    seconds: float


@dataclass(frozen=True)
class Script:
    """A script to tune.

    A trial runs with the caller's working directory and environment, plus `OPTFORMER_PARAMS` (its
    parameters as JSON), `OPTFORMER_TRIAL` (its number) and `OPTFORMER_OUT` (its directory, which
    also receives `stdout.txt` and `stderr.txt`).

    Attributes:
        config: The study, which says what the metrics mean.
        command: How to run it.
        reader: How to read its metrics.
        out: Absolute directory under which every trial gets its own.
        timeout: Seconds a trial may take, None for no limit.
    """

    config: StudyConfig
    command: CommandTemplate
    reader: MetricReader
    out: Path
    timeout: float | None = None

    def trial_directory(self, number: int) -> Path:
        """Where a trial's files are."""
        return self.out / f"trial-{number:04d}"

    def run(self, trial: Trial, stop: StopRequest) -> ScriptOutcome:
        """Run one trial.

        Raises:
            StudyError: The trial's directory is already there.
        """
        out = self.trial_directory(trial.number)
        try:
            out.mkdir(parents=True)
        except FileExistsError:
            raise StudyError(
                f"directory {out} of trial {trial.number} is already there, from another search; "
                "remove it or choose another output directory"
            ) from None
        environment = {
            **os.environ,
            "OPTFORMER_PARAMS": json.dumps(dict(trial.params)),
            "OPTFORMER_TRIAL": str(trial.number),
            "OPTFORMER_OUT": str(out),
        }
        stdout, stderr = out / "stdout.txt", out / "stderr.txt"
        try:
            ending = run_process(
                self.command.fill(trial.params, number=trial.number, out=out),
                environment=environment,
                stdout=stdout,
                stderr=stderr,
                timeout=self.timeout,
                stop=stop,
            )
        except OSError as error:
            return ScriptOutcome(None, f"cannot start: {error}", 0.0)
        reason = _ending_reason(ending, self.timeout, stderr)
        if reason is not None:
            return ScriptOutcome(None, reason, ending.seconds)
        try:
            metrics = self.reader.read(stdout, number=trial.number, out=out)
            value, _ = self.config.measure(metrics)
        except MetricError as error:
            return ScriptOutcome(None, str(error), ending.seconds)
        if not math.isfinite(value):
            shown = ", ".join(f"{name} is {number}" for name, number in metrics.items())
            return ScriptOutcome(None, f"not a finite number: {shown}", ending.seconds)
        return ScriptOutcome(metrics, None, ending.seconds)


def is_finished(trial: Trial) -> bool:
    """Whether a trial used up budget: it has a value, or failed by its own fault."""
    return trial.has_value or (trial.status is TrialStatus.FAILED and not trial.interrupted)


def fail_interrupted(study: Study) -> None:
    """Mark trials as failed whose search was killed: nobody runs them any more."""
    for trial in study.trials:
        if trial.status is TrialStatus.PENDING:
            study.observe(trial, failed=INTERRUPTED)


def tune_script(
    study: Study,
    script: Script,
    *,
    trials: int,
    parallel: int,
    stop: StopRequest,
    report: Callable[[Trial, float], None],
) -> None:
    """Run trials until the study holds enough finished ones, or a stop is requested.

    Only the calling thread touches the study; the others wait for their scripts. Each suggestion
    sees the trials that are still running. Trials ended by a stop fail with `INTERRUPTED` and do
    not count.

    Args:
        study: Where trials come from and go to.
        script: What to run.
        trials: Finished trials wanted, those of earlier runs included.
        parallel: How many scripts run at the same time.
        stop: Ends the search early; also set here when the search itself fails.
        report: Called with each trial that ended, and the seconds it took.

    Raises:
        ObjectiveError: The first `FIRST_FAILURES` trials all failed, or all of them did.
        SpaceExhaustedError: Every point of a finite space was tried before `trials` were finished.
    """
    search = _Search(study, script, trials, stop)
    with ThreadPoolExecutor(parallel) as pool:
        try:
            while search.start(pool, parallel):
                for trial, seconds in search.ended():
                    report(trial, seconds)
        finally:
            if search.running:  # an error is on its way: leave no script behind
                stop.request()
    search.check()


class _Search:
    """What a search has started, and how it fares."""

    def __init__(self, study: Study, script: Script, trials: int, stop: StopRequest) -> None:
        self.running: dict[Future[ScriptOutcome], Trial] = {}
        self._study, self._script, self._stop = study, script, stop
        self._budget = max(trials - sum(is_finished(trial) for trial in study.trials), 0)
        self._succeeded = any(trial.has_value for trial in study.trials)
        self._failures: list[Trial] = []
        self._exhausted: SpaceExhaustedError | None = None

    def start(self, pool: Executor, parallel: int) -> bool:
        """Start trials until `parallel` of them run; whether any does."""
        while self._budget > 0 and len(self.running) < parallel and not self._stop.requested:
            try:
                trial = self._study.suggest()
            except SpaceExhaustedError as error:
                self._exhausted, self._budget = error, 0
                break
            self._budget -= 1
            self.running[pool.submit(self._script.run, trial, self._stop)] = trial
        return bool(self.running)

    def ended(self) -> Iterator[tuple[Trial, float]]:
        """Wait for some trials to end and observe them; each with the seconds it took."""
        for future in wait(self.running, return_when=FIRST_COMPLETED).done:
            outcome, trial = future.result(), self.running.pop(future)
            if outcome.metrics is not None:
                trial = self._study.observe(trial, outcome.metrics)
            else:
                trial = self._study.observe(trial, failed=outcome.reason)
            yield trial, outcome.seconds
            self._succeeded |= trial.has_value
            if is_finished(trial) and not trial.has_value:
                self._failures.append(trial)
        if not self._succeeded and len(self._failures) >= FIRST_FAILURES:
            self._stop.request()

    def check(self) -> None:
        """Raise what ended the search before its budget was spent, if anything did."""
        failures = self._failures
        hopeless = not self._budget or len(failures) >= FIRST_FAILURES
        if failures and not self._succeeded and hopeless:
            last = failures[-1]
            raise ObjectiveError(
                f"all of the first {len(failures)} trials failed; trial {last.number}: "
                f"{last.reason}; see {self._script.trial_directory(last.number)} and mend the "
                "script or the command"
            )
        if self._exhausted is not None:
            raise self._exhausted


def _ending_reason(ending: Ending, timeout: float | None, stderr: Path) -> str | None:
    """Why a script that ended so has failed, None when it has not."""
    if ending.stopped:
        return INTERRUPTED
    if ending.timed_out:
        return f"timed out after {timeout:g} s"
    if ending.code == 0:
        return None
    how = (
        f"exit status {ending.code}"
        if ending.code > 0
        else f"ended by signal {-ending.code} ({signal.strsignal(-ending.code)})"
    )
    last = _last_line(stderr)
    return f"{how}: {last}" if last else how


def _last_line(path: Path) -> str:
    """The last line of a file that says something, shortened."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - 4096, 0))
        lines = file.read().decode("utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")[:200]
