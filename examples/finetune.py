"""Teach the model a team's studies, and search the next data set with it.

    python examples/finetune.py --out runs/team

The log is written first: an SQLite file in which Optuna tuned one model on several data sets. With
the default of 150 steps this takes about ten minutes on two cores; `--steps 10` shows the way.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import optuna
from sklearn.datasets import make_classification
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC

import optformer as of
from optformer.serving.cli import main as optformer

SPACE = of.SearchSpace(C=of.Float(1e-3, 1e3, log=True), gamma=of.Float(1e-5, 1e1, log=True))


def accuracy(dataset: int, C: float, gamma: float) -> float:  # noqa: N803
    """Cross-validated accuracy on one of the team's data sets."""
    inputs, targets = make_classification(160, 8, flip_y=0.1, random_state=dataset)
    return float(cross_val_score(SVC(C=C, gamma=gamma), inputs, targets, cv=3).mean())


def write_log(storage: str, studies: int, trials: int) -> None:
    """What the team did until now: searches by Optuna."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for dataset in range(studies):

        def objective(trial: optuna.Trial, dataset: int = dataset) -> float:
            C = trial.suggest_float("C", 1e-3, 1e3, log=True)  # noqa: N806
            return accuracy(dataset, C, trial.suggest_float("gamma", 1e-5, 1e1, log=True))

        study = optuna.create_study(
            study_name=f"svm-{dataset}", storage=storage, direction="maximize"
        )
        study.optimize(objective, n_trials=trials)


def main() -> None:
    """Write the log, fine-tune on it, and search a data set that is not in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--studies", type=int, default=12)
    parser.add_argument("--trials", type=int, default=20, help="trials of a study")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--model", help="start from this checkpoint, not the shipped one")
    args = parser.parse_args()

    args.out.mkdir(parents=True)
    storage, model = f"sqlite:///{args.out / 'optuna.db'}", str(args.out / "model")
    write_log(storage, args.studies, args.trials)
    options = ["--studies", storage, "--out", model, "--steps", str(args.steps)]
    if args.model:
        options += ["--model", args.model]
    if status := optformer(["finetune", *options]):
        raise SystemExit(status)

    study = of.create_study(SPACE, metric="value", goal="maximize", model=model, seed=0)
    for _ in range(5):
        trial = study.suggest()
        trial = study.observe(trial, accuracy(args.studies, **trial.params))
        print(f"trial {trial.number}: accuracy {trial.value:.4f}")


if __name__ == "__main__":
    main()
