"""`OptFormerSearchCV` beside scikit-learn's random search and Optuna's TPE, at equal `n_iter`.

Six estimators on digits and diabetes, the data sets that no training has seen. All methods get the
same candidates' ranges, folds and number of candidates.

    python experiments/sklearn_search.py results
"""

from __future__ import annotations

import argparse
import csv
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import loguniform, randint, uniform
from sklearn.datasets import load_diabetes, load_digits
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import RandomizedSearchCV, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import optformer

FOLDS = 3
BUDGETS = (3, 5, 10, 20)


def tasks() -> dict[str, tuple[Any, dict[str, Any], Any, Any, str]]:
    """Name to estimator, ranges, inputs, targets and score."""
    images, digits = load_digits(return_X_y=True)
    images, digits = images[:500], digits[:500]
    patients, progression = load_diabetes(return_X_y=True)
    forest = {
        "n_estimators": randint(3, 51),
        "max_depth": randint(1, 17),
        "min_samples_leaf": randint(1, 31),
        "max_features": uniform(0.05, 0.95),
    }
    return {
        "svm-digits": (
            make_pipeline(StandardScaler(), SVC()),
            {"svc__C": loguniform(1e-3, 1e3), "svc__gamma": loguniform(1e-6, 1e1)},
            *(images, digits, "accuracy"),
        ),
        "extra-trees-digits": (
            ExtraTreesClassifier(random_state=0),
            {**forest, "criterion": ["gini", "entropy"]},
            *(images, digits, "neg_log_loss"),
        ),
        "perceptron-digits": (
            make_pipeline(StandardScaler(), MLPClassifier(max_iter=20, random_state=0)),
            {
                "mlpclassifier__hidden_layer_sizes": [(4,), (8,), (16,), (32,), (64,)],
                "mlpclassifier__learning_rate_init": loguniform(1e-4, 1),
                "mlpclassifier__alpha": loguniform(1e-6, 10),
                "mlpclassifier__batch_size": [8, 16, 32, 64],
                "mlpclassifier__activation": ["relu", "tanh", "logistic"],
            },
            *(images, digits, "accuracy"),
        ),
        "boosting-diabetes": (
            HistGradientBoostingRegressor(early_stopping=False, random_state=0),
            {
                "learning_rate": loguniform(1e-3, 1),
                "max_iter": randint(5, 61),
                "max_depth": randint(1, 9),
                "min_samples_leaf": randint(2, 81),
                "l2_regularization": loguniform(1e-4, 1e3),
            },
            *(patients, progression, "r2"),
        ),
        "kernel-ridge-diabetes": (
            make_pipeline(StandardScaler(), KernelRidge()),
            [
                {
                    "kernelridge__kernel": ["rbf", "laplacian"],
                    "kernelridge__alpha": loguniform(1e-4, 1e3),
                    "kernelridge__gamma": loguniform(1e-5, 10),
                },
                {
                    "kernelridge__kernel": ["polynomial"],
                    "kernelridge__alpha": loguniform(1e-4, 1e3),
                    "kernelridge__gamma": loguniform(1e-5, 10),
                    "kernelridge__degree": randint(1, 6),
                    "kernelridge__coef0": uniform(0, 2),
                },
            ],
            *(patients, progression, "neg_root_mean_squared_error"),
        ),
        "forest-diabetes": (
            RandomForestRegressor(random_state=0),
            forest,
            *(patients, progression, "r2"),
        ),
    }


def by_random_search(task: tuple[Any, ...], count: int, seed: int) -> list[float]:
    """Scores of scikit-learn's own search."""
    estimator, ranges, inputs, targets, scoring = task
    search = RandomizedSearchCV(
        estimator, ranges, n_iter=count, cv=FOLDS, scoring=scoring, random_state=seed, refit=False
    )
    return list(search.fit(inputs, targets).cv_results_["mean_test_score"])


def by_model(task: tuple[Any, ...], count: int, seed: int) -> list[float]:
    """Scores of the model's candidates."""
    estimator, ranges, inputs, targets, scoring = task
    search = optformer.OptFormerSearchCV(
        estimator, ranges, n_iter=count, cv=FOLDS, scoring=scoring, random_state=seed, refit=False
    )
    return list(search.fit(inputs, targets).cv_results_["mean_test_score"])


def by_optuna(task: tuple[Any, ...], count: int, seed: int) -> list[float]:
    """Scores of the candidates of Optuna's TPE with its usual settings."""
    import optuna

    from optformer.data.studies.optuna_distributions import to_distributions
    from optformer.data.studies.space_files import translate_space

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    estimator, ranges, inputs, targets, scoring = task
    read = translate_space(ranges)
    distributions = to_distributions(read.space)
    sampler = optuna.samplers.TPESampler(seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    scores = []
    for _ in range(count):
        trial = study.ask()
        point: dict[str, Any] = {}
        for name in read.space:
            if read.space.is_active(name, point):
                point[name] = trial._suggest(name, distributions[name])
        model = estimator.set_params(**read.decode(point))
        scores.append(
            float(cross_val_score(model, inputs, targets, cv=FOLDS, scoring=scoring).mean())
        )
        study.tell(trial, scores[-1])
    return scores


METHODS: dict[str, Callable[[tuple[Any, ...], int, int], list[float]]] = {
    "optformer": by_model,
    "random": by_random_search,
    "optuna-tpe": by_optuna,
}


def run(file: Path, seeds: int) -> None:
    """Run all searches; a row of the file is the best score of one of them after a budget."""
    warnings.simplefilter("ignore")
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["task", "score", "method", "seed", "trials", "best", "seconds"])
        for name in tasks():
            for method, search in METHODS.items():
                for seed in range(seeds):
                    start = time.process_time()
                    scores = search(tasks()[name], BUDGETS[-1], seed)
                    seconds = time.process_time() - start
                    best = np.maximum.accumulate(np.nan_to_num(scores, nan=-np.inf))
                    for budget in BUDGETS:
                        row = [name, tasks()[name][-1], method, seed, budget]
                        writer.writerow([*row, f"{best[budget - 1]:.6g}", f"{seconds:.1f}"])
                    out.flush()


def summarize(file: Path) -> None:
    """Write mean scores and mean ranks beside the file, as the result page has them."""
    runs = pd.read_csv(file)
    means = runs.groupby(["task", "score", "trials", "method"], sort=False)["best"].mean()
    means = means[means.index.get_level_values("trials") > BUDGETS[0]]
    means.to_csv(file.parent / "sklearn_search.csv", float_format="%.4f")
    runs["rank"] = runs.groupby(["task", "seed", "trials"])["best"].rank(ascending=False)
    ranks = runs.groupby(["trials", "method"], sort=False)["rank"].mean()
    ranks.to_csv(file.parent / "sklearn_search_ranks.csv", float_format="%.2f")


def main() -> None:
    """Run all searches and write what the page shows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="a folder")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    args.out.mkdir(exist_ok=True)
    run(args.out / "runs.csv", args.seeds)
    summarize(args.out / "runs.csv")


if __name__ == "__main__":
    main()
