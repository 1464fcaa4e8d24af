"""What the trials of a study amount to, without asking the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np

from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.serving.study.figures import best_first
from optformer.serving.study.front import front_volume, pareto_front
from optformer.serving.study.study import Study

WORDS = {
    TrialStatus.COMPLETED: "completed",
    TrialStatus.STOPPED: "pruned",
    TrialStatus.FAILED: "failed",
    TrialStatus.PENDING: "pending",
}
"""What became of a trial, in the words of the page."""


@dataclass(frozen=True)
class History:
    """A study at one moment.

    Attributes:
        name: The study's name.
        config: Its configuration.
        trials: Its trials by number.
    """

    name: str
    config: StudyConfig
    trials: Sequence[Trial]

    @classmethod
    def of(cls, study: Study, name: str) -> History:
        """A study as it is now, under the name that its owner knows."""
        return cls(name, study.config, study.trials)

    @cached_property
    def fingerprint(self) -> int:
        """Another one for every other history: what was computed of one holds for its twin."""
        told = (
            (trial.status, trial.value, tuple(trial.metrics.items()), trial.datetime_complete)
            for trial in self.trials
        )
        return hash((self.name, repr(self.config), tuple(told)))

    @cached_property
    def counts(self) -> dict[TrialStatus, int]:
        """How many trials there are of each status, in the order of `WORDS`."""
        counted = Counter(trial.status for trial in self.trials)
        return {status: counted[status] for status in WORDS}

    @cached_property
    def completed(self) -> list[Trial]:
        """Trials that were completed and keep the limits, by number."""
        keeps = self.config.keeps_limits
        return [t for t in self.trials if t.status is TrialStatus.COMPLETED and keeps(t)]

    @cached_property
    def beyond(self) -> list[Trial]:
        """Trials that were completed and do not keep the limits, by number."""
        keeps = self.config.keeps_limits
        return [t for t in self.trials if t.status is TrialStatus.COMPLETED and not keeps(t)]

    def of_status(self, status: TrialStatus) -> list[Trial]:
        """Trials of one status, by number."""
        return [trial for trial in self.trials if trial.status is status]

    @cached_property
    def best(self) -> Trial | None:
        """The best completed trial that keeps the limits, of the first goal; None without one."""
        ranked = best_first(self.completed, self.config.sign)
        return ranked[0] if ranked else None

    @cached_property
    def front(self) -> list[Trial]:
        """The Pareto front, by number."""
        return pareto_front(self.config, self.trials)

    @cached_property
    def volume(self) -> float | None:
        """Hypervolume of the front from the worst values; None with one goal or without a front."""
        found = front_volume(self.config, self.trials) if self.config.further_goals else None
        return None if found is None else found[0]

    @cached_property
    def improvements(self) -> list[Trial]:
        """Trials that were the best of the first goal when they came."""
        better: list[Trial] = []
        for trial in self.completed:
            gain = self.config.sign * (trial.value or 0.0)
            if not better or gain > self.config.sign * (better[-1].value or 0.0):
                better.append(trial)
        return better

    @cached_property
    def last_activity(self) -> datetime | None:
        """When a trial last began or ended, in local time."""
        times = [t.datetime_complete or t.datetime_start for t in self.trials]
        return max((time for time in times if time is not None), default=None)

    @cached_property
    def typical_duration(self) -> timedelta | None:
        """Median duration of trials that have ended."""
        ended = (t for t in self.trials if t.status in (TrialStatus.COMPLETED, TrialStatus.STOPPED))
        known = [t.duration.total_seconds() for t in ended if t.duration is not None]
        return timedelta(seconds=float(np.median(known))) if known else None

    @cached_property
    def reasons(self) -> list[tuple[str, int]]:
        """Why trials failed and how often, the most frequent first."""
        failed = self.of_status(TrialStatus.FAILED)
        return Counter(trial.reason or "no reason given" for trial in failed).most_common(5)

    @cached_property
    def measured(self) -> list[str]:
        """Names of the metrics with a goal or a limit, which every trial of the front has."""
        return list(dict.fromkeys([*self.config.goals, *self.config.limits]))

    @cached_property
    def metrics(self) -> list[str]:
        """Names of the metrics beside the first one, those of the goals and limits first."""
        named = [*self.config.goals, *self.config.limits]
        found = (name for trial in self.trials for name in trial.metrics)
        return [name for name in dict.fromkeys([*named, *found]) if name != self.config.metric_name]
