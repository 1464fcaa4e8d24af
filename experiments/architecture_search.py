"""Compare an architecture search system with random search and with the language model.

    python experiments/architecture_search.py --system factorized-hierarchy --out architectures

Every trial trains a small network for real. All searches get the same number of trials; the table
and the plot show means over the seeds. With the defaults a system takes a few minutes on one core;
`--trials 6 --seeds 1` gives a first look. `--workers 2` trains in two processes and never waits for
the slower one; the order of events is then no longer repeatable.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
from tqdm import tqdm

import optformer as of
from optformer.data import methods
from optformer.data.systems.architectures.registry import ARCHITECTURES
from optformer.data.systems.architectures.search import run_search
from optformer.planning.search_method import model_search


def compare(args: argparse.Namespace) -> dict[str, list[list[float]]]:
    """Best value so far of every search, name -> seeds x trials."""
    system = ARCHITECTURES[args.system]()
    searches = {
        args.system: lambda: system.method(system.config, args.trials),
        "random": lambda: methods.create("random", system.config),
        "optformer": lambda: model_search(system.config),
    }
    curves: dict[str, list[list[float]]] = {name: [] for name in searches}
    with tqdm(total=len(searches) * args.seeds * args.trials, unit="trial") as bar:
        for seed in range(args.seeds):
            for name, make in searches.items():
                bar.set_description(f"{name}, seed {seed}")
                history = run_search(
                    system,
                    make(),
                    args.trials,
                    seed=seed,
                    workers=args.workers,
                    report=lambda _: bar.update(),
                )
                values = [math.nan if t.value is None else t.value for t in history]
                curves[name].append([float(v) for v in np.fmax.accumulate(values)])
    return curves


def write_report(args: argparse.Namespace, curves: dict[str, list[list[float]]]) -> None:
    """Print a table, and write the plot and the figures."""
    system = ARCHITECTURES[args.system]()
    metric = system.config.metric_name
    final = {name: np.array(runs)[:, -1] for name, runs in curves.items()}
    print(f"\n{args.system}: best {metric} after {args.trials} trials, {args.seeds} seeds")
    for name, best in final.items():
        against = [f"{np.sum(best > final['random'])} seeds above random"]
        if name != args.system:
            against.append(f"{np.sum(best > final[args.system])} above {args.system}")
        print(f"  {name:24s} {best.mean():.4f} +- {best.std():.4f}   {', '.join(against)}")
    known = {name: system.measure(point)[metric] for name, point in system.known.items()}
    for name, value in known.items():
        print(f"  {name + ' (by hand)':24s} {value:.4f}")
    args.out.mkdir(parents=True, exist_ok=True)
    stem = args.out / args.system
    of.plot_comparison(
        {name: list(np.mean(runs, axis=0)) for name, runs in curves.items()},
        goal=system.config.goal,
        metric=metric,
        title=f"{args.system}, mean of {args.seeds} seeds",
        path=f"{stem}.png",
    )
    figures = {"metric": metric, "best_so_far": curves, "by_hand": known}
    Path(f"{stem}.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    print(f"plot: {stem}.png, figures: {stem}.json")


def main() -> None:
    """Read the command line and run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--system", choices=ARCHITECTURES.names(), default="regularized-evolution")
    parser.add_argument("--trials", type=int, default=18, help="trials a search")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--workers", type=int, default=0, help="processes that train; 0 trains in this one"
    )
    parser.add_argument("--out", type=Path, default=Path("architectures"))
    args = parser.parse_args()
    write_report(args, compare(args))


if __name__ == "__main__":
    main()
