"""What asking for trials in batches costs: batches beside the same method one trial at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from optformer.serving.benchmarks.methods import sequential_twin
from optformer.serving.benchmarks.report import plots, text
from optformer.serving.benchmarks.report.scores import SuiteScore
from optformer.training.bootstrap import Array, mean, ratio

_NOTE = (
    "A batch's trials are asked for at once and told together. In brackets beside a regret: its "
    "interval; behind it the ratio to the same method asked for one trial at a time, with the "
    "interval of the ratio, over {tasks} tasks. The modes of OptFormer that differ only in what "
    "they do with pending trials are one method when trials come one at a time."
)


@dataclass(frozen=True)
class BatchScore:
    """One suite under one protocol, by the number of trials in a batch.

    Attributes:
        protocol: How runs start: `own-start` or `shared-start-<n>`.
        suite: Name of the suite.
        slug: Both in a file's name.
        tasks: How many tasks all sizes share.
        length: Trials that are compared.
        regret: Size (1 for sequential) to method to normalised regret, shape (K, T).
    """

    protocol: str
    suite: str
    slug: str
    tasks: int
    length: int
    regret: Mapping[int, Mapping[str, Array]]

    @property
    def methods(self) -> list[str]:
        """The methods that were asked for batches, best of the smallest batches first."""
        names = {name for size, own in self.regret.items() if size > 1 for name in own}
        sizes = sorted(size for size in self.regret if size > 1)

        def final(name: str) -> float:
            found = next(self.regret[size][name] for size in sizes if name in self.regret[size])
            return float(found[:, -1].mean())

        return sorted(names, key=lambda name: (final(name), name))

    def sequential(self, method: str) -> Array | None:
        """The method asked for one trial at a time, (K, T); None when it was not run so."""
        alone = self.regret.get(1, {})
        return alone.get(method, alone.get(sequential_twin(method)))


def batch_scores(scores: Sequence[SuiteScore]) -> list[BatchScore]:
    """The suites that have runs in batches, with their sequential runs where there are any."""
    groups: dict[tuple[str, str, bool], dict[int, SuiteScore]] = {}
    for score in scores:
        start, _, count = score.protocol.partition("-batch-")
        group = groups.setdefault((start, score.suite, score.seen_in_training), {})
        group[int(count or 1)] = score
    found = []
    for (start, suite, seen), by_size in groups.items():
        shared = set.intersection(*(set(score.tasks) for score in by_size.values()))
        if set(by_size) == {1} or not shared:
            continue
        length = min(score.length for score in by_size.values())
        regret: dict[int, dict[str, Array]] = {}
        for size, score in sorted(by_size.items()):
            rows = [i for i, task in enumerate(score.tasks) if task in shared]
            regret[size] = {m.method: m.regret[rows, :length] for m in score.methods}
        slug = f"{start}-{suite.replace(' ', '-')}{'-seen' if seen else ''}"
        found.append(BatchScore(start, suite, slug, len(shared), length, regret))
    return found


def section(score: BatchScore, picture: str) -> list[str]:
    """The Markdown blocks of one suite.

    Args:
        score: The suite.
        picture: File name beside the report.
    """
    header = [f"Mean normalised regret after {score.length} trials"]
    header += ["one at a time" if size == 1 else f"batches of {size}" for size in score.regret]
    rows = []
    for method in score.methods:
        alone = score.sequential(method)
        cells = [f"`{method}`"]
        for size, own in score.regret.items():
            values = alone if size == 1 else own.get(method)
            cells.append(_cell(values, None if size == 1 else alone))
        rows.append(cells)
    title = f"## {score.suite}, {score.protocol}: batches"
    note = _NOTE.format(tasks=score.tasks)
    return [title, note, text.table(header, rows), f"![{score.suite}, batches]({picture})"]


def draw(score: BatchScore, path: Path, shown: plots.Colours) -> None:
    """Draw regret against trials, a panel a batch size; thin lines are one trial at a time."""
    from matplotlib.ticker import LogFormatter

    sizes = [size for size in score.regret if size > 1]
    figure = plots.new_figure(5.0 * len(sizes) + 1.5, 4.0)
    panels = figure.subplots(1, len(sizes), sharey=True, squeeze=False)[0]
    trials = np.arange(1, score.length + 1)
    for size, axes in zip(sizes, panels, strict=True):
        for method, regret in sorted(score.regret[size].items()):
            colour, style = shown[method]
            axes.plot(trials, regret.mean(axis=0), color=colour, linestyle=style, label=method)
            alone = score.sequential(method)
            if alone is not None:
                axes.plot(trials, alone.mean(axis=0), color=colour, linewidth=0.7, alpha=0.5)
        axes.set_title(f"batches of {size}", fontsize="medium")
        axes.set_xlabel("trials")
        axes.set_yscale("log", nonpositive="clip")
        axes.yaxis.set_major_formatter(LogFormatter())
        axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.5)))
        axes.grid(alpha=0.25)
    panels[0].set_ylabel("mean normalised regret")
    figure.suptitle(f"{score.suite}, {score.protocol}: {score.tasks} tasks")
    handles = {h.get_label(): h for axes in panels for h in axes.get_legend_handles_labels()[0]}
    figure.legend(
        handles.values(), handles, loc="outside right upper", frameon=False, fontsize="small"
    )
    plots.save(figure, path)


def _cell(values: Array | None, alone: Array | None) -> str:
    if values is None:
        return ""
    last = values[:, -1]
    several = len(last) > 1
    shown = f"{mean(last):.4f}" if several else f"{last[0]:.4f}"
    if alone is None or not alone[:, -1].any():
        return shown
    times = ratio(last, alone[:, -1])
    return f"{shown}, x {times:.2f}" if several else f"{shown}, x {times.value:.2f}"
