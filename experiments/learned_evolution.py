"""Compare the learned evolution strategy with its untrained network, CMA-ES and random search.

Every method minimizes the same held-out functions of the family it was meta-trained on, with the
same number of trials and in generations of the same size; 12 dimensions were not in the training.
The language model searches a few of them too.

    python experiments/learned_evolution.py --functions 20 --trials 120 --out learned-evolution

It takes some minutes on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from paired import duel
from tqdm import tqdm

import optformer as of
from optformer.data.methods import SearchMethod, create
from optformer.data.methods.evolution_strategies.ask_tell import LearnedStrategy
from optformer.data.methods.evolution_strategies.functions import draw_bowls
from optformer.data.methods.evolution_strategies.network import random_weights
from optformer.data.methods.generations import GenerationalMethod, Strategy
from optformer.data.methods.run import run_method
from optformer.planning.search_method import model_search

LEARNED, UNTRAINED, CMA, RANDOM = (
    "learned-evolution",
    "untrained-evolution",
    "relaxed-cma-es",
    "random",
)
MODEL = "optformer"
HELD_OUT = 1_000_000  # seeds from here on were never drawn from in meta-training
FLOOR = 1e-8


class UntrainedEvolution(GenerationalMethod):
    """The learned strategy with the random network that meta-training would start from."""

    def __init__(self, config: of.StudyConfig) -> None:
        super().__init__(config, None, smallest=6)

    def _start(self, dimension: int, rng: np.random.Generator) -> Strategy:
        weights = random_weights(torch.Generator().manual_seed(0))
        return LearnedStrategy(dimension, rng, weights)


def held_out(dimension: int, seed: int) -> tuple[of.StudyConfig, Callable[..., float]]:
    """A member of the family as a study, and its function."""
    generator = torch.Generator().manual_seed(HELD_OUT + 1000 * dimension + seed)
    member = draw_bowls(1, dimension, generator, torch.float64)
    space = of.SearchSpace({f"x{i}": of.Float(0.0, 1.0) for i in range(dimension)})

    def value(params: Mapping[str, Any]) -> float:
        point = torch.tensor([[[float(params[name]) for name in space]]], dtype=torch.float64)
        return float(member(point))

    metadata = {"task": "minimization of a synthetic function"}
    return of.StudyConfig(space, "value", "minimize", metadata), value


def search(
    name: str, dimension: int, seed: int, trials: int, model: Path | None = None
) -> np.ndarray:
    """Decimal logarithm of the best value after each trial, shape (trials,)."""
    config, function = held_out(dimension, seed)
    generation = max(4 + int(3 * np.log(dimension)), 6)
    makers: dict[str, Callable[[], SearchMethod]] = {
        LEARNED: lambda: create("learned-evolution", config),
        UNTRAINED: lambda: UntrainedEvolution(config),
        CMA: lambda: create("relaxed-cma-es", config),
        RANDOM: lambda: create("random", config),
        MODEL: lambda: model_search(config, model),
    }
    method, rng = makers[name](), np.random.default_rng(seed)
    done = run_method(method, config.space, function, trials, lambda _: rng, batch=generation)
    values = [timed.trial.value for timed in done]
    return np.log10(np.minimum.accumulate(values) + FLOOR)


def row(label: str, curves: dict[str, np.ndarray], at: int) -> str:
    """One line: mean logarithm of the best value by method, and the learned strategy's duels."""
    ours = curves[LEARNED][:, at]
    cells = [f"{curves[name][:, at].mean():.2f}" if name in curves else "" for name in METHODS]
    duels = []
    for name in METHODS[1:]:
        if name in curves:
            theirs = curves[name][:, at]
            duels.append(duel(ours[: len(theirs)], theirs, -1.0))
        else:
            duels.append("")
    return f"| {label} | " + " | ".join([*cells, *duels]) + " |"


def plot(curves: dict[int, dict[str, np.ndarray]], path: Path) -> None:
    """Mean logarithm of the best value by trial, a panel for each dimension."""
    figure = Figure(figsize=(3.6 * len(curves), 3.6), layout="constrained")
    panels = figure.subplots(1, len(curves), squeeze=False)[0]
    for axes, (dimension, found) in zip(panels, curves.items(), strict=True):
        for name, curve in found.items():
            x = np.arange(1, curve.shape[1] + 1)
            error = curve.std(0) / np.sqrt(len(curve))
            axes.plot(x, curve.mean(0), label=name)
            axes.fill_between(x, curve.mean(0) - error, curve.mean(0) + error, alpha=0.15)
        axes.set_title(f"{dimension} dimensions", loc="left")
        axes.set_xlabel("trial")
    panels[0].set_ylabel("log10 of the best value")
    panels[0].legend(fontsize=8)
    figure.savefig(path)


METHODS = (LEARNED, UNTRAINED, CMA, RANDOM, MODEL)


def main() -> None:
    """Run the searches, print the table, write the plot."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--functions", type=int, default=20, help="functions a dimension")
    parser.add_argument("--trials", type=int, default=120)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[2, 4, 8, 12])
    parser.add_argument(
        "--model-functions", type=int, default=6, help="functions a dimension for the model"
    )
    parser.add_argument("--out", type=Path, default=Path("learned-evolution"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    counts = dict.fromkeys(METHODS, options.functions) | {MODEL: options.model_functions}
    total = len(options.dimensions) * sum(counts.values())
    curves: dict[int, dict[str, np.ndarray]] = {}
    with tqdm(total=total, unit="search", mininterval=5) as bar:
        for dimension in options.dimensions:
            curves[dimension] = {}
            for name, count in counts.items():
                bar.set_description(f"{dimension} dimensions, {name}", refresh=False)
                found = []
                for seed in range(count):
                    found.append(search(name, dimension, seed, options.trials))
                    bar.update()
                if found:
                    curves[dimension][name] = np.stack(found)
    print("| dimensions, trials | " + " | ".join(METHODS), end=" | ")
    print(" | ".join(f"against {name} (p)" for name in METHODS[1:]), "|")
    print("|---" * (2 * len(METHODS)) + "|")
    for dimension, found in curves.items():
        for at in (options.trials // 2, options.trials):
            print(row(f"{dimension}, {at}", found, at - 1))
    options.out.mkdir(parents=True, exist_ok=True)
    plot(curves, options.out / "learned-evolution.png")


if __name__ == "__main__":
    main()
