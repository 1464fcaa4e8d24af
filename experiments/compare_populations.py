"""Compare population methods with search over fixed values, at equal total steps of training.

Every method trains the same network for the same number of steps in all. Each is paired by seed
with random search over fixed values, whose members are the very ones a population starts from; the
language model searches the same space. Digits is reserved from training data: this only reports.

    python experiments/compare_populations.py --seeds 8 --out populations
    python experiments/compare_populations.py --group progressive --seeds 6 --out populations

It takes some minutes on one core. Runs that are in the output folder are not repeated.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from paired import duel
from tqdm import tqdm

from optformer.data.systems.populations import PopulationRun
from optformer.data.systems.populations.fixed import FixedValues
from optformer.data.systems.populations.partitioned import PartitionedPopulations
from optformer.data.systems.populations.pbt import PopulationBasedTraining
from optformer.data.systems.populations.progressive import ProgressiveLearning
from optformer.data.systems.populations.sessions import AsynchronousSessions
from optformer.data.systems.populations.torch_classifier import TorchClassifier
from optformer.data.systems.populations.torch_images import TorchImageClassifier
from optformer.planning.search_method import model_search

BASELINE = "random"


def networks_and_methods(
    group: str, dataset: str, model: Path | None = None
) -> tuple[Any, int, dict[str, PopulationRun]]:
    """What a group trains, the steps of an interval, and its methods by name."""
    ask_model = partial(model_search, model=model)
    if group == "progressive":
        members, stages, steps = 8, 4, 60
        return (
            partial(TorchImageClassifier, dataset),
            steps,
            {
                BASELINE: FixedValues(members, stages, steps),
                "optformer": FixedValues(members, stages, steps, ask_model),
                "progressive-learning": ProgressiveLearning(members, stages, steps),
                "progressive-learning+optformer": ProgressiveLearning(
                    members, stages, steps, method=ask_model
                ),
            },
        )
    members, intervals, steps = 10, 20, 20
    return (
        partial(TorchClassifier, dataset),
        steps,
        {
            BASELINE: FixedValues(members, intervals, steps),
            "optformer": FixedValues(members, intervals, steps, ask_model),
            "population-based-training": PopulationBasedTraining(members, intervals, steps),
            "asynchronous-sessions": AsynchronousSessions(members, intervals, steps),
            "partitioned-populations": PartitionedPopulations(2, 4, 2, intervals, steps),
        },
    )


def run(method: PopulationRun, make: Any, seed: int, file: Path) -> dict[str, Any]:
    """Run a method, or read what it left: values in order, and the best one's test metric."""
    if not file.exists():
        result = method.run(make, seed)
        network = make()
        network.load(result.checkpoint)
        left = {
            "values": [trial.value for trial in result.trials],
            "best": result.best.value,
            "test": network.test_loss(),
        }
        file.write_text(json.dumps(left))
    return dict(json.loads(file.read_text()))


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    """Markdown: each method beside random search, by seed; lower is better."""
    lines = [
        "| Method | validation loss | test loss | seeds won-lost against random (p) |",
        "|---|---|---|---|",
    ]
    for name, runs in results.items():
        best = np.array([left["best"] for left in runs])
        base = np.array([left["best"] for left in results[BASELINE]])
        test = np.mean([left["test"] for left in runs])
        versus = duel(best, base, -1.0) if name != BASELINE else ""
        lines.append(f"| `{name}` | {best.mean():.4f} | {test:.4f} | {versus} |")
    return "\n".join(lines)


def plot(results: dict[str, list[dict[str, Any]]], steps: int, title: str, file: Path) -> None:
    """Best loss so far against steps trained, the mean over seeds."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, runs in results.items():
        shortest = min(len(left["values"]) for left in runs)
        values = np.array([left["values"][:shortest] for left in runs], dtype=float)
        best = np.fmin.accumulate(values, axis=1).mean(0)
        axes.plot(steps * np.arange(1, shortest + 1), best, label=name)
    axes.set_xlabel("steps of training, all members together")
    axes.set_ylabel("best validation loss so far")
    axes.set_yscale("log")
    axes.set_title(title, loc="left")
    axes.legend()
    figure.savefig(file, dpi=120)


def main() -> None:
    """Run what is missing, then print the table and write it with the curves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--group", choices=("populations", "progressive"), default="populations")
    parser.add_argument("--dataset", default="digits", help="digits, wine, generated, glyphs, ...")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("populations"))
    args = parser.parse_args()

    make, steps, methods = networks_and_methods(args.group, args.dataset)
    runs_folder = args.out / f"{args.group}-{args.dataset}"
    runs_folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in methods}
    with tqdm(total=args.seeds * len(methods), unit="run") as bar:
        for seed in range(args.seeds):
            for name, method in methods.items():
                file = runs_folder / f"{name}-{seed}.json"
                bar.set_description(name)
                results[name].append(run(method, make, seed, file))
                bar.update()
    print(table(results))
    stem = args.out / f"{args.group}-{args.dataset}"
    stem.with_suffix(".md").write_text(table(results) + "\n")
    plot(results, steps, f"{args.group}, {args.dataset}", stem.with_suffix(".png"))


if __name__ == "__main__":
    main()
