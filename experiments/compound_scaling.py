"""Scale a small network up by one number, and compare with scaling one dimension alone.

    python experiments/compound_scaling.py --out scaling.png

First a grid of coefficients is tried at twice the operations; then the best coefficients, and
depth, width and resolution alone, are scaled to 2, 4 and 8 times the operations and trained for
real with several seeds. It takes a few minutes on one core; `--largest 2 --seeds 2` gives a first
look.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from optformer.data.systems.architectures.compound_scaling import (
    Coefficients,
    baseline_flops,
    compound_scaling,
    measure,
)
from optformer.data.systems.architectures.search import run_search


def main() -> None:
    """Search the coefficients, scale, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grid", type=int, default=15, help="trials of the grid")
    parser.add_argument("--largest", type=int, default=3, help="largest compound coefficient phi")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("compound-scaling.png"))
    args = parser.parse_args()

    system = compound_scaling()
    with tqdm(total=args.grid, desc="grid", unit="trial") as bar:
        history = run_search(
            system,
            system.method(system.config, args.grid),
            args.grid,
            seed=0,
            report=lambda _: bar.update(),
        )
    best = max(history, key=lambda trial: trial.value or 0.0)
    found = Coefficients.of(best.params)
    print(
        f"best of the grid: depth x {found.alpha:.2f}, width x {found.beta:.2f}, "
        f"resolution x {found.gamma:.2f}: accuracy {best.value:.3f}"
    )

    ways = {"compound": best.params, **system.known}
    figure = Figure(figsize=(7.0, 4.2), dpi=120, layout="constrained")
    axes = figure.add_subplot(xlabel="operations", ylabel="validation accuracy", xscale="log")
    jobs = [(name, phi) for name in ways for phi in range(args.largest + 1)]
    curves: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
    for name, phi in tqdm(jobs, desc="scaling", unit="network"):
        runs = [measure(ways[name], phi=phi, seed=seed) for seed in range(1, args.seeds + 1)]
        accuracy = [run["accuracy"] for run in runs]
        curves[name].append((runs[0]["cost"], float(np.mean(accuracy)), float(np.std(accuracy))))
    print(f"accuracy at about 1, 2, 4, ... times {baseline_flops()} operations, {args.seeds} seeds")
    for name, curve in curves.items():
        cost, mean, deviation = zip(*curve, strict=True)
        axes.errorbar(cost, mean, yerr=np.array(deviation) / np.sqrt(args.seeds), label=name)
        cells = [f"{m:.3f} ({c / baseline_flops():.1f}x)" for c, m, _ in curve]
        print(f"  {name:18s} " + "  ".join(cells))
    axes.legend(frameon=False)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out)
    print(f"plot: {args.out}")


if __name__ == "__main__":
    main()
