"""How far a search is: what runs, what came of the rest, and how long it will take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from optformer.data.studies.trials import Trial, TrialStatus
from optformer.serving.script.runner import is_finished
from optformer.serving.study.front import pareto_front

if TYPE_CHECKING:
    from optformer.data.studies.study_config import StudyConfig
    from optformer.serving.script.script import ScriptOutcome


@dataclass(frozen=True)
class Running:
    """A trial whose script runs.

    Attributes:
        trial: The trial.
        since: When the script was started, in seconds since 1970.
        latest: The step and the value that it printed last; None when nobody reads them.
    """

    trial: Trial
    since: float
    latest: tuple[int, float] | None = None


class SearchProgress:
    """What is known of a search while it runs.

    Args:
        config: The study.
        trials: Its trials when the search begins.
        wanted: Finished trials wanted.
        parallel: Scripts at a time.
    """

    def __init__(
        self, config: StudyConfig, trials: Iterable[Trial], *, wanted: int, parallel: int
    ) -> None:
        self.wanted = wanted
        self.finished = 0
        """Trials that used up budget, those of earlier runs included."""
        self.ended: Counter[TrialStatus] = Counter()
        """How trials have ended."""
        self.best: Trial | None = None
        """The completed trial of the best value that keeps the limits; by the first goal."""
        self.front: list[Trial] = []
        """The Pareto front so far, where there are several goals."""
        self.expected_gain: float | None = None
        """By how much the trial suggested last is expected to better the best, None if unknown.

        Of several goals it is of no one metric, and unknown.
        """
        self._config = config
        self._parallel = parallel
        self._running: dict[int, Running] = {}
        self._seconds: list[float] = []  # that the scripts of this run took
        for trial in trials:
            self._count(trial)

    @property
    def running(self) -> list[Running]:
        """The trials whose scripts run, in the order of their start."""
        return list(self._running.values())

    def started(self, trial: Trial, since: float) -> None:
        """Take note of a script that runs."""
        self._running[trial.number] = Running(trial, since)
        prediction = None
        if not self._config.further_goals:
            prediction = getattr(trial.explanation, "prediction", None)
        self.expected_gain = None if prediction is None else prediction.expected_improvement

    def reported(self, trial: Trial, step: int, value: float) -> None:
        """Take note of a value that a script has printed."""
        if trial.number in self._running:
            running = self._running[trial.number]
            self._running[trial.number] = replace(running, latest=(step, value))

    def observed(self, trial: Trial, outcome: ScriptOutcome) -> None:
        """Take note of a trial that was observed."""
        self._running.pop(trial.number, None)
        self._count(trial)
        if is_finished(trial):
            self._seconds.append(outcome.seconds)

    def seconds_left(self, now: float) -> float | None:
        """Seconds until enough trials are finished, if later ones take as long as those so far.

        Args:
            now: The time, in seconds since 1970.

        Returns:
            None before a trial of this run is finished.
        """
        if not self._seconds:
            return None
        each = sum(self._seconds) / len(self._seconds)
        done = sum(min(now - running.since, each) for running in self.running)
        return max((self.wanted - self.finished) * each - done, 0.0) / self._parallel

    def _count(self, trial: Trial) -> None:
        if trial.status is TrialStatus.PENDING:
            return
        self.ended[trial.status] += 1
        self.finished += is_finished(trial)
        if trial.status is not TrialStatus.COMPLETED or trial.value is None:
            return
        if self._config.further_goals:
            self.front = pareto_front(self._config, [*self.front, trial])
        if self._config.keeps_limits(trial):
            sign = self._config.sign
            if self.best is None or sign * trial.value > sign * (self.best.value or 0.0):
                self.best = trial
