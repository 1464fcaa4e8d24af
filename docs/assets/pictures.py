"""Draw the pictures of the home page and of the first tutorial.

    python -P docs/assets/pictures.py

`regret.png` shows all suites of docs/results/data/regret.csv. `response.png` is what the
first tutorial draws.
"""

from __future__ import annotations

import runpy
import tempfile
from contextlib import chdir
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

HERE = Path(__file__).parent
REGRET = HERE.parent / "results" / "data" / "regret.csv"
PAGES = HERE.parents[1] / "tests" / "docs" / "test_pages.py"
NAMES = {
    "random": ("random search", "#8a929a"),
    "cma-es": ("CMA-ES", "#2a9d6f"),
    "tpe": ("Optuna's TPE", "#e0922f"),
    "optformer": ("OptFormer", "#1f6fb4"),
}
BUDGETS = (10, 20, 50)


def main() -> None:
    """Draw both pictures."""
    draw_regret(read_regret(REGRET))
    tutorial = HERE.parent / "tutorials" / "first-search.md"
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        runpy.run_path(str(PAGES))["run_page"](tutorial, Path(folder))
        (HERE / "response.png").write_bytes(Path("response.png").read_bytes())


def read_regret(file: Path) -> dict[str, dict[int, tuple[float, float, float]]]:
    """Mean regret over all tasks and its interval, by method and number of trials."""
    lines = pd.read_csv(file)
    lines = lines[(lines.protocol == "own-start") & (lines.suite == "all suites")]
    found = {}
    for name in NAMES:
        own = lines[(lines.method == name) & lines.trials.isin(BUDGETS)]
        found[name] = {
            int(line.trials): (line.regret, line.low, line.high) for line in own.itertuples()
        }
    return found


def draw_regret(regret: dict[str, dict[int, tuple[float, float, float]]]) -> None:
    """One group of bars a budget."""
    figure = Figure(figsize=(9.0, 2.9), dpi=160, layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / len(NAMES)
    for place, (name, (label, color)) in enumerate(NAMES.items()):
        for group, (mean, low, high) in enumerate(regret[name].values()):
            x = group + (place - (len(NAMES) - 1) / 2) * width
            axes.bar(
                x, mean, 0.9 * width, color=color, zorder=2, label=label if group == 0 else None
            )
            axes.plot([x, x], [low, high], color="#333333", lw=1.1, zorder=3)
            axes.annotate(
                f"{mean:.3f}"[1:],
                (x, high),
                (0, 2),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=8,
                fontweight="bold" if name == "optformer" else "normal",
            )
    budgets = list(next(iter(regret.values())))
    axes.set_xticks(range(len(budgets)), [f"after {count} trials" for count in budgets])
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("mean regret")
    axes.set_title(
        "36 tasks it has not seen: 0 is the best possible point, 1 the median one",
        loc="left",
        fontsize=10,
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25, zorder=0)
    axes.margins(y=0.12)
    axes.legend(frameon=False, fontsize=9, loc="upper right")
    figure.savefig(HERE / "regret.png", pil_kwargs={"optimize": True})


if __name__ == "__main__":
    main()
