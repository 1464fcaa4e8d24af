"""Tune a progressive schedule: input size and regularization that grow from stage to stage.

The language model proposes the end points of the schedule; each is trained from fresh weights
through its stages. Run it with `python examples/progressive_learning.py`; it takes about half a
minute on one core.
"""

from __future__ import annotations

import argparse

import optformer as of
from optformer.data.systems.populations.base import seed_of
from optformer.data.systems.populations.progressive import ProgressiveLearning
from optformer.data.systems.populations.torch_images import TorchImageClassifier


def main() -> None:
    """Tune, then print the best schedule."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--stages", type=int, default=4)
    parser.add_argument("--steps", type=int, default=60, help="steps of a stage")
    args = parser.parse_args()

    network = TorchImageClassifier("digits")
    progressive = ProgressiveLearning(stages=args.stages)
    searched = progressive.end_points(network.config)
    study = of.create_study(
        searched.space,
        metric=searched.metric,
        goal=searched.goal,
        metadata=searched.metadata,
        seed=0,
    )
    for _ in range(args.trials):
        trial = study.suggest()
        network.init(0)
        for stage, params in enumerate(progressive.schedule(network.config, trial.params)):
            loss = network.train(params, args.steps, seed_of(0, stage))
        study.observe(trial, loss)
        print(f"trial {trial.number}: loss {loss:.4f}")
    print(f"best: trial {study.best_trial.number}, loss {study.best_trial.value:.4f}")
    for params in progressive.schedule(network.config, study.best_trial.params):
        print("  ".join(f"{name} {value:.3g}" for name, value in params.items()))


if __name__ == "__main__":
    main()
