"""Does offline reinforcement learning beat plain imitation at equal compute?

    python experiments/offline_rl.py --out runs/offline-rl

Fine-tunes the shipped checkpoint three times, on the same batches of synthetic histories: plain
imitation, imitation told the return, imitation weighted by advantages
(docs/explanation/systems/offline-rl.md).
Then each policy searches the same functions, none of which was trained on, beside random search and
the Gaussian-process search that they imitate. Writes regrets.json and regrets.png to the folder,
and a table to standard output.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from tqdm import tqdm

from optformer.data.methods import SearchMethod, create
from optformer.model.checkpoint import RUN_CHECKPOINT_DIR, SHIPPED, Checkpoint, load_checkpoint
from optformer.planning.study_encoder import StudyEncoder
from optformer.training.bootstrap import Array, mean
from optformer.training.config import OBJECTIVES, PolicyConfig, PriorConfig, TrainingConfig
from optformer.training.evaluation.imitation import PolicySearch
from optformer.training.evaluation.synthetic_tasks import (
    SyntheticTask,
    draw_task,
    regrets,
    search,
)
from optformer.training.mixtures.return_conditioning import condition_on_best_return
from optformer.training.train import Trainer

TEACHER, VARIANTS = "gp-ei", "gp ei"  # as it is registered, and as the metadata name it
SHOWN = (10, 20, 40)  # trials after which the table tells the regret
SEED = 2025  # of the tasks and searches


def configure(objective: str, steps: int, seed: int) -> TrainingConfig:
    """The same run for every objective: each study tells its own metadata."""
    return TrainingConfig(
        model="small",
        seed=seed,
        steps=steps,
        warmup=10,
        learning_rate=1e-3,
        matrix_learning_rate=2e-3,
        metric_share=0.5,
        ema=0.95,
        workers=0,
        validate_every=0,
        policy=PolicyConfig(objective=objective),
        prior=PriorConfig(
            parameters={2: 0.25, 3: 0.25, 4: 0.25, 6: 0.25},
            studies_per_space=1,
            max_trials=48,
            tokens=512,
            probes=8,
            spare=8,
            mining=0.0,
            methods={"random": 0.2, "local search": 0.2, "clustered": 0.2, "gp ei": 0.4},
        ),
    )


def train_policy(objective: str, steps: int, seed: int, out: Path) -> Checkpoint:
    """The shipped checkpoint after some steps with an objective; goes on where it stopped."""
    directory = out / objective
    if not (directory / RUN_CHECKPOINT_DIR).exists():
        directory.mkdir(parents=True, exist_ok=True)
        trainer = Trainer(configure(objective, steps, seed), directory, cpu=True)
        trainer.start_from(SHIPPED)
        trainer.train()
    return load_checkpoint(directory / RUN_CHECKPOINT_DIR)


def policy(
    checkpoint: Checkpoint, told: str | None, best: bool, task: SyntheticTask
) -> SearchMethod:
    """One sample of the policy a trial."""
    config = condition_on_best_return(task.config) if best else task.config
    return PolicySearch(StudyEncoder(checkpoint, config, told), task.space)


def method(name: str, task: SyntheticTask) -> SearchMethod:
    """A search method by its name."""
    return create(name, task.config)


def run(
    make: Callable[[SyntheticTask], SearchMethod],
    tasks: Sequence[SyntheticTask],
    seeds: int,
    trials: int,
    bar: tqdm,
) -> Array:
    """Regret after each trial, mean over the seeds, (K, T)."""
    found = np.zeros((len(tasks), seeds, trials))
    for k, task in enumerate(tasks):
        searcher = make(task)
        for s in range(seeds):
            found[k, s] = regrets(task, search(task, searcher, trials, [SEED, k, s]))
        bar.update()
    return found.mean(1)


def plot(found: dict[str, Array], path: Path) -> None:
    """Mean regret after each trial; a colour for each objective, dashed where no method is told."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    colours: dict[str, str] = {}
    for name, regret in found.items():
        objective, _, note = name.partition(", ")
        colour = colours.setdefault(objective, f"C{len(colours)}")
        style = "--" if note == "told no method" else "-"
        trial = np.arange(1, regret.shape[1] + 1)
        axes.plot(trial, regret.mean(0), style, color=colour, label=name)
    axes.set(xlabel="trials", ylabel="normalised regret", ylim=(0, None))
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Train, search, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--tasks", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=max(SHOWN))
    args = parser.parse_args()
    torch.set_num_threads(1)
    trained = {name: train_policy(name, args.steps, 7, args.out) for name in OBJECTIVES}
    tasks = [draw_task(SEED, number, args.trials) for number in range(args.tasks)]
    searchers: dict[str, Callable[[SyntheticTask], SearchMethod]] = {
        name: partial(method, name) for name in ("random", TEACHER)
    }
    for told, note in ((VARIANTS, f"told {VARIANTS}"), (None, "told no method")):
        for name, checkpoint in trained.items():
            searchers[f"{name}, {note}"] = partial(policy, checkpoint, told, name == "returns")
    found: dict[str, Array] = {}
    with tqdm(total=len(searchers) * len(tasks), unit="task") as bar:
        for name, make in searchers.items():
            bar.set_description(name)
            found[name] = run(make, tasks, args.seeds, args.trials, bar)
            args.out.joinpath("regrets.json").write_text(
                json.dumps({key: regret.tolist() for key, regret in found.items()})
            )
    plot(found, args.out / "regrets.png")
    shown = [count for count in SHOWN if count <= args.trials]
    print("| Search | " + " | ".join(f"after {count}" for count in shown) + " | minus imitation |")
    print("|---|" + "---|" * (len(shown) + 1))
    for name, regret in found.items():
        plain = f"{OBJECTIVES[0]}, {name.partition(', ')[2]}"
        cells = [f"{mean(regret[:, count - 1]):.3f}" for count in shown]
        compared = plain in found and name != plain
        cells.append(f"{mean(regret[:, -1] - found[plain][:, -1]):+.3f}" if compared else "")
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
