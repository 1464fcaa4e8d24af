"""Methods that own training runs: what they train, and what they give back.

A trial of a population is one interval of training of one member. Its `metrics` tell where it
stands: `step`, the steps of training behind its weights; `parent`, the number of the trial whose
weights it went on with (absent for fresh weights); `member`, who trained; and what the method adds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np

from optformer.data.studies.errors import ConfigError, ObjectiveError
from optformer.data.studies.parameters import Value, check_count
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial


class Trainable(Protocol):
    """A model in training whose hyperparameters may change between intervals.

    A checkpoint holds all that training goes on from (weights, the optimizer's memory), so any
    instance continues any other's training; randomness comes from the seeds alone.
    """

    @property
    def config(self) -> StudyConfig:
        """The hyperparameters that may change in training, the metric, its goal and metadata."""

    def init(self, seed: int) -> None:
        """Start afresh, with the weights of this seed."""

    def train(self, params: Mapping[str, Value], steps: int, seed: int) -> float:
        """Train on and measure.

        Args:
            params: A legal point of `config.space`.
            steps: Steps of training, at least 1.
            seed: Seed of everything random in these steps.

        Returns:
            The metric afterwards, in its own units and sign.

        Raises:
            ObjectiveError: Training diverged.
        """

    def save(self) -> bytes:
        """The checkpoint."""

    def load(self, checkpoint: bytes) -> None:
        """Go on from a checkpoint of the same kind of model."""


TrainableFactory: TypeAlias = Callable[[], Trainable]
"""Makes a trainable; a class, or a `functools.partial` of one, reaches worker processes too."""

Report: TypeAlias = Callable[[Trial], None]
"""Called with every trial as soon as it has ended, for progress and for logs."""


class PopulationRun(Protocol):
    """A search that trains a population of models; an instance holds settings only."""

    def run(
        self,
        make: TrainableFactory,
        seed: int,
        *,
        workers: int = 0,
        report: Report | None = None,
    ) -> PopulationResult:
        """Train until the budget is spent.

        Args:
            make: Makes what is trained.
            seed: Seed of the whole run, at least 0.
            workers: Processes that train; 0 trains in this one.
            report: Called with each trial as it ends.

        Raises:
            ConfigError: A setting does not fit the trainable's space, or the seed is below 0.
            StudyError: No trial was completed.
        """


@dataclass(frozen=True)
class PopulationResult:
    """What a population came to.

    Attributes:
        trials: One a member and interval, in the order they ended.
        best: The best trial among those that count as results.
        checkpoint: The state of training right after the best trial.
    """

    trials: tuple[Trial, ...]
    best: Trial
    checkpoint: bytes

    @property
    def schedule(self) -> list[Trial]:
        """The trials behind the best one's weights, first to last: its hyperparameters in time."""
        return lineage(self.trials, self.best)


def lineage(trials: tuple[Trial, ...], last: Trial) -> list[Trial]:
    """A trial and those whose weights it went on with, first to last."""
    line = [last]
    while "parent" in line[-1].metrics:
        line.append(trials[int(line[-1].metrics["parent"])])
    return line[::-1]


@dataclass(frozen=True)
class Session:
    """One interval of training, complete: whoever trains it needs to know nothing else.

    Attributes:
        checkpoint: Where to go on from; None starts afresh.
        init_seed: Seed of fresh weights.
        params: Hyperparameters of the interval.
        steps: Steps of training.
        seed: Seed of everything random in these steps.
    """

    checkpoint: bytes | None
    init_seed: int
    params: Mapping[str, Value]
    steps: int
    seed: int


@dataclass(frozen=True)
class SessionOutcome:
    """What became of a session: a checkpoint with its value, or the reason why there is none."""

    checkpoint: bytes | None = None
    value: float | None = None
    reason: str | None = None


def train_session(trainable: Trainable, session: Session) -> SessionOutcome:
    """Train one session; training that diverges is an outcome without a checkpoint."""
    if session.checkpoint is None:
        trainable.init(session.init_seed)
    else:
        trainable.load(session.checkpoint)
    try:
        value = float(trainable.train(dict(session.params), session.steps, session.seed))
    except ObjectiveError as error:
        return SessionOutcome(reason=str(error))
    if not math.isfinite(value):
        return SessionOutcome(reason=f"the metric is {value}")
    return SessionOutcome(trainable.save(), value)


def seed_of(*parts: int) -> int:
    """A seed that follows from whole numbers of at least 0, different for different ones.

    Raises:
        ConfigError: One is below 0, or no whole number.
    """
    for part in parts:
        check_count("seed", part)
    # The count comes first because a seed sequence does not tell (1,) from (1, 0).
    return int(np.random.SeedSequence((len(parts), *parts)).generate_state(1)[0])


def rng_of(*parts: int) -> np.random.Generator:
    """A generator seeded by whole numbers of at least 0."""
    return np.random.default_rng(seed_of(*parts))


def check_at_least(least: int, **settings: int) -> None:
    """Raise `ConfigError` for a setting below `least`."""
    for name, value in settings.items():
        if value < least:
            raise ConfigError(f"{name} must be at least {least}, got {value}")
