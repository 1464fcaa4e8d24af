"""Tune a random forest or a support vector machine on a small data set, and plot the search.

Run it with `python examples/tune_sklearn.py`; it takes about a minute on one core.
"""

from __future__ import annotations

import argparse
from typing import Any

from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import optformer as of

SPACE = of.SearchSpace(
    model=of.Categorical(["forest", "svm"], description="kind of classifier"),
    depth=of.Int(1, 12, when={"model": ["forest"]}, description="maximum depth of a tree"),
    features=of.Float(0.1, 1.0, when={"model": ["forest"]}, description="features tried a split"),
    C=of.Float(1e-3, 1e3, log=True, when={"model": ["svm"]}, description="inverse regularization"),
    gamma=of.Float(1e-5, 1e1, log=True, when={"model": ["svm"]}, description="width of the kernel"),
)


def accuracy(params: dict[str, Any]) -> float:
    """Cross-validated accuracy of one point of the space."""
    if params["model"] == "forest":
        model = RandomForestClassifier(
            n_estimators=30,
            max_depth=params["depth"],
            max_features=params["features"],
            random_state=0,
        )
    else:
        model = make_pipeline(StandardScaler(), SVC(C=params["C"], gamma=params["gamma"]))
    inputs, targets = load_wine(return_X_y=True)
    return float(cross_val_score(model, inputs, targets, cv=5).mean())


def main() -> None:
    """Search, then print and plot what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=25)
    parser.add_argument("--storage", default=None, help="for instance sqlite:///studies.db")
    parser.add_argument("--plot", default=None, help="a .png file for the history")
    args = parser.parse_args()

    study = of.create_study(
        SPACE,
        metric="accuracy",
        goal="maximize",
        metadata={"task": "classification", "dataset": "wine", "library": "scikit-learn"},
        storage=args.storage,
        name="wine",
        seed=0,
    )
    for _ in range(args.trials):
        trial = study.suggest()
        trial = study.observe(trial, accuracy(dict(trial.params)))
        print(f"{trial.number:3d}  {trial.value:.4f}  {dict(trial.params)}")
    best = study.best_trial
    print(f"best: trial {best.number}, accuracy {best.value:.4f}, {dict(best.params)}")
    if args.plot:
        of.plot_history(study, args.plot)


if __name__ == "__main__":
    main()
