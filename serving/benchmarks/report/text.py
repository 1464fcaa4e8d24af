"""The report's words and tables, in Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from optformer.serving.benchmarks.measures import Array
from optformer.serving.benchmarks.report.scores import ALL_SUITES, MethodScore, SuiteScore
from optformer.serving.benchmarks.report.significance import LEVEL, MIN_TASKS, differing
from optformer.training.bootstrap import mean

GAUSSIAN_PROCESSES = ("gp", "gp-1", "gp-3", "qlogei")
"""Methods whose best is the one to beat."""

REGRET_LEVELS = (0.1, 0.01)
"""Regrets that count as near the best, and as there."""

HEAD = f"""\
# Benchmark report

Normalised regret is (best possible - best so far) / (best possible - median), cut to [0, 1]: \
0 is the best point of the task and 1 is no better than its median. The best possible value is \
the table's, or for a live task the best that any run in this folder found. Everything is averaged \
over the seeds of a task first: tasks are what intervals and tests count. In brackets: 95 % \
bootstrap interval of the mean over tasks; over a handful of tasks it is coarse, and one task has \
none. Rank 1 is the smallest regret of a task. Significance: Friedman's test over tasks, then \
Nemenyi's for pairs (Wilcoxon's for two methods alone), at {LEVEL:.0%}, from {MIN_TASKS} tasks on. \
Seconds are the mean wall-clock time of one suggestion, repeats the share of points that the run \
had tried before, failed trials the share that gave no value. A run whose method failed keeps the \
best value it had. The lower curves show the share of runs (task and seed) within a regret of \
{REGRET_LEVELS[0]:g} and {REGRET_LEVELS[1]:g}."""


def section(score: SuiteScore, pictures: Sequence[str]) -> list[str]:
    """The Markdown blocks of one group of tasks.

    Args:
        score: The group.
        pictures: File names beside the report.
    """
    seen = ", seen in training" if score.seen_in_training else ""
    blocks = [f"## {score.suite}, {score.protocol}{seen}", _note(score)]
    blocks.append(_budget_table(score, "Mean normalised regret", lambda method: method.regret))
    blocks.append(_budget_table(score, "Mean rank", lambda method: method.rank, digits=2))
    if gap := _gap_table(score):
        blocks.append(gap)
    if score.tests:
        blocks.append(_test_table(score))
    blocks.append(_conduct_table(score))
    return [*blocks, *(f"![{score.suite}, {score.protocol}{seen}]({name})" for name in pictures)]


def _note(score: SuiteScore) -> str:
    note = f"{len(score.tasks)} tasks, {score.runs} runs a method, {score.length} trials a run."
    if score.suite == ALL_SUITES:
        note += " Tasks that a shipped checkpoint was trained on are not among them."
    if score.left_out:
        note += f" Left out: {score.left_out} tasks and seeds that not every method has finished."
    if score.seen_in_training:
        note += f" A shipped checkpoint was trained on these tasks: {', '.join(score.tasks)}."
    return note


def _budget_table(
    score: SuiteScore, what: str, values: Callable[[MethodScore], Array], digits: int = 4
) -> str:
    header = [f"{what} after", *(f"{budget} trials" for budget in score.budgets)]
    rows = [
        [
            f"`{method.method}`",
            *(_mean(values(method)[:, budget - 1], digits) for budget in score.budgets),
        ]
        for method in score.methods
    ]
    return table(header, rows)


def _gap_table(score: SuiteScore) -> str | None:
    """Regret above that of the best Gaussian process, task by task; None without one."""
    processes = [m for m in score.methods if m.method in GAUSSIAN_PROCESSES]
    others = [m for m in score.methods if m.method not in GAUSSIAN_PROCESSES]
    if not processes or not others:
        return None
    best = {
        budget: min(processes, key=lambda m: float(m.regret[:, budget - 1].mean()))
        for budget in score.budgets
    }
    header = ["Regret above the best Gaussian process after"]
    header += [f"{budget} trials (`{best[budget].method}`)" for budget in score.budgets]
    rows = [
        [
            f"`{method.method}`",
            *(
                _mean(method.regret[:, budget - 1] - best[budget].regret[:, budget - 1], sign="+")
                for budget in score.budgets
            ),
        ]
        for method in others
    ]
    return table(header, rows)


def _test_table(score: SuiteScore) -> str:
    names = [f"`{method.method}`" for method in score.methods]
    rows = []
    for test in score.tests:
        places = [float(method.rank[:, test.budget - 1].mean()) for method in score.methods]
        pairs = [
            f"{names[better]} before {names[worse]} ({_p_value(p_value)})"
            for better, worse, p_value in differing(test, places)
        ]
        rows.append([f"{test.budget} trials", _p_value(test.p_value), ", ".join(pairs) or "none"])
    return table(["Significance after", "All alike", "Pairs that differ"], rows)


def _conduct_table(score: SuiteScore) -> str:
    header = ["Method", *(f"Runs within {level:g}" for level in REGRET_LEVELS)]
    header += ["Seconds", "Repeats", "Failed trials", "Failed runs", "Version"]
    rows = [
        [
            f"`{method.method}`",
            *(f"{(method.runs[:, -1] <= level).mean():.0%}" for level in REGRET_LEVELS),
            "" if math.isnan(method.seconds) else f"{method.seconds:.4f}",
            f"{method.repeats:.1%}",
            f"{method.failed_trials:.1%}",
            str(method.failed_runs),
            method.version,
        ]
        for method in score.methods
    ]
    return table(header, rows)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def table_of(rows: Sequence[Mapping[str, str]]) -> str:
    """A Markdown table of rows that map the same headings to cells, at least one."""
    return table(list(rows[0]), [list(row.values()) for row in rows])


def _mean(values: Array, digits: int = 4, sign: str = "") -> str:
    """The mean over tasks with its interval, when there are several."""
    form = f"{sign}.{digits}f"
    return f"{mean(values):{form}}" if len(values) > 1 else f"{values[0]:{form}}"


def _p_value(value: float) -> str:
    return f"p = {value:.3f}" if value >= 0.001 else "p < 0.001"
