"""Write the tables of the result pages, and draw their figures, from docs/results/data.

    python -P docs/assets/results.py                      # after a change of a CSV file or a page
    python -P docs/assets/results.py --folder results     # first read what a benchmark wrote

A page says which table it wants in a comment:

    <!-- table: regret.csv; suite=hpobench; rows=trials; columns=method; value=regret; best=min -->

and the table stands between it and `<!-- end -->`. Parts between semicolons select lines of the
file (COLUMN=VALUE|VALUE), or say what is shown: `rows` and `columns` of a pivot with its `value`,
or `show`, plain columns. `best=min` and `best=max` set the best of every row in bold. `head` gives
columns other names (COLUMN:NAME|COLUMN:NAME). `digits` are those behind the point; without it,
numbers stand as in the file.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

RESULTS = Path(__file__).parents[1] / "results"
DATA = RESULTS / "data"
TABLE = re.compile(r"<!-- table: ([^>]*?) -->\n.*?<!-- end -->", re.DOTALL)
SPECIAL = ("rows", "columns", "value", "show", "best", "head", "digits")

METHODS = {
    "random": "#8a929a",
    "cma-es": "#2a9d6f",
    "gp-3": "#7a5cb8",
    "tpe": "#e0922f",
    "optformer": "#1f6fb4",
}
OURS, TOLD = "optformer", "told everything"
LEGEND: dict[str, Any] = {"frameon": False, "fontsize": 9}
COLORS = METHODS | {
    "gp-ei": "#7a5cb8",
    "no metadata": "#63b3e6",
    "no parameter names": "#c2577b",
    "permuted names": "#8c564b",
    "told everything": "#1f6fb4",
}
BBOB = re.compile(r"f\d+-d\d+-i\d+")


def render(page: str) -> str:
    """The page with every table as its file has it."""

    def filled(found: re.Match[str]) -> str:
        return f"<!-- table: {found[1]} -->\n{table(found[1])}\n<!-- end -->"

    return TABLE.sub(filled, page)


def table(wanted: str) -> str:
    """A table in Markdown, one number a cell."""
    name, *parts = (part.strip() for part in wanted.split(";"))
    options = dict(part.split("=", 1) for part in parts)
    lines = pd.read_csv(DATA / name, dtype=str, keep_default_na=False)
    for column, value in options.items():
        if column not in SPECIAL:
            lines = lines[lines[column].isin(value.split("|"))]
    names = dict(pair.split(":") for pair in options.get("head", "").split("|") if pair)
    digits = int(options["digits"]) if "digits" in options else None
    if "show" in options:
        shown = options["show"].split("|")
        heads, rows = shown, [[*line] for line in lines[shown].to_numpy()]
    else:
        keys = options["rows"].split("|")
        columns = list(dict.fromkeys(lines[options["columns"]]))
        heads, rows = [*keys, *columns], []
        for key, group in lines.groupby(keys, sort=False):
            values = dict(zip(group[options["columns"]], group[options["value"]], strict=True))
            rows.append([*key, *(values.get(column, "") for column in columns)])
    best = {"min": min, "max": max}.get(options.get("best", ""))
    shown_rows = []
    for row in rows:
        cells = [cell(text, digits) for text in row]
        if best:
            top = cell(best((text for text in row[len(keys) :] if text), key=float), digits)
            cells = [
                f"**{text}**" if number >= len(keys) and text == top else text
                for number, text in enumerate(cells)
            ]
        shown_rows.append(cells)
    return markdown([names.get(head, head) for head in heads], shown_rows)


def cell(text: str, digits: int | None) -> str:
    """A number of so many digits without a zero before its point; other text as it is."""
    if digits is not None and re.fullmatch(r"-?\d*\.\d+", text):
        text = f"{float(text):.{digits}f}"
    return re.sub(r"^(-?)0\.", r"\1.", text)


def markdown(heads: list[str], rows: list[list[str]]) -> str:
    """Lines of a table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def read_folder(folder: Path) -> None:
    """Write what a folder of `optformer benchmark` says into the data of the pages.

    Lines of protocols that the folder does not hold stay as they are.
    """
    from optformer.serving.benchmarks.report import score_runs
    from optformer.serving.benchmarks.report.significance import differing
    from optformer.training.bootstrap import bootstrap_limits

    curves, runs, tests = [], [], []
    for score in score_runs(folder):
        if score.seen_in_training:
            continue
        parts = {score.suite: np.ones(len(score.tasks), dtype=bool)}
        if score.suite == "dev":
            bbob = np.array([BBOB.fullmatch(task) is not None for task in score.tasks])
            parts |= {"dev, live models": ~bbob, "dev, BBOB functions": bbob}
        order = list(METHODS)[::-1]
        for method in sorted(score.methods, key=lambda m: order.index(new_name(m.method))):
            at = {
                "protocol": score.protocol,
                "suite": score.suite,
                "method": new_name(method.method),
            }
            for suite, chosen in parts.items():
                low, high = bootstrap_limits(method.regret[chosen])
                means = {
                    "regret": method.regret[chosen].mean(0),
                    "low": low,
                    "high": high,
                    "rank": method.rank[chosen].mean(0),
                }
                for trial in range(score.length):
                    numbers = {key: f"{mean[trial]:.4f}" for key, mean in means.items()}
                    curves.append({**at, "suite": suite, "trials": trial + 1, **numbers})
            runs.append(
                at
                | {
                    "tasks": len(score.tasks),
                    "runs": score.runs,
                    "within_0.1": f"{(method.runs[:, -1] <= 0.1).mean():.2f}",
                    "within_0.01": f"{(method.runs[:, -1] <= 0.01).mean():.2f}",
                    "seconds": f"{method.seconds:.4f}",
                    "repeats": f"{method.repeats:.3f}",
                    "failed_trials": f"{method.failed_trials:.3f}",
                    "failed_runs": method.failed_runs,
                    "version": method.version,
                }
            )
        for test in score.tests:
            ranks = [method.rank[:, test.budget - 1].mean() for method in score.methods]
            for better, worse, p_value in differing(test, ranks):
                tests.append(
                    {
                        "protocol": score.protocol,
                        "suite": score.suite,
                        "trials": test.budget,
                        "better": new_name(score.methods[better].method),
                        "worse": new_name(score.methods[worse].method),
                        "p": f"{max(1, math.ceil(1000 * p_value)) / 1000:.3f}",
                    }
                )
    for name, lines in (("regret", curves), ("runs", runs), ("tests", tests)):
        fresh, kept = pd.DataFrame(lines), pd.read_csv(DATA / f"{name}.csv", dtype=str)
        kept = kept[~kept.protocol.isin(fresh.protocol)]
        pd.concat([fresh, kept]).to_csv(DATA / f"{name}.csv", index=False)


def new_name(method: str) -> str:
    """A method's name of today."""
    from optformer.data.methods.registry import RENAMED

    return RENAMED.get(method, method)


def draw_regret(lines: pd.DataFrame, path: Path) -> None:
    """Mean regret of every method over the trials, and our interval."""
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    axes = figure.add_subplot(xlabel="trials", ylabel="mean regret")
    for method in METHODS:
        curve = lines[lines.method == method]
        if len(curve):
            axes.plot(curve.trials, curve.regret, label=method, **look(method))
    ours = lines[lines.method == OURS]
    axes.fill_between(ours.trials, ours.low, ours.high, color=METHODS[OURS], alpha=0.12, lw=0)
    axes.set_ylim(0.6 * lines.regret.min(), 1.05 * lines.regret.max())
    axes.set_xlim(lines.trials.min(), lines.trials.max())
    finish(axes, log=True)
    axes.legend(*(part[::-1] for part in axes.get_legend_handles_labels()), **LEGEND)
    save(figure, path)


def draw_panels(
    panels: Mapping[str, pd.DataFrame], series: str, value: str, label: str, path: Path
) -> None:
    """Lines over numbers of trials, a panel for each part."""
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    grid = np.atleast_1d(figure.subplots(1, len(panels), sharey=True))
    for axes, (title, part) in zip(grid, panels.items(), strict=True):
        for name, own in part.groupby(series, sort=False):
            axes.plot(own.trials, own[value], marker="o", ms=4, label=name, **look(str(name)))
        axes.set_xlabel("trials")
        axes.set_title(title, fontsize=10)
        finish(axes)
    grid[0].set_ylabel(label)
    if part.trials.max() > 100:
        axes.set_xscale("log")
        axes.set_xticks(part.trials.unique(), [f"{count:,}" for count in part.trials.unique()])
        axes.xaxis.set_minor_locator(NullLocator())
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", **LEGEND)
    save(figure, path)


def look(name: str) -> dict[str, Any]:
    """Color and width of a line."""
    width = 2.4 if name in (OURS, TOLD) else 1.4
    return {"color": COLORS[name], "lw": width}


def finish(axes: Axes, log: bool = False) -> None:
    """A grid, no box, and numbers that one can read."""
    if log:
        axes.set_yscale("log", nonpositive="clip")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def save(figure: Figure, path: Path) -> None:
    """Write a picture that is the same whenever its numbers are."""
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "optformer"}):
        figure.savefig(path, metadata={"Date": None})


def figures() -> Mapping[str, tuple[str, str]]:
    """Protocol and suite of every figure."""
    return {
        "all-suites": ("own-start", "all suites"),
        "hpobench": ("own-start", "hpobench"),
        "hpolib": ("own-start", "hpolib"),
        "nasbench201": ("own-start", "nasbench201"),
        "dev-live": ("own-start", "dev, live models"),
        "dev-bbob": ("own-start", "dev, BBOB functions"),
    }


def main() -> None:
    """Read a folder if there is one, then write tables and draw figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="results of `optformer benchmark`")
    args = parser.parse_args()
    if args.folder:
        read_folder(args.folder)
    for page in sorted(RESULTS.glob("*.md")):
        page.write_text(render(page.read_text(encoding="utf-8")), encoding="utf-8")
    regret = pd.read_csv(DATA / "regret.csv")
    for name, (protocol, suite) in figures().items():
        chosen = regret[(regret.protocol == protocol) & (regret.suite == suite)]
        draw_regret(chosen, RESULTS / f"regret-{name}.svg")
    transfer = pd.read_csv(DATA / "transfer.csv")
    transfer = transfer[(transfer.search != TOLD) | (transfer.searches > 3)]
    spaces = dict(list(transfer.groupby("space", sort=False)))
    draw_panels(spaces, "search", "regret", "mean regret", RESULTS / "transfer.svg")
    timing = {"": pd.read_csv(DATA / "timing.csv", thousands=",")}
    draw_panels(timing, "method", "milliseconds", "milliseconds", RESULTS / "timing.svg")


if __name__ == "__main__":
    main()
