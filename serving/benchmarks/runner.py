"""Run methods on suites of tasks and write one result shard a run."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from optformer.data.methods import METHODS
from optformer.data.studies.errors import ConfigError
from optformer.serving.benchmarks import methods, results, suites
from optformer.serving.benchmarks.contamination import tasks_in_training, was_seen
from optformer.serving.benchmarks.results import RunKey, RunRecord
from optformer.serving.benchmarks.runs import (
    ReferenceJob,
    RunJob,
    load_task,
    measure_reference,
    run_job,
)
from optformer.serving.benchmarks.suites import SUITES
from optformer.serving.benchmarks.tasks import Task
from optformer.serving.benchmarks.workers import open_workers


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
        ray: Run on a Ray cluster instead, as many runs at once as it has CPUs.
        shared_start: Number of random initial points, the same for all methods; 0 leaves every
            method its own start.
        batch: Trials that a method is asked for at once and told together.
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
    ray: bool = False
    shared_start: int = 0
    batch: int = 1
    model: Path | None = None

    def __post_init__(self) -> None:
        for field in ("trials", "seeds", "workers", "batch"):
            if getattr(self, field) < 1:
                raise ConfigError(f"{field} must be at least 1, got {getattr(self, field)}")
        if not 0 <= self.shared_start < self.trials:
            raise ConfigError(
                f"shared_start must be at least 0 and below trials={self.trials}, "
                f"got {self.shared_start}"
            )
        if self.batch > self.trials - self.shared_start:
            raise ConfigError(
                f"batch must be at most the {self.trials - self.shared_start} trials that a method "
                f"is asked for, got {self.batch}"
            )
        if self.ray and self.workers != 1:
            raise ConfigError(
                f"workers must be 1 with ray, whose CPUs are the workers, got {self.workers}"
            )
        if not self.suites:
            raise ConfigError(f"suites must name at least one of {SUITES.names()}, got none")
        names = [suites.get_suite(suite).name for suite in self.suites]
        for i, name in enumerate(names):
            if name in names[:i]:
                raise ConfigError(f"suite {name!r} is given twice")
        METHODS.check(self.methods)
        object.__setattr__(self, "methods", [METHODS.current(name) for name in self.methods])

    @property
    def protocol(self) -> str:
        """Folder name of the protocol."""
        start = f"shared-start-{self.shared_start}" if self.shared_start else "own-start"
        return start if self.batch == 1 else f"{start}-batch-{self.batch}"


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


_Task = tuple[str, str]  # the suite as `suites.get_suite` takes it, and the task


def run_benchmark(config: BenchmarkConfig, *, progress: bool = False) -> BenchmarkSummary:
    """Run everything that the output folder does not hold yet.

    A run is written when it ends, by this process. A method that raises ends that run only: its
    shard says so, and a later call tries it again.

    Args:
        config: What to run.
        progress: Show a progress bar on standard error.

    Raises:
        ConfigError: A task's space has fewer points than `config.trials`, or the folder holds a
            run of another version of a method, or of another task of the same name; nothing was
            run. Or a task raised something else than `ObjectiveError`.
        StorageError: A file in the folder is unreadable; the message names it; nothing was run.
        ObjectiveError: A task's median cannot be estimated, or a worker process died.
        MissingExtraError: A suite, method or the workers need a package that is not installed.
        CheckpointError: The model cannot be read.
    """
    for method in config.methods:
        methods.check_available(method, model=config.model)
    tasks = [(suite, task) for suite in config.suites for task in suites.get_suite(suite).tasks()]
    measured: dict[_Task, results.Reference] = {}
    for suite, name in tasks:
        task = load_task(suite, name)
        folder = suites.get_suite(suite).name
        if results.has_reference(config.out, folder, name):
            measured[suite, name] = results.read_reference(config.out, folder, name)
            _check_same(config.out, folder, task, measured[suite, name])
        size = task.config.space.size
        if size is not None and size < config.trials:
            raise ConfigError(
                f"task {suite}/{name} has only {size} points, cannot run trials={config.trials}"
            )
    versions = {name: methods.method_version(name, model=config.model) for name in config.methods}
    jobs, skipped = _open_jobs(config, tasks, versions)
    references = _open_references(config, tasks, measured)
    failed: dict[RunKey, str] = {}
    with (
        open_workers(config.workers, ray=config.ray) as workers,
        tqdm(total=len(jobs), unit="run", disable=not progress) as bar,
    ):
        for reference, found in workers.run(measure_reference, references):
            results.write_reference(config.out, reference.name, reference.task, found)
        for job, rows in workers.run(run_job, jobs):
            key, last = job.key, rows[-1]
            results.write_run(config.out, key, versions[key.method], rows)
            bar.update()
            if last.status == "method-failed":
                failed[key] = str(last.reason)
                if progress:
                    line = f"{key.method} failed on {key.suite}/{key.task}: {last.reason}"
                    bar.write(line, file=sys.stderr)
    return BenchmarkSummary(len(jobs), skipped, failed)


def _open_jobs(
    config: BenchmarkConfig, tasks: Sequence[_Task], versions: Mapping[str, str]
) -> tuple[list[RunJob], int]:
    """The runs that are not there yet, and how many are."""
    there = {key: results.read_run(config.out, key) for key in results.find_runs(config.out)}
    jobs, skipped = [], 0
    for method in config.methods:
        for suite, task in tasks:
            for seed in range(config.seeds):
                key = RunKey(config.protocol, suites.get_suite(suite).name, task, method, seed)
                if key in there and _is_complete(there[key], config, versions[method]):
                    skipped += 1
                    continue
                job = RunJob(
                    key=key,
                    suite=suite,
                    trials=config.trials,
                    shared_start=config.shared_start,
                    batch=config.batch,
                    model=config.model,
                )
                jobs.append(job)
    return jobs, skipped


def _is_complete(run: RunRecord, config: BenchmarkConfig, version: str) -> bool:
    if run.version != version:
        raise ConfigError(
            f"{run.key.path(config.out)} was written by {run.version!r} and {run.key.method!r} is "
            f"now {version!r}; choose another output folder, or delete the old runs of this method"
        )
    return len(run.trials) >= config.trials


def _open_references(
    config: BenchmarkConfig, tasks: Sequence[_Task], measured: Mapping[_Task, results.Reference]
) -> list[ReferenceJob]:
    """The tasks whose reference values are not measured; others may be marked as seen."""
    trained_on = tasks_in_training(config.model)
    jobs = []
    for suite, task in tasks:
        name = suites.get_suite(suite).name
        seen = was_seen(name, task, trained_on)
        there = measured.get((suite, task))
        if there is None:
            jobs.append(ReferenceJob(suite=suite, name=name, task=task, seen_in_training=seen))
        elif seen and not there.seen_in_training:
            now = replace(there, seen_in_training=True)
            results.write_reference(config.out, name, task, now)
    return jobs


def _check_same(out: Path, suite: str, task: Task, there: results.Reference) -> None:
    """Refuse to add runs to those of another task of the same name."""
    pairs: list[tuple[str, object, object]] = [
        ("goal", there.goal, task.config.goal),
        ("optimum", there.optimum, task.optimum),
    ]
    if task.reference is not None:
        pairs.append(("reference", there.median, task.reference))
    if there.study is not None:
        pairs.append(("space, metric or metadata", there.study, task.digest))
    differing = [what for what, before, now in pairs if before != now]
    if differing:
        raise ConfigError(
            f"{out} holds results of another task {suite}/{task.name}: its {differing[0]} was "
            "not the same; choose another output folder"
        )
