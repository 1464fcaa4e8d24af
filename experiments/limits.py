"""Measure the tables of docs/reference/limits.md.

    python experiments/limits.py predictions   # five minutes of one core
    python experiments/limits.py lengths       # two minutes
    python experiments/limits.py memory        # half a minute

`predictions`: of the nine live models of the suite `dev`, what `predict` says of random points
after some random trials. `lengths`: the error on a smooth function as trials pile up beyond what
the decoder reads. `memory`: the first suggestion of a fresh process, for an ordinary and for
extreme spaces.
"""

from __future__ import annotations

import argparse
import math
import resource
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np
from scipy.stats import spearmanr

import optformer as of
from optformer.data.objectives.base import Objective
from optformer.data.objectives.sklearn_tasks import dev_tasks
from optformer.data.studies.errors import ObjectiveError
from optformer.planning.prediction import Prediction

KNOWN = (1, 3, 5, 10, 20, 40)
ASKED, SEEDS = 24, 3
LENGTHS = (16, 32, 64, 128, 256, 512, 1024, 2048)
SPACES = {
    "7 numbers": lambda: {f"x{i}": of.Float(0, 1) for i in range(7)},
    "64 numbers": lambda: {f"x{i}": of.Float(0, 1) for i in range(64)},
    "1 list of 256 words": lambda: {"c": of.Categorical([f"word{i}" for i in range(256)])},
    "3 lists of 256 words": lambda: {
        f"c{k}": of.Categorical([f"word{i}" for i in range(256)]) for k in range(3)
    },
}


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("predictions", "lengths", "memory", "one-space"))
    parser.add_argument("--space", default=next(iter(SPACES)))
    args = parser.parse_args()
    {
        "predictions": predictions,
        "lengths": lengths,
        "memory": memory,
        "one-space": lambda: one_space(args.space),
    }[args.what]()


def predictions() -> None:
    """Coverage and ranking on random points, averaged over tasks and seeds."""
    rows: dict[int, list[list[float]]] = {count: [] for count in KNOWN}
    for objective in dev_tasks():
        for seed in range(SEEDS):
            scores = score(objective, seed)
            for count, row in scores.items():
                rows[count].append(row)
    for count, found in rows.items():
        in_half, in_most, rank = np.nanmean(np.array(found), axis=0)
        print(f"after {count:2d}: in 50 % {in_half:.2f}, in 90 % {in_most:.2f}, rank {rank:.2f}")


def score(objective: Objective, seed: int) -> dict[int, list[float]]:
    """Of one task: shares inside the intervals of 50 and 90 %, and the rank correlation."""
    rng = np.random.default_rng(seed)
    space = objective.config.space
    asked = measured(objective, ASKED, rng)
    study = of.create_study(
        space,
        metric=objective.config.metric,
        goal=objective.config.goal,
        metadata=objective.config.metadata,
        seed=seed,
    )
    found: dict[int, list[float]] = {}
    for point, value in measured(objective, max(KNOWN), rng):
        study.observe(point, value)
        if len(study.trials) in KNOWN:
            told = study.predict([point for point, _ in asked])
            truth = np.array([value for _, value in asked])
            pairs = list(zip(told, truth, strict=True))
            means = np.array([p.mean for p in told])
            rank = spearmanr(means, truth).statistic if np.ptp(means) else math.nan
            found[len(study.trials)] = [
                share_inside(pairs, 0.25, 0.75),
                share_inside(pairs, 0.05, 0.95),
                float(rank),
            ]
    return found


def share_inside(pairs: Sequence[tuple[Prediction, float]], low: float, high: float) -> float:
    """Share of the values between two quantiles of their predictions."""
    return float(np.mean([p.quantiles[low] <= value <= p.quantiles[high] for p, value in pairs]))


def measured(
    objective: Objective, count: int, rng: np.random.Generator
) -> list[tuple[dict[str, object], float]]:
    """Random points whose trials do not fail, with their values."""
    points: list[tuple[dict[str, object], float]] = []
    while len(points) < count:
        point = objective.config.space.sample(rng)
        try:
            value = objective(point)
        except ObjectiveError:
            continue
        if math.isfinite(value):
            points.append((point, value))
    return points


def lengths() -> None:
    """Root mean square error on random points of a smooth function of four parameters."""
    rng = np.random.default_rng(0)
    space = of.SearchSpace({f"x{i}": of.Float(0, 1) for i in range(4)})

    def value(point: dict[str, float]) -> float:
        x = np.array(list(point.values()))
        return float(np.sin(3 * x[0]) + x[1] * x[2] - (x[3] - 0.4) ** 2 + 0.3 * np.cos(4 * x[2]))

    asked = [space.sample(rng) for _ in range(256)]
    truth = np.array([value(point) for point in asked])
    study = of.create_study(space, metric="value", goal="maximize", seed=0)
    for count in range(1, max(LENGTHS) + 1):
        point = space.sample(rng)
        study.observe(point, value(point))
        if count in LENGTHS:
            start = time.perf_counter()
            means = np.array([p.mean for p in study.predict(asked)])
            error = float(np.sqrt(np.mean((means - truth) ** 2)))
            share = error / truth.std()
            seconds = time.perf_counter() - start
            print(f"{count:4d} trials: {error:.4f}, {share:.3f} of the spread, {seconds:.2f} s")


def memory() -> None:
    """Seconds and peak memory of the first suggestion, each in a process of its own."""
    for name in SPACES:
        command: Sequence[str] = [sys.executable, "-P", __file__, "one-space", "--space", name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        print(f"{name}: {done.stdout.strip()}")


def one_space(name: str) -> None:
    """The first suggestion for one space."""
    start = time.perf_counter()
    study = of.create_study(of.SearchSpace(SPACES[name]()), metric="value", goal="maximize", seed=0)
    study.observe(study.suggest(), 0.5)
    study.suggest()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{time.perf_counter() - start:.1f} s, {peak:.0f} MiB")


if __name__ == "__main__":
    main()
