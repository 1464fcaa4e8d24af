"""One run of a benchmark: a method at work on a task; and the reference values of a task.

Everything here is a function of what it is given, so that it can be called in any process.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from optformer.data.runtime.threads import one_thread
from optformer.data.studies.errors import (
    CheckpointError,
    ConfigError,
    MissingExtraError,
    ObjectiveError,
    OptFormerError,
)
from optformer.data.studies.parameters import Value
from optformer.serving.benchmarks import rivals, suites
from optformer.serving.benchmarks.results import Reference, Row, RunKey, Status

REFERENCE_EVALUATIONS = 200
"""Random points that estimate the median of a task whose space cannot be listed."""


@dataclass(frozen=True, kw_only=True)
class RunJob:
    """A run to be played.

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


def play(job: RunJob) -> list[Row]:
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
            for row in _trials(job):
                rows.append(row)
        except _MethodError as error:
            rows.append(Row(len(rows), {}, None, "method-failed", str(error), None))
    return rows


def measure(job: ReferenceJob) -> Reference:
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
    with one_thread():
        values = [_evaluate(job.name, task, point)[0] for point in points]
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
def load_task(suite: str, name: str) -> suites.Task:
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
    except Exception as error:  # rivals are foreign code and may raise anything
        raise _MethodError(f"{type(error).__name__}: {error}") from error


def _trials(job: RunJob) -> Iterator[Row]:
    key = job.key
    task = load_task(job.suite, key.task)
    entropy = [key.seed, zlib.crc32(f"{key.suite}/{key.task}".encode())]
    start_seed, method_seed = np.random.SeedSequence(entropy).generate_state(2)
    start_rng = np.random.default_rng(start_seed)
    with _blame_method():
        rival = rivals.create_rival(key.method, task.config, int(method_seed), model=job.model)
    number = 0
    while number < job.trials:
        if number < job.shared_start:
            points, seconds = [task.config.space.sample(start_rng)], None
        else:
            count = min(job.batch, job.trials - number)
            began = time.perf_counter()
            with _blame_method():
                points = rival.ask(count)
            seconds = (time.perf_counter() - began) / count
            with _blame_method():  # an illegal answer is the method's mistake
                if len(points) != count:
                    raise _MethodError(f"asked for {count} points, it suggested {len(points)}")
                points = [task.config.space.validate(point) for point in points]
        outcomes = [_evaluate(key.suite, task, point) for point in points]
        for point, (value, reason) in zip(points, outcomes, strict=True):
            status: Status = "failed" if value is None else "completed"
            yield Row(number, point, value, status, reason, seconds)
            number += 1
        with _blame_method():
            for point, (value, _) in zip(points, outcomes, strict=True):
                rival.tell(point, value)


def _evaluate(
    suite: str, task: suites.Task, params: Mapping[str, Value]
) -> tuple[float | None, str | None]:
    try:
        value = float(task.evaluate(params))
    except ObjectiveError as error:
        return None, str(error)
    except OptFormerError:
        raise
    except Exception as error:  # the user's code, which may raise anything
        raise ConfigError(
            f"task {suite}/{task.name} raised {type(error).__name__}: {error}, at {dict(params)}; "
            "a trial that fails raises ObjectiveError or returns a value that is not finite"
        ) from error
    if not math.isfinite(value):
        return None, f"the objective returned {value}"
    return value, None
