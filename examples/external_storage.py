"""Keep a study in an SQLite file, go on with it later, and read it with Optuna.

Run it twice, or in two terminals at once: both work on one study.

    python examples/external_storage.py --storage sqlite:///kernels.db
    optuna-dashboard sqlite:///kernels.db
"""

from __future__ import annotations

import argparse

import optuna
from sklearn.datasets import load_diabetes
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import optformer as of
from optformer.data.studies.errors import StudyError

NAME = "kernel-ridge"
SPACE = of.SearchSpace(
    alpha=of.Float(1e-6, 10.0, log=True, description="weight decay"),
    gamma=of.Float(1e-5, 10.0, log=True, description="width of the kernel"),
    kernel=of.Categorical(["rbf", "laplacian"]),
)


def error(alpha: float, gamma: float, kernel: str) -> float:
    """Cross-validated mean squared error."""
    inputs, targets = load_diabetes(return_X_y=True)
    model = make_pipeline(StandardScaler(), KernelRidge(alpha=alpha, gamma=gamma, kernel=kernel))
    scores = cross_val_score(model, inputs, targets, scoring="neg_mean_squared_error")
    return float(-scores.mean())


def main() -> None:
    """Open or create the study, add trials, and look at it through Optuna."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10, help="how many more")
    parser.add_argument("--storage", default="sqlite:///kernels.db")
    args = parser.parse_args()

    try:
        study = of.create_study(
            SPACE,
            metric="error",
            goal="minimize",
            metadata={"task": "regression", "dataset": "diabetes", "model": "kernel ridge"},
            storage=args.storage,
            name=NAME,
        )
    except StudyError:  # there is one already
        study = of.load_study(storage=args.storage, name=NAME)
    for _ in range(args.trials):
        trial = study.suggest()  # in the file before it is returned
        study.observe(trial, error(**trial.params))

    stored = optuna.load_study(study_name=NAME, storage=args.storage)
    importances = optuna.importance.get_param_importances(stored)
    print(f"Optuna sees {len(stored.trials)} trials, the best error {stored.best_value:.1f}")
    print("  ".join(f"{name} {share:.2f}" for name, share in importances.items()))


if __name__ == "__main__":
    main()
