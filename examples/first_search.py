"""A first search: ask for a trial, train, tell the result; twenty times.

Run it with `python examples/first_search.py`; it takes about ten seconds on one core.
"""

from __future__ import annotations

import argparse

from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

import optformer as of

SPACE = of.SearchSpace(
    max_depth=of.Int(1, 16, description="maximum depth of a tree"),
    max_features=of.Float(0.05, 1.0, description="share of the features tried at a split"),
    min_samples_leaf=of.Int(1, 64, log=True, description="least samples in a leaf"),
)


def train(max_depth: int, max_features: float, min_samples_leaf: int) -> float:
    """Train once; returns the validation accuracy."""
    inputs, targets = load_breast_cancer(return_X_y=True)
    inputs, held_out, targets, held_out_targets = train_test_split(inputs, targets, random_state=0)
    model = RandomForestClassifier(
        n_estimators=30,
        max_depth=max_depth,
        max_features=max_features,
        min_samples_leaf=min_samples_leaf,
        random_state=0,
    )
    return float(model.fit(inputs, targets).score(held_out, held_out_targets))


def main() -> None:
    """Search, then print the best trial and what the model predicts for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20)
    args = parser.parse_args()

    study = of.create_study(
        SPACE,
        metric="accuracy",
        goal="maximize",
        metadata={"task": "classification", "dataset": "breast cancer", "model": "random forest"},
        seed=0,
    )
    for _ in range(args.trials):
        trial = study.suggest()
        trial = study.observe(trial, train(**trial.params))
        print(f"trial {trial.number}: {trial.value:.4f}  {dict(trial.params)}")
    best = study.best_trial
    print(f"best: trial {best.number}, accuracy {best.value:.4f}")
    prediction = study.predict([best.params])[0]
    print(f"the model expects {prediction.mean:.4f} +- {prediction.std:.4f} there")


if __name__ == "__main__":
    main()
