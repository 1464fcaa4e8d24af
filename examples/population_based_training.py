"""Train a population on handwritten digits, and plot how its hyperparameters change in training.

    python examples/population_based_training.py --plot schedule.png
    python examples/population_based_training.py --method asynchronous-sessions --workers 2

It takes about ten seconds on one core.
"""

from __future__ import annotations

import argparse
from functools import partial

from matplotlib.figure import Figure
from tqdm import tqdm

from optformer.data.studies.trials import Trial
from optformer.data.systems.populations import POPULATIONS, PopulationResult
from optformer.data.systems.populations.torch_classifier import TorchClassifier

METHODS = ("population-based-training", "asynchronous-sessions", "partitioned-populations")


def plot(result: PopulationResult, path: str) -> None:
    """All values over steps of training, and the best member's schedule below."""
    first = result.best.params
    figure = Figure(figsize=(7, 2 + 1.6 * len(first)), layout="constrained")
    axes = figure.subplots(1 + len(first), sharex=True)
    measured = [trial for trial in result.trials if trial.value is not None]
    axes[0].scatter([t.metrics["step"] for t in measured], [t.value for t in measured], s=6)
    steps = [trial.metrics["step"] for trial in result.schedule]
    axes[0].plot(steps, [trial.value for trial in result.schedule], color="#d1495b")
    axes[0].set_yscale("log")
    axes[0].set_ylim(top=2 * max(trial.value or 0.0 for trial in result.schedule))
    axes[0].set_ylabel("validation loss")
    for below, name in zip(axes[1:], first, strict=True):
        below.scatter(
            [t.metrics["step"] for t in result.trials],
            [t.params[name] for t in result.trials],
            s=6,
        )
        below.step(steps, [t.params[name] for t in result.schedule], where="pre", color="#d1495b")
        below.set_ylabel(name)
        if name in ("learning_rate", "weight_decay"):
            below.set_yscale("log")
    axes[-1].set_xlabel("steps of training behind the weights")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Train, then print and plot the schedule of the best member."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", choices=METHODS, default=METHODS[0])
    parser.add_argument("--dataset", default="digits", help="digits, wine, generated, ...")
    parser.add_argument("--workers", type=int, default=0, help="processes; 0 trains in this one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", default=None, help="a .png file for the schedule")
    args = parser.parse_args()

    make = partial(TorchClassifier, args.dataset)
    with tqdm(total=200, unit="interval") as bar:

        def report(trial: Trial) -> None:
            bar.update()

        method = POPULATIONS[args.method]()
        result = method.run(make, args.seed, workers=args.workers, report=report)
    for trial in result.schedule:
        values = "  ".join(f"{name} {value:.4g}" for name, value in trial.params.items())
        print(f"step {trial.metrics['step']:4.0f}  loss {trial.value:.4f}  {values}")
    network = make()
    network.load(result.checkpoint)
    print(f"test loss of the best member: {network.test_loss():.4f}")
    if args.plot:
        plot(result, args.plot)


if __name__ == "__main__":
    main()
