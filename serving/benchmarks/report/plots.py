"""The report's pictures: curves of regret, rank and success, and critical differences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from optformer.data.runtime.files import write_atomically
from optformer.data.studies.extras import importing
from optformer.serving.benchmarks.report.scores import SuiteScore
from optformer.serving.benchmarks.report.text import REGRET_LEVELS
from optformer.training.bootstrap import bootstrap_limits

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Colours = Mapping[str, tuple[str, str]]
"""Method to colour and line style."""


def colours(methods: Iterable[str]) -> Colours:
    """A colour and line style for each method, the same in all pictures of a report."""
    names = sorted(set(methods))
    return {
        name: (f"C{i % 10}", ("-", "--", ":")[i // 10 % 3])  # matplotlib's cycle has ten colours
        for i, name in enumerate(names)
    }


def draw_curves(score: SuiteScore, path: Path, shown: Colours) -> None:
    """Draw regret, rank and the share of runs within a regret level against trials."""
    from matplotlib.ticker import LogFormatter, PercentFormatter

    figure = new_figure(10.0, 7.5)
    regret, rank, near, there = figure.subplots(2, 2).flat
    for method in score.methods:
        colour, style = shown[method.method]
        look = {"color": colour, "linestyle": style}
        trials = np.arange(1, score.length + 1)
        regret.plot(trials, method.regret.mean(axis=0), label=method.method, **look)
        if len(score.tasks) > 1:
            low, high = bootstrap_limits(method.regret)
            regret.fill_between(trials, low, high, color=colour, alpha=0.1, linewidth=0)
        rank.plot(trials, method.rank.mean(axis=0), **look)
        for axes, level in zip((near, there), REGRET_LEVELS, strict=True):
            axes.step(trials, (method.runs <= level).mean(axis=0), where="post", **look)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    if any((method.regret > 0).any() for method in score.methods):  # zero has no logarithm
        regret.set_yscale("log", nonpositive="clip")
    regret.yaxis.set_major_formatter(LogFormatter())
    regret.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.5)))
    rank.invert_yaxis()
    labels = ["mean normalised regret", "mean rank"]
    labels += [f"share of runs within regret {level:g}" for level in REGRET_LEVELS]
    for axes, label in zip((regret, rank, near, there), labels, strict=True):
        axes.set_xlabel("trials")
        axes.set_ylabel(label)
        axes.grid(alpha=0.25)
    seen = ", seen in training" if score.seen_in_training else ""
    figure.suptitle(f"{score.suite}, {score.protocol}{seen}: {len(score.tasks)} tasks")
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    save(figure, path)


def draw_critical_difference(score: SuiteScore, path: Path, shown: Colours) -> None:
    """Draw mean ranks after the last trial; a bar joins methods that do not differ.

    Args:
        score: A group with significance tests.
        path: Where to write it.
        shown: Colours.

    Raises:
        MissingExtraError: scikit-posthocs is not installed.
    """
    with importing("the critical-difference diagram", "scikit-posthocs"):
        from scikit_posthocs import critical_difference_diagram
    import pandas as pd

    names = [method.method for method in score.methods]
    test = score.tests[-1]
    figure = new_figure(9.0, 1.0 + 0.25 * len(names))
    axes = figure.add_subplot()
    critical_difference_diagram(
        {method.method: float(method.rank[:, -1].mean()) for method in score.methods},
        pd.DataFrame(test.pairs, index=names, columns=names),
        ax=axes,
        label_fmt_left="{label} ({rank:.2f})",
        label_fmt_right="({rank:.2f}) {label}",
        color_palette={name: shown[name][0] for name in names},
    )
    axes.set_title(
        f"{score.suite}, {score.protocol}: mean rank after {score.length} trials", fontsize="medium"
    )
    save(figure, path)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches."""
    from matplotlib.figure import Figure  # not pyplot: no global state, no display

    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    with write_atomically(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
