"""A team's logs, and what fine-tuning on them is worth on the team's next data sets.

Twenty data sets on which a support vector machine was tuned with Optuna's TPE are the team's log, a
database. Eight more are what comes next. The family is one that the shipped model has never seen.

    python experiments/finetune_svm.py log --out runs/svm          # writes runs/svm/optuna.db
    optformer finetune --studies sqlite:///runs/svm/optuna.db --out runs/svm/model
    python experiments/finetune_svm.py compare --out runs/svm   # with runs/svm/model, and without
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.samplers import GPSampler, TPESampler
from sklearn.svm import SVC
from tqdm import tqdm

import optformer as of
from optformer.data.objectives.fitting import balanced_accuracy, mean_score, scaled
from optformer.data.objectives.sklearn_datasets import splits
from optformer.training.bootstrap import mean

LOGGED, NEXT = range(100, 120), range(120, 128)  # seeds of generated data sets
TRIALS, SEEDS, BUDGETS = 40, 3, (3, 5, 10, 20, 30)
REFERENCE = 300  # random points of which median and best are taken

SPACE = of.SearchSpace(
    C=of.Float(1e-3, 1e3, log=True, description="inverse strength of regularization"),
    kernel=of.Categorical(["linear", "rbf", "poly", "sigmoid"]),
    gamma=of.Float(1e-5, 1e1, log=True, when={"kernel": ["rbf", "poly", "sigmoid"]}),
    degree=of.Int(2, 6, when={"kernel": ["poly"]}),
    coef0=of.Float(-1.0, 3.0, when={"kernel": ["poly", "sigmoid"]}),
    shrinking=of.Categorical([True, False]),
)


def score(params: Mapping[str, Any], seed: int) -> float:
    """Balanced accuracy of a support vector machine on a generated data set."""
    return mean_score(
        lambda: scaled(SVC(**params, max_iter=20_000)),
        splits(f"classification-{seed}"),
        balanced_accuracy,
    )


def new_study(**settings: Any) -> of.Study:
    """A study of one data set."""
    return of.create_study(
        SPACE,
        metric="balanced accuracy",
        goal="maximize",
        metadata={"task": "classification", "model": "support vector machine"},
        **settings,
    )


def log(out: Path) -> None:
    """Tune the machine on the logged data sets, the way a team does, into a database."""
    out.mkdir(parents=True, exist_ok=True)
    storage = f"sqlite:///{out}/optuna.db"
    for seed in tqdm(LOGGED, unit="study"):
        name = new_study(storage=storage, name=f"svm-{seed}", seed=0).name
        sampler = TPESampler(seed=seed)
        study = optuna.load_study(study_name=name, storage=storage, sampler=sampler)
        study.optimize(lambda trial, seed=seed: score(_suggested(trial), seed), n_trials=TRIALS)


def _suggested(trial: optuna.Trial) -> dict[str, Any]:
    params: dict[str, Any] = {
        "C": trial.suggest_float("C", 1e-3, 1e3, log=True),
        "kernel": trial.suggest_categorical("kernel", ["linear", "rbf", "poly", "sigmoid"]),
    }
    if params["kernel"] != "linear":
        params["gamma"] = trial.suggest_float("gamma", 1e-5, 1e1, log=True)
    if params["kernel"] == "poly":
        params["degree"] = trial.suggest_int("degree", 2, 6)
    if params["kernel"] in ("poly", "sigmoid"):
        params["coef0"] = trial.suggest_float("coef0", -1.0, 3.0)
    params["shrinking"] = trial.suggest_categorical("shrinking", [True, False])
    return params


def compare(out: Path) -> None:
    """Regret on the next data sets: the shipped model, the fine-tuned one, Optuna's samplers."""
    # It draws conditional parameters at random, and would say so at every trial.
    gp = partial(GPSampler, n_startup_trials=3, warn_independent_sampling=False)
    methods = {
        "shipped": partial(_by_model, None),
        "fine-tuned": partial(_by_model, str(out / "model")),
        "tpe": partial(_by_optuna, TPESampler),
        "gp-3": partial(_by_optuna, gp),
    }
    best = {name: np.empty((len(NEXT), SEEDS, max(BUDGETS))) for name in methods}
    for i, data in enumerate(tqdm(NEXT, unit="data set")):
        for name, search in methods.items():
            values = [search(data, seed) for seed in range(SEEDS)]
            best[name][i] = np.maximum.accumulate(values, axis=1)
    rng = np.random.default_rng(0)
    random = np.array([[score(SPACE.sample(rng), data) for _ in range(REFERENCE)] for data in NEXT])
    top = np.max([random.max(1), *(values.max((1, 2)) for values in best.values())], axis=0)
    width = top - np.median(random, 1)
    for name, values in best.items():
        regret = ((top[:, None, None] - values) / width[:, None, None]).clip(max=1.0).mean(1)
        told = "; ".join(f"after {n} {mean(regret[:, n - 1]):.3f}" for n in BUDGETS)
        print(f"{name:12} {told}")


def _by_model(checkpoint: str | None, data: int, seed: int) -> list[float]:
    study = new_study(model=checkpoint, seed=seed)
    for _ in range(max(BUDGETS)):
        trial = study.suggest()
        study.observe(trial, score(trial.params, data))
    return [trial.value for trial in study.trials]


def _by_optuna(
    sampler: Callable[..., optuna.samplers.BaseSampler], data: int, seed: int
) -> list[float]:
    study = optuna.create_study(direction="maximize", sampler=sampler(seed=seed))
    study.optimize(lambda trial: score(_suggested(trial), data), n_trials=max(BUDGETS))
    return [trial.value for trial in study.trials]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["log", "compare"])
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    {"log": log, "compare": compare}[args.what](args.out)
