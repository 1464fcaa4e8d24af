"""How fast families of trainings are, and where their learning rates are good.

    python experiments/trainings.py --out trainings.md --picture trainings.png

Seconds are those of the processor, of one thread. The picture shows the regret over the learning
rate on three data sets, the other parameters those of the best of 120 random configurations: 0 is
the best found, 1 the median of the random ones.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from tqdm import tqdm

from optformer.data.corpora.trainings.columns import Columns
from optformer.data.corpora.trainings.corpus import train_pair
from optformer.data.corpora.trainings.family import TrainingFamily
from optformer.data.corpora.trainings.registry import FAMILIES

SHOWN = (
    "perceptron-sgd",
    "perceptron-adam",
    "convolutional-sgd",
    "transformer-language-model",
    "fine-tuning",
    "skip-gram",
)


def main() -> None:
    """Measure, and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="Markdown file of the speeds")
    parser.add_argument("--picture", type=Path, required=True, help="picture of learning rates")
    parser.add_argument("--configurations", type=int, default=140)
    args = parser.parse_args()
    torch.set_num_threads(1)
    lines = ["| Family | Parameters | Metrics | Trainings a second |", "|---|---|---|---|"]
    total = 0.0
    for name, family in tqdm(FAMILIES.items(), unit="family"):
        seconds = sum(_seconds(family, number, args.configurations) for number in range(2))
        total += seconds
        speed = f"{2 * args.configurations / seconds:,.0f}"
        lines.append(f"| {name} | {len(family.space)} | {', '.join(family.goals)} | {speed} |")
    mean = 2 * args.configurations * len(FAMILIES) / total
    lines.append(f"| all | | | {mean:,.0f} |")
    args.out.write_text("\n".join(lines) + "\n")
    figure = Figure((12.0, 6.4), layout="constrained")
    for name, axes in zip(SHOWN, figure.subplots(2, 3).flat, strict=True):
        for seed in range(1000, 1003):
            rates, regret, text = _over_rates(FAMILIES[name], seed)
            axes.plot(rates, regret, label=text.split(",")[0] + text[text.find(",") :][:28])
        axes.set(xscale="log", ylim=(-0.05, 2.0), title=name, xlabel="learning rate")
        axes.legend(fontsize=6)
    figure.savefig(args.picture, dpi=110)


def _seconds(family: TrainingFamily, number: int, configurations: int) -> float:
    started = time.process_time()
    train_pair(family, number, configurations)
    return time.process_time() - started


def _over_rates(family: TrainingFamily, seed: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Learning rates, the regret at each, and the data set in words."""
    (metric, goal), *_ = family.goals.items()
    sign = 1 if goal == "maximize" else -1
    data, rng = family.data(seed), np.random.default_rng(0)
    rate = family.space["learning_rate"]
    points = [family.space.sample(rng) for _ in range(120)]
    found = family.run(Columns(family.space, points, family.fixed), data, seed)[metric]
    gains = sign * found.double().numpy()
    rates = np.array([rate.from_unit(place) for place in np.linspace(0, 1, 40)])
    line = [{**points[int(gains.argmax())], "learning_rate": float(value)} for value in rates]
    along = family.run(Columns(family.space, line, family.fixed), data, seed)[metric]
    values = sign * along.double().numpy()
    top = max(values.max(), gains.max())
    return rates, (top - values) / max(top - float(np.median(gains)), 1e-9), data.text


if __name__ == "__main__":
    main()
