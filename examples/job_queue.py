"""Share one study among the workers of a job queue: a job is a trial.

Each worker process opens the study from its storage, asks for a trial, trains, and reports. The
queue here is joblib; Dask, Celery or an array of SLURM jobs run the same function. Run it with
`python examples/job_queue.py`; it takes about a minute on two cores, most of it to start eight
processes.
"""

from __future__ import annotations

import argparse
import warnings

from joblib import Parallel, delayed
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

import optformer as of

NAME = "job queue"


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # ten epochs are not meant to converge
        model.fit(inputs[:1000] / 16.0, targets[:1000])
    return float(model.score(inputs[1000:] / 16.0, targets[1000:]))


def run_trial(storage: str) -> None:
    """One job: a trial of the study, whoever runs it."""
    study = of.load_study(storage=storage, name=NAME)
    trial = study.suggest()
    trial = study.observe(trial, train(**trial.params))
    print(f"trial {trial.number}: accuracy {trial.value:.4f}", flush=True)


def main() -> None:
    """Create the study, put a job for each trial into the queue, and wait."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--storage", default="sqlite:///job-queue.db")
    args = parser.parse_args()

    space = of.SearchSpace(
        learning_rate_init=of.Float(1e-5, 1.0, log=True, description="learning rate of Adam"),
        alpha=of.Float(1e-6, 1.0, log=True, description="weight decay"),
        hidden=of.Ordinal([8, 16, 32, 64], description="width of the hidden layer"),
    )
    about = {"task": "classification", "dataset": "digits", "model": "perceptron"}
    study = of.create_study(
        space, metric="accuracy", goal="maximize", metadata=about, storage=args.storage, name=NAME
    )
    Parallel(args.workers)(delayed(run_trial)(args.storage) for _ in range(args.trials))
    best = study.best_trial
    print(f"best: trial {best.number}, accuracy {best.value:.4f}, {dict(best.params)}")


if __name__ == "__main__":
    main()
