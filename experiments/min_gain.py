"""What `min_gain` of `study.optimize` saves and costs, on functions whose minimum is known.

    python -P experiments/min_gain.py

Each function is searched for sixty trials. The table says where the search would have ended for
several `min_gain`, and what was found until then. Regrets and gains are in units of the distance
from the minimum to the median of the function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import mean

import numpy as np

import optformer as of

TRIALS, SEEDS, IN_A_ROW = 60, 2, 5


def branin(p: Sequence[float]) -> float:
    """Branin's function above its minimum."""
    x, y = 15 * p[0] - 5, 15 * p[1]
    bowl = y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6
    return bowl**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10 - 0.397887


def ackley(p: Sequence[float]) -> float:
    """Ackley's function: many small valleys."""
    z = [8 * (v - 0.37) for v in p]
    waves = sum(math.cos(2 * math.pi * v) for v in z) / len(z)
    distance = math.sqrt(sum(v * v for v in z) / len(z))
    return -20 * math.exp(-0.2 * distance) - math.exp(waves) + 20 + math.e


def rosenbrock(p: Sequence[float]) -> float:
    """Rosenbrock's function: one bent valley."""
    z = [4 * v - 2 for v in p]
    return sum(100 * (b - a**2) ** 2 + (1 - a) ** 2 for a, b in pairwise(z))


def sphere(p: Sequence[float]) -> float:
    """A bowl."""
    return sum((v - 0.6) ** 2 for v in p)


def levy(p: Sequence[float]) -> float:
    """Levy's function: waves on a bowl."""
    w = [1 + (20 * v - 11) / 4 for v in p]
    waves = sum((a - 1) ** 2 * (1 + 10 * math.sin(math.pi * a + 1) ** 2) for a in w[:-1])
    last = (w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2)
    return math.sin(math.pi * w[0]) ** 2 + waves + last


FUNCTIONS: list[tuple[Callable[[Sequence[float]], float], int]] = [
    (branin, 2),
    (ackley, 3),
    (rosenbrock, 2),
    (sphere, 4),
    (levy, 3),
]


def search(
    function: Callable[[Sequence[float]], float], size: int, seed: int
) -> tuple[list[float], list[float]]:
    """Expected improvements and best regrets of a search, trial by trial."""
    points = np.random.default_rng(0).random((500, size))
    median = float(np.median([function(point) for point in points]))
    names = [f"x{index}" for index in range(size)]
    space = of.SearchSpace({name: of.Float(0, 1) for name in names})
    study = of.create_study(space, metric="loss", goal="minimize", seed=seed)
    expected, regrets = [], []
    for _ in range(TRIALS):
        trial = study.suggest()
        prediction = trial.explanation.prediction
        gain = math.inf if prediction is None else prediction.expected_improvement
        expected.append(gain / median)
        study.observe(trial, function([trial.params[name] for name in names]))
        regrets.append(study.best_value / median)
    return expected, regrets


def end(expected: Sequence[float], min_gain: float) -> int:
    """How many trials a search has that ends by `min_gain`."""
    row = 0
    for index, gain in enumerate(expected):
        row = row + 1 if gain < min_gain else 0
        if row == IN_A_ROW:
            return index + 1
    return len(expected)


def main() -> None:
    """Search, and print the table."""
    searches = [search(f, size, seed) for f, size in FUNCTIONS for seed in range(SEEDS)]
    print("| `min_gain` | Trials | Regret |\n|---|---|---|")
    for min_gain in (0.03, 0.01, 0.003, 0.001, 0.0):
        ends = [end(expected, min_gain) for expected, _ in searches]
        found = mean(regrets[last - 1] for (_, regrets), last in zip(searches, ends, strict=True))
        print(f"| {min_gain or 'none'} | {mean(ends):.0f} | {found:.4f} |")


if __name__ == "__main__":
    main()
