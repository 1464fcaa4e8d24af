"""Tune a small network in one call, and stop the trainings that begin badly.

Run it with `python examples/stop_early.py`; it takes about twenty seconds on one core.
"""

from __future__ import annotations

import argparse

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import optformer as of

SPACE = of.SearchSpace(
    learning_rate=of.Float(1e-5, 1.0, log=True),
    hidden=of.Ordinal([8, 16, 32, 64, 128], description="units in the hidden layer"),
    weight_decay=of.Float(1e-6, 1.0, log=True),
)
EPOCHS = 20


def train(trial: of.Trial) -> float:
    """Train once, unless it is told to stop; returns the validation accuracy."""
    images, labels = load_digits(return_X_y=True)
    images, held_out, labels, held_out_labels = train_test_split(
        images / 16, labels, train_size=600, random_state=0, stratify=labels
    )
    network = MLPClassifier(
        (trial["hidden"],),
        learning_rate_init=trial["learning_rate"],
        alpha=trial["weight_decay"],
        random_state=0,
    )
    accuracy = 0.0
    for epoch in range(EPOCHS):
        network.partial_fit(images, labels, classes=range(10))
        accuracy = float(network.score(held_out, held_out_labels))
        trial.report(accuracy, epoch)
        if trial.should_prune():
            raise of.TrialPruned
    return accuracy


def main() -> None:
    """Search, then say what was found and what was saved."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--pruner", default="median")
    args = parser.parse_args()

    study = of.create_study(
        SPACE,
        metric="accuracy",
        goal="maximize",
        metadata={"task": "image classification", "dataset": "digits", "model": "perceptron"},
        pruner=args.pruner,
        seed=0,
    )
    study.enqueue({"learning_rate": 0.001, "hidden": 64, "weight_decay": 1e-4})  # what we have
    study.optimize(train, args.trials)
    best = study.best_trial
    print(f"best: trial {best.number}, accuracy {best.value:.4f}, {dict(best.params)}")
    epochs = sum(len(trial.intermediate_values) for trial in study.trials)
    print(f"{epochs} of {EPOCHS * len(study.trials)} epochs were trained")


if __name__ == "__main__":
    main()
