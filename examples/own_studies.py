"""Start from trials that were run before: the rows of a log are told to a new study.

    python examples/own_studies.py --log trials.csv

A row is a trial: a column for each parameter, and `loss`, which is empty where the trial failed.
Without --log the script writes itself one, of random points.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import optformer as of

SPACE = of.SearchSpace(
    learning_rate=of.Float(1e-6, 1.0, log=True),
    dropout=of.Float(0.0, 0.9),
    layers=of.Int(1, 8),
)


def loss(learning_rate: float, dropout: float, layers: int) -> float:
    """A stand-in for an expensive training, which diverges at high learning rates."""
    if learning_rate > 0.3:
        return float("nan")
    return (np.log10(learning_rate) + 3) ** 2 + (dropout - 0.2) ** 2 + abs(layers - 4) / 4


def write_log(path: Path) -> None:
    """Random points and their losses: what somebody may have left behind."""
    rng = np.random.default_rng(0)
    points = [
        {
            "learning_rate": 10 ** rng.uniform(-6, 0),
            "dropout": rng.uniform(0, 0.9),
            "layers": int(rng.integers(1, 9)),
        }
        for _ in range(12)
    ]
    rows = [{**point, "loss": loss(**point)} for point in points]
    pd.DataFrame(rows).to_csv(path, index=False)


def main() -> None:
    """Tell what is known, then go on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log", type=Path, default=None)
    parser.add_argument("--trials", type=int, default=8)
    args = parser.parse_args()
    if args.log is None:
        args.log = Path(tempfile.mkdtemp()) / "trials.csv"
        write_log(args.log)

    study = of.create_study(SPACE, metric="loss", goal="minimize", seed=0)
    for row in pd.read_csv(args.log).to_dict("records"):
        value = row.pop("loss")
        outcome = {"failed": "no loss in the log"} if pd.isna(value) else {"value": value}
        study.observe(row, **outcome)
    print(f"{args.log} tells {len(study.trials)} trials, the best {study.best_trial.value:.4f}")

    for _ in range(args.trials):
        trial = study.suggest()
        study.observe(trial, loss(**trial.params))
    print(f"after {args.trials} more: {study.best_trial.value:.4f}, {study.best_trial.params}")


if __name__ == "__main__":
    main()
