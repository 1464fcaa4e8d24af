"""Train several networks at a time: each worker asks for a trial as soon as it is free.

A suggestion takes the trials that are still running into account, so two workers never get the same
one. Run it with `python examples/parallel_workers.py`; it takes about half a minute on two cores.
"""

from __future__ import annotations

import argparse
import warnings
from concurrent.futures import ThreadPoolExecutor

from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

import optformer as of

warnings.simplefilter("ignore", ConvergenceWarning)  # ten epochs are not meant to converge

SPACE = of.SearchSpace(
    learning_rate_init=of.Float(1e-5, 1.0, log=True, description="learning rate of Adam"),
    alpha=of.Float(1e-6, 1.0, log=True, description="weight decay"),
    hidden=of.Ordinal([8, 16, 32, 64], description="width of the hidden layer"),
)


def train(learning_rate_init: float, alpha: float, hidden: int) -> float:
    """Train for ten epochs; returns the validation accuracy."""
    inputs, targets = load_digits(return_X_y=True)
    model = MLPClassifier(
        hidden_layer_sizes=(hidden,),
        learning_rate_init=learning_rate_init,
        alpha=alpha,
        max_iter=10,
        random_state=0,
    )
    model.fit(inputs[:1000] / 16.0, targets[:1000])
    return float(model.score(inputs[1000:] / 16.0, targets[1000:]))


def main() -> None:
    """Search with a thread a worker; a real one would start a process or a job of a cluster."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--workers", type=int, default=4)
    args = parser.parse_args()

    study = of.create_study(
        SPACE,
        metric="accuracy",
        goal="maximize",
        metadata={"task": "classification", "dataset": "digits", "model": "perceptron"},
        seed=0,
    )

    def work(_: int) -> None:
        trial = study.suggest()
        trial = study.observe(trial, train(**trial.params))
        print(f"trial {trial.number}: accuracy {trial.value:.4f}")

    with ThreadPoolExecutor(args.workers) as workers:
        list(workers.map(work, range(args.trials)))  # the list raises what a worker raised
    best = study.best_trial
    print(f"best: trial {best.number}, accuracy {best.value:.4f}, {dict(best.params)}")


if __name__ == "__main__":
    main()
