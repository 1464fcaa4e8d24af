"""Turn benchmark results into a Markdown table and regret curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from optformer.data.errors import StudyError
from optformer.serving.benchmarks import results
from optformer.serving.benchmarks.measures import (
    Array,
    bootstrap_interval,
    incumbents,
    normalised_regret,
    ranks,
    repeat_rate,
)
from optformer.serving.benchmarks.results import RunRecord

BUDGETS = (10, 20, 50)
"""Numbers of trials after which regret and rank are reported."""

_LEGEND = """\
Normalised regret is (best possible - best so far) / (best possible - median), cut to [0, 1]: \
0 is the best point of the task and 1 is no better than its median. The best possible value is \
the table's, or for a live task the best that any run in this folder found. In brackets: 95 % \
bootstrap interval over task and seed. Rank 1 is the best method of a task and seed. Seconds are \
the mean wall-clock time of one suggestion, repeats the share of points that the run had tried \
before. A run whose method failed keeps the best value it had."""


@dataclass(frozen=True)
class MethodScore:
    """One method on one suite.

    Attributes:
        method: Its name.
        version: What produced the results.
        regret: Normalised regret, shape (C, T): cells (a task with a seed) by trials.
        rank: Rank after each budget, shape (budgets, C).
        seconds: Mean wall-clock seconds a suggestion; NaN when it suggested nothing.
        repeats: Mean share of repeated points.
        failed: Runs whose method raised.
    """

    method: str
    version: str
    regret: Array
    rank: Array
    seconds: float
    repeats: float
    failed: int


@dataclass(frozen=True)
class SuiteScore:
    """All methods on one suite under one protocol.

    Attributes:
        protocol: `own-start` or `shared-start-<n>`.
        suite: Its name.
        tasks: Names of the tasks compared.
        seen_in_training: Those of `tasks` that a shipped checkpoint was trained on.
        cells: Number C of cells (a task with a seed) that all methods have.
        left_out: Cells that only some methods have; they count nowhere.
        budgets: Numbers of trials that are reported.
        methods: Best final regret first.
    """

    protocol: str
    suite: str
    tasks: tuple[str, ...]
    seen_in_training: tuple[str, ...]
    cells: int
    left_out: int
    budgets: tuple[int, ...]
    methods: tuple[MethodScore, ...]


def write_report(out: Path) -> str:
    """Write `report.md` and one `regret-<protocol>-<suite>.png` a suite into a results folder.

    Args:
        out: A folder that `run_benchmark` wrote.

    Returns:
        The Markdown text.

    Raises:
        StudyError: The folder holds no run, or a suite no cell that all its methods have.
        StorageError: A file is unreadable; the message names it.
        MissingExtraError: pyarrow is not installed.
    """
    sections = ["# Benchmark report", _LEGEND]
    for score in score_runs(out):
        picture = f"regret-{score.protocol}-{score.suite}.png"
        _draw(score, out / picture)
        sections += [*_section(score), f"![Regret on {score.suite}]({picture})"]
    text = "\n\n".join(sections) + "\n"
    temporary = out / ".report.md"
    temporary.write_text(text)
    temporary.replace(out / "report.md")
    return text


def score_runs(out: Path) -> list[SuiteScore]:
    """Score all runs in a results folder, by protocol and suite; raises as `write_report`."""
    runs = [results.read_run(out, key) for key in results.find_runs(out)]
    if not runs:
        raise StudyError(f"{out} holds no benchmark run; run `optformer benchmark --out {out}`")
    best = _best_gains(out, runs)
    groups: dict[tuple[str, str], list[RunRecord]] = {}
    for run in runs:
        groups.setdefault((run.key.protocol, run.key.suite), []).append(run)
    return [_score_suite(out, group, best) for group in groups.values()]


def _best_gains(out: Path, runs: Sequence[RunRecord]) -> dict[tuple[str, str], float]:
    """Best possible gain of each task: known, or the best that anything found."""
    best: dict[tuple[str, str], float] = {}
    for run in runs:
        at = (run.key.suite, run.key.task)
        reference = results.read_reference(out, *at)
        sign = _sign(reference)
        if reference.optimum is not None:
            best[at] = sign * reference.optimum
            continue
        found = [sign * row.value for row in run.trials if row.value is not None]
        if reference.best_random is not None:
            found.append(sign * reference.best_random)
        best[at] = max([best.get(at, -math.inf), *found])
    return best


def _score_suite(
    out: Path, runs: Sequence[RunRecord], best: dict[tuple[str, str], float]
) -> SuiteScore:
    protocol, suite = runs[0].key.protocol, runs[0].key.suite
    by_method: dict[str, dict[tuple[str, int], RunRecord]] = {}
    for run in runs:
        by_method.setdefault(run.key.method, {})[run.key.task, run.key.seed] = run
    everywhere = set.intersection(*(set(own) for own in by_method.values()))
    cells = sorted(everywhere)
    if not cells:
        raise StudyError(
            f"{suite} ({protocol}): no task and seed has runs of all of {sorted(by_method)}; "
            "finish the benchmark first"
        )
    compared = [own[cell] for own in by_method.values() for cell in cells]
    lengths = [len(run.trials) for run in compared if not run.method_failed]
    length = min(lengths or [max(1, *(len(run.trials) for run in compared))])
    budgets = tuple(b for b in BUDGETS if b <= length) or (length,)

    gains = np.empty((len(by_method), len(cells), length))
    regrets = np.empty_like(gains)
    for j, (task, seed) in enumerate(cells):
        reference = results.read_reference(out, suite, task)
        sign = _sign(reference)
        for i, own in enumerate(by_method.values()):
            values = [row.value for row in own[task, seed].trials]
            gains[i, j] = incumbents(values, sign, length)
            regrets[i, j] = normalised_regret(
                gains[i, j], best[suite, task], sign * reference.median
            )
    rank = np.stack([ranks(gains[:, :, budget - 1]) for budget in budgets])  # (budgets, M, C)

    scores = []
    for i, (method, own) in enumerate(by_method.items()):
        mine = [own[cell] for cell in cells]
        seconds = [
            row.seconds for run in mine for row in run.trials[:length] if row.seconds is not None
        ]
        scores.append(
            MethodScore(
                method=method,
                version=mine[0].version,
                regret=regrets[i],
                rank=rank[:, i],
                seconds=float(np.mean(seconds)) if seconds else math.nan,
                repeats=float(
                    np.mean([repeat_rate([row.params for row in r.trials[:length]]) for r in mine])
                ),
                failed=sum(run.method_failed for run in mine),
            )
        )
    tasks = tuple(dict.fromkeys(task for task, _ in cells))
    return SuiteScore(
        protocol=protocol,
        suite=suite,
        tasks=tasks,
        seen_in_training=tuple(
            task for task in tasks if results.read_reference(out, suite, task).seen_in_training
        ),
        cells=len(cells),
        left_out=len({cell for own in by_method.values() for cell in own} - everywhere),
        budgets=budgets,
        methods=tuple(sorted(scores, key=lambda score: float(score.regret[:, -1].mean()))),
    )


def _sign(reference: results.Reference) -> float:
    return 1.0 if reference.goal == "maximize" else -1.0


def _section(score: SuiteScore) -> list[str]:
    """The Markdown blocks of one suite."""
    length = score.methods[0].regret.shape[1]
    note = f"{len(score.tasks)} tasks, {score.cells} runs a method, {length} trials a run."
    if score.left_out:
        note += f" Left out: {score.left_out} tasks and seeds that not every method has finished."
    if score.seen_in_training:
        note += f" Seen in training: {', '.join(score.seen_in_training)}."
    header = [
        "Method",
        *(f"Regret after {budget}" for budget in score.budgets),
        *(f"Rank after {budget}" for budget in score.budgets),
        "Seconds",
        "Repeats",
        "Failed runs",
        "Version",
    ]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for method in score.methods:
        cells = [f"`{method.method}`"]
        for budget in score.budgets:
            after = method.regret[:, budget - 1]
            low, high = bootstrap_interval(after)
            cells.append(f"{after.mean():.4f} ({low:.4f} to {high:.4f})")
        for place in method.rank:
            low, high = bootstrap_interval(place)
            cells.append(f"{place.mean():.2f} ({low:.2f} to {high:.2f})")
        cells += [
            "" if math.isnan(method.seconds) else f"{method.seconds:.4f}",
            f"{method.repeats:.1%}",
            str(method.failed),
            method.version,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return [f"## {score.suite}, {score.protocol}", note, "\n".join(lines)]


def _draw(score: SuiteScore, path: Path) -> None:
    from matplotlib.figure import Figure  # not pyplot: no global state, no display

    figure = Figure(figsize=(7.0, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for method in score.methods:
        trials = np.arange(1, method.regret.shape[1] + 1)
        limits = np.array([bootstrap_interval(column) for column in method.regret.T])
        (line,) = axes.plot(trials, method.regret.mean(axis=0), label=method.method)
        axes.fill_between(trials, limits[:, 0], limits[:, 1], color=line.get_color(), alpha=0.15)
    axes.set_yscale("log", nonpositive="clip")
    axes.set_xlabel("trials")
    axes.set_ylabel("mean normalised regret")
    axes.set_title(f"{score.suite}, {score.protocol}")
    axes.legend()
    axes.grid(visible=True, which="both", alpha=0.2)
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, format="png", dpi=120)
    temporary.replace(path)
