"""Members of a population, and the record of what they did."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from optformer.data.studies.errors import StudyError
from optformer.data.studies.parameters import Value
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.data.systems.populations.base import (
    PopulationResult,
    Report,
    Session,
    SessionOutcome,
    rng_of,
    seed_of,
)


@dataclass
class Member:
    """A model in training: weights, hyperparameters, and how good it is.

    Attributes:
        params: Hyperparameters of its next interval.
        init_seed: Seed of its weights as long as there is no checkpoint.
        checkpoint: Its weights and the optimizer's memory; None before any training.
        step: Steps of training behind the checkpoint.
        parent: Number of the trial that left the checkpoint.
        scores: Values of the weights' line of training, larger is better, the newest last;
            minus infinity for an interval that failed.
        since_ready: Steps trained since the member was last ready to exploit.
    """

    params: dict[str, Value]
    init_seed: int
    checkpoint: bytes | None = None
    step: int = 0
    parent: int | None = None
    scores: list[float] = field(default_factory=list)
    since_ready: int = 0

    @property
    def score(self) -> float:
        """The newest score."""
        return self.scores[-1]

    @property
    def failed(self) -> bool:
        """Whether the newest interval failed."""
        return self.score == -math.inf

    def session(self, steps: int, seed: int) -> Session:
        """The next interval, to be trained by anyone."""
        return Session(self.checkpoint, self.init_seed, dict(self.params), steps, seed)

    def inherit(self, other: Member) -> None:
        """Take over another's weights, hyperparameters and past."""
        self.params = dict(other.params)
        self.init_seed = other.init_seed
        self.checkpoint = other.checkpoint
        self.step = other.step
        self.parent = other.parent
        self.scores = list(other.scores)

    def snapshot(self) -> Member:
        """The member as it is now."""
        return replace(self, params=dict(self.params), scores=list(self.scores))


def new_member(config: StudyConfig, seed: int, index: int) -> Member:
    """The member of this index at the start: the same in every method, for fair comparisons."""
    return Member(config.space.sample(rng_of(seed, index), config.fixed), seed_of(seed, index))


class Record:
    """Trials in the order they end, and the checkpoint of the best.

    Args:
        config: The study of the trainable.
        report: Called with each trial.
    """

    def __init__(self, config: StudyConfig, report: Report | None):
        self._sign = config.sign
        self._report = report
        self._trials: list[Trial] = []
        self._best: tuple[Trial, bytes] | None = None

    def add(
        self,
        member: Member,
        outcome: SessionOutcome,
        steps: int,
        facts: Mapping[str, float],
        *,
        counts: bool = True,
    ) -> Trial:
        """Write down an interval and bring the member up to date.

        Args:
            member: Who trained; it gets the new checkpoint, unless the interval failed.
            outcome: What became of the interval.
            steps: Steps of the interval.
            facts: More metrics of the trial.
            counts: Whether the trial may be the result.
        """
        metrics = {"step": float(member.step + steps), **facts}
        if member.parent is not None:
            metrics["parent"] = float(member.parent)
        trial = Trial(len(self._trials), member.params, metrics=metrics)
        member.since_ready += steps
        if outcome.value is None or outcome.checkpoint is None:
            trial = trial.fail(outcome.reason or "no value")
            member.scores.append(-math.inf)
        else:
            trial = trial.finish(outcome.value, metrics=metrics)
            member.checkpoint = outcome.checkpoint
            member.step += steps
            member.parent = trial.number
            member.scores.append(self._sign * outcome.value)
            if counts and (self._best is None or member.score > self._score(self._best[0])):
                self._best = trial, outcome.checkpoint
        self._trials.append(trial)
        if self._report is not None:
            self._report(trial)
        return trial

    def result(self) -> PopulationResult:
        """All trials and the best.

        Raises:
            StudyError: No trial was completed.
        """
        if self._best is None:
            reasons = sorted({trial.reason for trial in self._trials if trial.reason})
            raise StudyError(
                f"none of {len(self._trials)} trials was completed, so there is no best member; "
                f"reasons: {reasons[:3]}"
            )
        return PopulationResult(tuple(self._trials), *self._best)

    def _score(self, trial: Trial) -> float:
        return -math.inf if trial.value is None else self._sign * trial.value
