"""Score all runs of a results folder, by protocol and suite.

C counts runs of a method (a task with a seed), K tasks, M methods, T trials.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from optformer.data.studies.errors import StudyError
from optformer.serving.benchmarks import results
from optformer.serving.benchmarks.measures import (
    Array,
    incumbents,
    normalised_regret,
    ranks,
    repeat_rate,
)
from optformer.serving.benchmarks.report.significance import MIN_TASKS, SignificanceTest, compare
from optformer.serving.benchmarks.results import Reference, RunRecord

BUDGETS = (10, 20, 50, 100)
"""Numbers of trials that are reported, beside the runs' last."""

ALL_SUITES = "all suites"

_Task = tuple[str, str]  # suite and name
_Cell = tuple[_Task, int]  # task and seed
_Runs = dict[str, dict[_Cell, RunRecord]]  # by method


@dataclass(frozen=True)
class MethodScore:
    """One method on one group of tasks.

    Attributes:
        method: Its name.
        version: What produced the results.
        runs: Normalised regret of each run, shape (C, T).
        regret: Regret averaged over the seeds of each task, shape (K, T).
        rank: Rank of `regret` among the methods, shape (K, T).
        seconds: Mean wall-clock seconds a suggestion; NaN when it suggested nothing.
        repeats: Mean share of repeated points.
        failed_trials: Share of trials that gave no value.
        failed_runs: Runs whose method raised.
    """

    method: str
    version: str
    runs: Array
    regret: Array
    rank: Array
    seconds: float
    repeats: float
    failed_trials: float
    failed_runs: int


@dataclass(frozen=True)
class SuiteScore:
    """All methods on the tasks of one suite, or of all suites, under one protocol.

    Attributes:
        protocol: `own-start` or `shared-start-<n>`.
        suite: Its name, or `ALL_SUITES`.
        seen_in_training: Whether a shipped checkpoint was trained on these tasks; tasks it saw and
            tasks it did not are never scored together.
        tasks: Names of the tasks compared.
        runs: Number C of runs of each method that are compared.
        left_out: Tasks and seeds that only some methods have finished; they count nowhere.
        budgets: Numbers of trials that are reported.
        methods: Smallest final regret first.
    """

    protocol: str
    suite: str
    seen_in_training: bool
    tasks: tuple[str, ...]
    runs: int
    left_out: int
    budgets: tuple[int, ...]
    methods: tuple[MethodScore, ...]

    @property
    def length(self) -> int:
        """Trials T of every run."""
        return self.budgets[-1]

    @property
    def slug(self) -> str:
        """The group in a file's name."""
        seen = "-seen" if self.seen_in_training else ""
        return f"{self.protocol}-{self.suite.replace(' ', '-')}{seen}"

    @cached_property
    def tests(self) -> tuple[SignificanceTest, ...]:
        """Whether the methods differ after each budget; empty when there is too little to test."""
        if len(self.methods) < 2 or len(self.tasks) < MIN_TASKS:
            return ()
        regret = np.stack([method.regret for method in self.methods])
        return tuple(compare(regret[:, :, budget - 1], budget) for budget in self.budgets)


def score_runs(out: Path) -> list[SuiteScore]:
    """Score all runs in a results folder.

    Returns:
        For each protocol its suites, tasks that a shipped checkpoint was trained on apart, and
        then, when there are several, the other tasks of all suites together.

    Raises:
        StudyError: The folder holds no run, or a suite no task and seed that all its methods have.
        StorageError: A file is unreadable; the message names it.
        MissingExtraError: pyarrow is not installed.
    """
    runs = [results.read_run(out, key) for key in results.find_runs(out)]
    if not runs:
        raise StudyError(f"{out} holds no benchmark run; run `optformer benchmark --out {out}`")
    tasks = sorted({(run.key.suite, run.key.task) for run in runs})
    references = {task: results.read_reference(out, *task) for task in tasks}
    best = _best_gains(runs, references)

    scores = []
    for protocol in dict.fromkeys(run.key.protocol for run in runs):
        groups: dict[tuple[str, bool], _Runs] = {}
        for run in runs:
            if run.key.protocol == protocol:
                task = (run.key.suite, run.key.task)
                group = groups.setdefault((run.key.suite, references[task].seen_in_training), {})
                group.setdefault(run.key.method, {})[task, run.key.seed] = run
        for (suite, seen), group in groups.items():
            scores.append(_score(protocol, suite, seen, group, references, best))
        unseen = [group for (_, seen), group in groups.items() if not seen]
        together = _together(unseen)
        if len(unseen) > 1 and together:
            scores.append(_score(protocol, ALL_SUITES, False, together, references, best))
    return scores


def _best_gains(
    runs: Sequence[RunRecord], references: Mapping[_Task, Reference]
) -> dict[_Task, float]:
    """Best possible gain of each task: known, or the best that anything found."""
    best: dict[_Task, float] = {}
    for run in runs:
        task = (run.key.suite, run.key.task)
        reference = references[task]
        sign = _sign(reference)
        if reference.optimum is not None:
            best[task] = sign * reference.optimum
            continue
        found = [sign * row.value for row in run.trials if row.value is not None]
        if reference.best_random is not None:
            found.append(sign * reference.best_random)
        best[task] = max([best.get(task, -math.inf), *found])
    return best


def _together(suites: Sequence[_Runs]) -> _Runs:
    """The runs of all suites of the methods that every suite has."""
    methods = [name for name in suites[0] if all(name in runs for runs in suites)] if suites else []
    return {
        name: {cell: run for runs in suites for cell, run in runs[name].items()} for name in methods
    }


def _score(
    protocol: str,
    suite: str,
    seen: bool,
    by_method: _Runs,
    references: Mapping[_Task, Reference],
    best: Mapping[_Task, float],
) -> SuiteScore:
    everywhere = set.intersection(*(set(own) for own in by_method.values()))
    cells = sorted(everywhere)
    if not cells:
        raise StudyError(
            f"{suite} ({protocol}): no task and seed has runs of all of {sorted(by_method)}; "
            "finish the benchmark first"
        )
    tasks = list(dict.fromkeys(task for task, _ in cells))
    length = _common_length([own[cell] for own in by_method.values() for cell in cells])

    regrets = np.empty((len(by_method), len(cells), length))
    for j, (task, seed) in enumerate(cells):
        reference = references[task]
        sign = _sign(reference)
        for i, own in enumerate(by_method.values()):
            values = [row.value for row in own[task, seed].trials]
            gains = incumbents(values, sign, length)
            regrets[i, j] = normalised_regret(gains, best[task], sign * reference.median)
    owner = np.array([tasks.index(task) for task, _ in cells])
    by_task = np.stack([regrets[:, owner == k].mean(axis=1) for k in range(len(tasks))], axis=1)
    rank = ranks(by_task)  # (M, K, T)

    scores = [
        _method(method, [own[cell] for cell in cells], regrets[i], by_task[i], rank[i])
        for i, (method, own) in enumerate(by_method.items())
    ]
    return SuiteScore(
        protocol=protocol,
        suite=suite,
        seen_in_training=seen,
        tasks=tuple("/".join(task) if suite == ALL_SUITES else task[1] for task in tasks),
        runs=len(cells),
        left_out=len({cell for own in by_method.values() for cell in own} - everywhere),
        budgets=(*(budget for budget in BUDGETS if budget < length), length),
        methods=tuple(sorted(scores, key=lambda score: float(score.regret[:, -1].mean()))),
    )


def _common_length(runs: Sequence[RunRecord]) -> int:
    """Trials that all runs have, those apart whose method failed."""
    lengths = [len(run.trials) for run in runs if not run.method_failed]
    return min(lengths or [max(1, *(len(run.trials) for run in runs))])


def _method(
    method: str, runs: Sequence[RunRecord], regrets: Array, by_task: Array, rank: Array
) -> MethodScore:
    length = regrets.shape[1]
    rows = [row for run in runs for row in run.trials[:length]]
    seconds = [row.seconds for row in rows if row.seconds is not None]
    points = [[row.params for row in run.trials[:length]] for run in runs]
    return MethodScore(
        method=method,
        version=", ".join(sorted({run.version for run in runs})),
        runs=regrets,
        regret=by_task,
        rank=rank,
        seconds=float(np.mean(seconds)) if seconds else math.nan,
        repeats=float(np.mean([repeat_rate(own) for own in points])),
        failed_trials=sum(row.value is None for row in rows) / max(1, len(rows)),
        failed_runs=sum(run.method_failed for run in runs),
    )


def _sign(reference: Reference) -> float:
    return 1.0 if reference.goal == "maximize" else -1.0
