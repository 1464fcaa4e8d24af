"""Share one server among eight worker processes, which may be on eight machines.

The server keeps the study and suggests; a worker needs its address alone, and a token where the
server asks for one. It is started here for the sake of the example. Run it with `python
examples/server_workers.py`; it takes about a minute on two cores, most of it to start eight
processes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from joblib import Parallel, delayed
from sklearn.datasets import load_digits
from sklearn.svm import SVC

import optformer as of

NAME = "digits"


def train(**settings: float) -> float:
    """Train on handwritten digits; returns the validation accuracy."""
    inputs, targets = load_digits(return_X_y=True)
    model = SVC(**settings).fit(inputs[:1000] / 16.0, targets[:1000])
    return float(model.score(inputs[1000:] / 16.0, targets[1000:]))


def work(address: str, trials: int) -> None:
    """One worker: it runs trials until all workers together have run enough."""
    with of.connect(address) as server:
        study = server.load_study(NAME)
        while (trial := study.suggest_within(trials)) is not None:
            trial = study.observe(trial, train(**trial.params))
            print(f"trial {trial.number}: accuracy {trial.value:.4f}", flush=True)


@contextmanager
def started_server(storage: str) -> Iterator[str]:
    """A server of this machine at a port that is free; gives its address."""
    command = Path(sys.executable).with_name("optformer")
    options = ["serve", "--storage", storage, "--port", "0"]
    server = subprocess.Popen([command, *options], stderr=subprocess.PIPE, text=True)
    try:
        yield server.stderr.readline().split()[-1]  # "serving ... at http://127.0.0.1:PORT"
    finally:
        server.terminate()
        server.communicate()


def main() -> None:
    """Start a server, create the study, and let the workers search."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--storage", default="sqlite:///server-workers.db")
    args = parser.parse_args()

    space = of.SearchSpace(C=of.Float(1e-3, 1e3, log=True), gamma=of.Float(1e-5, 10.0, log=True))
    about = {"task": "classification", "dataset": "digits", "model": "support vector machine"}
    with started_server(args.storage) as address, of.connect(address) as server:
        study = server.create_study(
            space, metric="accuracy", goal="maximize", metadata=about, name=NAME
        )
        Parallel(args.workers)(delayed(work)(address, args.trials) for _ in range(args.workers))
        best = study.best_trial
        print(f"best: trial {best.number}, accuracy {best.value:.4f}, {dict(best.params)}")


if __name__ == "__main__":
    main()
