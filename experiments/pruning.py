"""What Optuna's pruners save: small networks searched with and without each of them.

    python -P experiments/pruning.py --out pruning.csv

Every search may train for as many epochs as twenty whole trials take, in sixty trials at most. The
table says, for each task and pruner, how many epochs twenty trials took, how good their best was,
and how good the best was once all epochs were spent. Seconds are those of the
processor in the objective: training, reports and the pruner.
"""

from __future__ import annotations

import argparse
import csv
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

from sklearn.datasets import load_diabetes, load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler, scale

import optformer as of

EPOCHS = 20
TRIALS = 20
PRUNERS = [
    None,
    "median",
    "percentile",
    "successive_halving",
    "hyperband",
    "wilcoxon",
    "patient",
    "threshold(lower=0.2, n_warmup_steps=4)",
]
SPACE = of.SearchSpace(
    learning_rate=of.Float(1e-5, 1.0, log=True),
    hidden=of.Ordinal([8, 16, 32, 64, 128], description="units in the hidden layer"),
    solver=of.Categorical(["adam", "sgd"]),
    momentum=of.Float(0.0, 0.99, when={"solver": ["sgd"]}),
    weight_decay=of.Float(1e-6, 1.0, log=True),
    batch_size=of.Ordinal([16, 32, 64, 128]),
)


@dataclass(frozen=True)
class Result:
    """One search.

    Attributes:
        epochs: Epochs that twenty trials took.
        seconds: Seconds of the processor that their training, reports and pruner took.
        best: Best value of these trials.
        best_of_all: Best value once all epochs were spent.
        trials: How many trials that took.
    """

    task: str
    pruner: str
    seed: int
    epochs: int
    seconds: float
    best: float
    best_of_all: float
    trials: int


def digits(seed: int) -> Callable[[of.Trial], Any]:
    """Networks that read digits, by their accuracy."""
    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(
        images / 16, labels, train_size=600, test_size=800, random_state=seed, stratify=labels
    )
    return lambda trial: training(MLPClassifier, trial, parts, {"classes": range(10)})


def diabetes(seed: int) -> Callable[[of.Trial], Any]:
    """Networks that predict the course of diabetes, by the share of the variance explained."""
    features, target = load_diabetes(return_X_y=True)
    parts = train_test_split(
        StandardScaler().fit_transform(features), scale(target), test_size=0.4, random_state=seed
    )
    return lambda trial: training(MLPRegressor, trial, parts, {})


def training(kind: Any, trial: of.Trial, parts: Any, settings: dict[str, Any]) -> Any:
    """The value after each epoch of one trial's training."""
    train_x, test_x, train_y, test_y = parts
    network = kind(
        hidden_layer_sizes=(trial["hidden"],),
        learning_rate_init=trial["learning_rate"],
        solver=trial["solver"],
        momentum=trial.params.get("momentum", 0.0),
        alpha=trial["weight_decay"],
        batch_size=trial["batch_size"],
        random_state=0,
    )
    for _ in range(EPOCHS):
        network.partial_fit(train_x, train_y, **settings)
        yield network.score(test_x, test_y)


TASKS = {"digits": (digits, "accuracy"), "diabetes": (diabetes, "r2")}


def search(task: str, pruner: str | None, seed: int) -> Result:
    """One search, until all epochs are spent."""
    make, metric = TASKS[task]
    train = make(seed)
    study = of.create_study(
        SPACE,
        metric=metric,
        goal="maximize",
        metadata={"dataset": task, "model": "multilayer perceptron"},
        pruner=pruner,
        seed=seed,
        name=f"{task} {seed}",  # Hyperband deals trials to its brackets by the name
    )
    spent, seconds = 0, 0.0
    at_twenty: tuple[int, float, float] | None = None

    def objective(trial: of.Trial) -> float:
        nonlocal spent, seconds
        started = time.process_time()
        try:
            for step, value in enumerate(train(trial)):
                spent += 1
                trial.report(value, step)
                if trial.should_prune():
                    raise of.TrialPruned
        finally:
            seconds += time.process_time() - started
        return value

    def account(study: of.Study, trial: of.Trial) -> None:
        nonlocal at_twenty
        if trial.number + 1 == TRIALS:
            at_twenty = (spent, seconds, study.best_value)
        if spent >= EPOCHS * TRIALS:
            study.stop()

    study.optimize(objective, trials=3 * TRIALS, callbacks=[account], progress=False)
    assert at_twenty is not None  # noqa: S101
    name = "none" if pruner is None else pruner
    return Result(task, name, seed, *at_twenty, study.best_value, len(study.trials))


def main() -> None:
    """Search, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True, help="where to write the searches (.csv)")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.simplefilter("ignore", RuntimeWarning)  # networks that diverge
    warnings.simplefilter("ignore", of.OptFormerWarning)
    results = []
    with open(arguments.out, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(Result.__annotations__))
        writer.writeheader()
        for task in TASKS:
            for seed in range(arguments.seeds):
                for pruner in PRUNERS:
                    results.append(search(task, pruner, seed))
                    writer.writerow(asdict(results[-1]))
                    file.flush()
    print("| Task | Pruner | Epochs | Seconds | Best | Trials in all | Best of all |")
    print("|---|---|---|---|---|---|---|")
    for task in TASKS:
        for pruner in PRUNERS:
            found = [r for r in results if (r.task, r.pruner) == (task, pruner or "none")]
            print(
                f"| {task} | `{pruner or 'none'}` | {mean(r.epochs for r in found):.0f} "
                f"| {mean(r.seconds for r in found):.1f} | {mean(r.best for r in found):.4f} "
                f"| {mean(r.trials for r in found):.0f} "
                f"| {mean(r.best_of_all for r in found):.4f} |"
            )


if __name__ == "__main__":
    main()
