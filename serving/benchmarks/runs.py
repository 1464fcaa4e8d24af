"""One run of a benchmark: a method at work on a task; and the reference values of a task.

Everything here is a function of what it is given, so that it can be called in any process.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from optformer.data.methods import SearchMethod
from optformer.data.methods.run import TimedTrial, evaluate_trial, run_method
from optformer.data.runtime.threads import one_thread
from optformer.data.studies.errors import (
    CheckpointError,
    ConfigError,
    MissingExtraError,
    ObjectiveError,
    OptFormerError,
)
from optformer.data.studies.parameters import Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.trials import Trial
from optformer.serving.benchmarks import suites
from optformer.serving.benchmarks.methods import create_method
from optformer.serving.benchmarks.results import Reference, Row, RunKey, Status
from optformer.serving.benchmarks.tasks import Evaluate, Task

REFERENCE_EVALUATIONS = 200
"""Random points that estimate the median of a task whose space cannot be listed."""


@dataclass(frozen=True, kw_only=True)
class RunJob:
    """A run to be made.

    Attributes:
        key: Which run.
        suite: The suite as `suites.get_suite` takes it.
        trials: Trials of the run.
        shared_start: How many of them are random initial points, the same for all methods.
        batch: Trials asked for at once and told together.
        model: Checkpoint of OptFormer; None is the shipped one.
    """

    key: RunKey
    suite: str
    trials: int
    shared_start: int
    batch: int
    model: Path | None


@dataclass(frozen=True, kw_only=True)
class ReferenceJob:
    """A task whose reference values are to be measured.

    Attributes:
        suite: The suite as `suites.get_suite` takes it.
        name: The suite's name.
        task: Name of the task.
        seen_in_training: Whether the checkpoint was trained on it.
    """

    suite: str
    name: str
    task: str
    seen_in_training: bool


def run_job(job: RunJob) -> list[Row]:
    """Run one method on one task.

    Returns:
        One row a trial; a last one that says why, when the method raised.

    Raises:
        MissingExtraError: The method needs a package that is not installed.
        CheckpointError: The model cannot be read.
    """
    rows: list[Row] = []
    with one_thread():
        try:
            for done in _trials(job):
                rows.append(_row(done))
        except _MethodError as error:
            rows.append(Row(len(rows), {}, None, "method-failed", str(error), None))
    return rows


def measure_reference(job: ReferenceJob) -> Reference:
    """Find what normalises a task's regret.

    Raises:
        ObjectiveError: Half of all random points failed.
    """
    task = load_task(job.suite, job.task)
    goal, sign, seen = task.config.goal, task.config.sign, job.seen_in_training
    if task.reference is not None:
        return Reference(goal, task.reference, task.optimum, None, seen, task.digest)
    at = f"{job.name}/{job.task}"
    rng = np.random.default_rng(zlib.crc32(at.encode()))
    points = [task.config.space.sample(rng) for _ in range(REFERENCE_EVALUATIONS)]
    evaluate = _evaluating(job.name, task)
    with one_thread():
        values = [evaluate_trial(evaluate, Trial(0, point)).value for point in points]
    gains = [-np.inf if value is None else sign * value for value in values]  # failed is worst
    median = float(np.median(gains))
    if not math.isfinite(median):
        raise ObjectiveError(
            f"task {at}: half of {REFERENCE_EVALUATIONS} random points failed; "
            "its median is unknown and regret cannot be normalised; give the task a reference"
        )
    best = sign * float(np.max(gains))
    return Reference(goal, sign * median, task.optimum, best, seen, task.digest)


@lru_cache(maxsize=2)
def load_task(suite: str, name: str) -> Task:
    """A task, kept for the runs that follow on it; raises as `suites.load_task`."""
    return suites.load_task(suite, name)


class _MethodError(Exception):
    """A method raised; the message says what."""


@contextmanager
def _blame_method() -> Iterator[None]:
    """Turn whatever a method raises into `_MethodError`; a broken installation stays what it is."""
    try:
        yield
    except (MissingExtraError, CheckpointError, _MethodError):
        raise
    except Exception as error:  # methods are foreign code, too, and may raise anything
        raise _MethodError(f"{type(error).__name__}: {error}") from error


class _Watched:
    """A method whose mistakes are told apart from those of the task."""

    def __init__(self, method: SearchMethod, space: SearchSpace) -> None:
        self._method, self._space = method, space

    def suggest(
        self, history: Sequence[Trial], count: int, rng: np.random.Generator
    ) -> list[dict[str, Value]]:
        with _blame_method():
            points = self._method.suggest(history, count, rng)
            if len(points) != count:
                raise _MethodError(f"asked for {count} points, it suggested {len(points)}")
            return [self._space.validate(point) for point in points]


def _trials(job: RunJob) -> Iterator[TimedTrial]:
    key = job.key
    task = load_task(job.suite, key.task)
    space = task.config.space
    entropy = [key.seed, zlib.crc32(f"{key.suite}/{key.task}".encode())]
    start_seed, method_seed = map(int, np.random.SeedSequence(entropy).generate_state(2))
    with _blame_method():
        method = create_method(key.method, task.config, method_seed, model=job.model)
    rng, start_rng = np.random.default_rng(method_seed), np.random.default_rng(start_seed)
    return run_method(
        _Watched(method, space),
        space,
        _evaluating(key.suite, task),
        job.trials,
        lambda _: rng,
        given=[space.sample(start_rng) for _ in range(job.shared_start)],
        batch=job.batch,
    )


def _row(done: TimedTrial) -> Row:
    trial = done.trial
    status: Status = "completed" if trial.has_value else "failed"
    return Row(trial.number, trial.params, trial.value, status, trial.reason, done.suggesting)


def _evaluating(suite: str, task: Task) -> Evaluate:
    """The task's objective, with a word on whose it is when it raises what it should not."""

    def evaluate(params: Mapping[str, Value]) -> float:
        try:
            return float(task.evaluate(params))
        except OptFormerError:
            raise
        except Exception as error:  # the user's code, which may raise anything
            raise ConfigError(
                f"task {suite}/{task.name} raised {type(error).__name__}: {error}, at "
                f"{dict(params)}; a trial that fails raises ObjectiveError or returns a value that "
                "is not finite"
            ) from error

    return evaluate
