"""Run methods on suites of tasks and write one result shard a run."""

from __future__ import annotations

import math
import multiprocessing
import sys
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from optformer.data.errors import (
    CheckpointError,
    ConfigError,
    MissingExtraError,
    ObjectiveError,
)
from optformer.data.parameters import Value
from optformer.serving.benchmarks import results, rivals, suites
from optformer.serving.benchmarks.results import Reference, Row, RunKey, Status
from optformer.serving.benchmarks.seen import tasks_in_training, was_seen

REFERENCE_EVALUATIONS = 200
"""Random points that estimate the median of a task whose space cannot be listed."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """What to run.

    Attributes:
        suites: Suites as `suites.get_suite` takes them.
        methods: Names of methods.
        out: Folder of the results; runs that it already holds are not repeated.
        trials: Trials a run, at least 1.
        seeds: Runs a task and method, with the seeds 0 to `seeds` - 1.
        workers: Processes; 1 runs in this one.
        shared_start: Number of random initial points, the same for all methods; 0 leaves every
            method its own start.
        model: Checkpoint of OptFormer; None is the shipped one.

    Raises:
        ConfigError: A number is out of range, or a name is unknown or given twice.
    """

    suites: Sequence[str]
    methods: Sequence[str]
    out: Path
    trials: int = 50
    seeds: int = 5
    workers: int = 1
    shared_start: int = 0
    model: Path | None = None

    def __post_init__(self) -> None:
        for field in ("trials", "seeds", "workers"):
            if getattr(self, field) < 1:
                raise ConfigError(f"{field} must be at least 1, got {getattr(self, field)}")
        if not 0 <= self.shared_start < self.trials:
            raise ConfigError(
                f"shared_start must be at least 0 and below trials={self.trials}, "
                f"got {self.shared_start}"
            )
        if not self.suites:
            raise ConfigError(f"suites must name at least one of {suites.suite_names()}, got none")
        names = [suites.get_suite(suite).name for suite in self.suites]
        for i, name in enumerate(names):
            if name in names[:i]:
                raise ConfigError(f"suite {name!r} is given twice")
        rivals.check_methods(self.methods)

    @property
    def protocol(self) -> str:
        """Folder name of the protocol."""
        return f"shared-start-{self.shared_start}" if self.shared_start else "own-start"


@dataclass(frozen=True)
class BenchmarkSummary:
    """What a benchmark did.

    Attributes:
        finished: Runs that were written now.
        skipped: Runs that were there already.
        failed: Run to reason, for the runs among `finished` whose method raised.
    """

    finished: int
    skipped: int
    failed: Mapping[RunKey, str]


@dataclass(frozen=True)
class _ReferenceJob:
    suite: str  # as `suites.get_suite` takes it
    task: str
    out: Path
    seen_in_training: bool


@dataclass(frozen=True)
class _Job:
    key: RunKey
    suite: str  # as `suites.get_suite` takes it
    out: Path
    version: str
    trials: int
    shared_start: int
    model: Path | None


def run_benchmark(config: BenchmarkConfig, *, progress: bool = False) -> BenchmarkSummary:
    """Run everything that the output folder does not hold yet.

    A method that raises ends that run only: its shard says so, and a later call tries it again.

    Args:
        config: What to run.
        progress: Show a progress bar on standard error.

    Raises:
        ConfigError: A task's space has fewer points than `config.trials`, or the folder holds a
            run of another version of a method; nothing was run.
        StorageError: A shard in the folder is unreadable; the message names it.
        ObjectiveError: A task's median cannot be estimated, or a worker process died.
        MissingExtraError: A suite or method needs a package that is not installed.
        CheckpointError: The model cannot be read.
    """
    for method in config.methods:
        rivals.check_available(method, model=config.model)
    tasks = [(suite, task) for suite in config.suites for task in suites.get_suite(suite).tasks()]
    for suite, name in tasks:
        size = _task(suite, name).config.space.size
        if size is not None and size < config.trials:
            raise ConfigError(
                f"task {suite}/{name} has only {size} points, cannot run trials={config.trials}"
            )
    jobs, skipped = _open_jobs(config, tasks)
    trained_on = tasks_in_training(config.model)
    references = []
    for suite, task in tasks:
        name = suites.get_suite(suite).name
        if not results.has_reference(config.out, name, task):
            seen = was_seen(name, task, trained_on)
            references.append(_ReferenceJob(suite, task, config.out, seen))
    failed: dict[RunKey, str] = {}
    with tqdm(total=len(jobs), unit="run", disable=not progress) as bar:
        for key, reason in _execute(config, references, jobs):
            bar.update()
            if reason is not None:
                failed[key] = reason
                if progress:
                    line = f"{key.method} failed on {key.suite}/{key.task}: {reason}"
                    bar.write(line, file=sys.stderr)
    return BenchmarkSummary(len(jobs), skipped, failed)


def _open_jobs(config: BenchmarkConfig, tasks: Sequence[tuple[str, str]]) -> tuple[list[_Job], int]:
    jobs, skipped = [], 0
    for method in config.methods:
        version = rivals.method_version(method, model=config.model)
        for suite, task in tasks:
            for seed in range(config.seeds):
                name = suites.get_suite(suite).name
                key = RunKey(config.protocol, name, task, method, seed)
                if _is_complete(key, config, version):
                    skipped += 1
                    continue
                job = _Job(
                    key=key,
                    suite=suite,
                    out=config.out,
                    version=version,
                    trials=config.trials,
                    shared_start=config.shared_start,
                    model=config.model,
                )
                jobs.append(job)
    return jobs, skipped


def _is_complete(key: RunKey, config: BenchmarkConfig, version: str) -> bool:
    path = key.path(config.out)
    if not path.exists():
        return False
    run = results.read_run(config.out, key)
    if run.version != version:
        raise ConfigError(
            f"{path} was written by {run.version!r} and {key.method!r} is now {version!r}; "
            "choose another output folder, or delete the old runs of this method"
        )
    return len(run.trials) >= config.trials


def _execute(
    config: BenchmarkConfig, references: Sequence[_ReferenceJob], jobs: Sequence[_Job]
) -> Iterator[tuple[RunKey, str | None]]:
    if config.workers == 1:
        for reference in references:
            _measure_reference(reference)
        for job in jobs:
            yield job.key, _run_job(job)
        return
    context = multiprocessing.get_context("spawn")  # forking a process with torch threads hangs
    pool = ProcessPoolExecutor(config.workers, mp_context=context, initializer=_use_one_thread)
    try:
        measured = [pool.submit(_measure_reference, reference) for reference in references]
        futures: dict[Future[str | None], RunKey] = {
            pool.submit(_run_job, job): job.key for job in jobs
        }
        for future in measured:
            future.result()
        for done in as_completed(futures):
            yield futures[done], done.result()
    except BrokenProcessPool as error:
        raise ObjectiveError(
            "a worker process died (out of memory?); finished runs are kept, "
            "run the same command again with fewer workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


class _MethodError(Exception):
    """A method raised; the message says what."""


@contextmanager
def _blame_method() -> Iterator[None]:
    """Turn whatever a method raises into `_MethodError`; a broken installation stays what it is."""
    try:
        yield
    except (MissingExtraError, CheckpointError):
        raise
    except Exception as error:  # rivals are foreign code and may raise anything
        raise _MethodError(f"{type(error).__name__}: {error}") from error


def _run_job(job: _Job) -> str | None:
    """Run one method on one task; returns why the method failed, if it did."""
    rows: list[Row] = []
    reason = None
    try:
        for row in _trials(job):
            rows.append(row)
    except _MethodError as error:
        reason = str(error)
        rows.append(Row(len(rows), {}, None, "method-failed", reason, None))
    results.write_run(job.out, job.key, job.version, rows)
    return reason


def _trials(job: _Job) -> Iterator[Row]:
    key = job.key
    task = _task(job.suite, key.task)
    entropy = [key.seed, zlib.crc32(f"{key.suite}/{key.task}".encode())]
    start_seed, method_seed = np.random.SeedSequence(entropy).generate_state(2)
    start_rng = np.random.default_rng(start_seed)
    with _blame_method():
        rival = rivals.create_rival(key.method, task.config, int(method_seed), model=job.model)
    for number in range(job.trials):
        seconds = None
        if number < job.shared_start:
            params = task.config.space.sample(start_rng)
        else:
            began = time.perf_counter()
            with _blame_method():
                params = rival.ask()
            seconds = time.perf_counter() - began
            with _blame_method():  # an illegal point is the method's mistake
                params = task.config.space.validate(params)
        value, reason = _evaluate(task, params)
        status: Status = "failed" if value is None else "completed"
        yield Row(number, params, value, status, reason, seconds)
        with _blame_method():
            rival.tell(params, value)


def _evaluate(task: suites.Task, params: Mapping[str, Value]) -> tuple[float | None, str | None]:
    try:
        value = float(task.evaluate(params))
    except ObjectiveError as error:
        return None, str(error)
    if not math.isfinite(value):
        return None, f"the objective returned {value}"
    return value, None


def _measure_reference(job: _ReferenceJob) -> None:
    task = _task(job.suite, job.task)
    at = f"{suites.get_suite(job.suite).name}/{job.task}"
    goal, optimum = task.config.goal, task.optimum
    if task.reference is not None:
        reference = Reference(goal, task.reference, optimum, None, job.seen_in_training)
    else:
        rng = np.random.default_rng(zlib.crc32(at.encode()))
        values = [
            _evaluate(task, task.config.space.sample(rng))[0] for _ in range(REFERENCE_EVALUATIONS)
        ]
        gains = [-np.inf if v is None else task.config.sign * v for v in values]  # failed is worst
        median = float(np.median(gains))
        if not math.isfinite(median):
            raise ObjectiveError(
                f"task {at}: half of {REFERENCE_EVALUATIONS} random points failed; "
                "its median is unknown and regret cannot be normalised"
            )
        best = task.config.sign * float(np.max(gains))
        reference = Reference(goal, task.config.sign * median, optimum, best, job.seen_in_training)
    results.write_reference(job.out, suites.get_suite(job.suite).name, job.task, reference)


@lru_cache(maxsize=2)
def _task(suite: str, name: str) -> suites.Task:
    return suites.load_task(suite, name)


def _use_one_thread() -> None:
    """Keep the workers from fighting over cores."""
    import torch

    torch.set_num_threads(1)
