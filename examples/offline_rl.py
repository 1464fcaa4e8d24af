"""Does offline reinforcement learning beat plain imitation at equal compute?

    python examples/offline_rl.py --out runs/offline-rl

Fine-tunes the shipped checkpoint three times, on the same batches of synthetic histories: plain
imitation, imitation told the return, imitation weighted by advantages (see docs/offline_rl.md).
Then each policy searches the same functions, none of which was trained on, beside random search and
the Gaussian-process search that they imitate; the searches of a function run side by side. Writes
regrets.json and regrets.png to the folder, and a table to standard output.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from optformer.batch import History, metadata_batch
from optformer.checkpoint import SHIPPED, Checkpoint, load_checkpoint
from optformer.data.synthetic.histories import METHODS
from optformer.tokenization.history import MetricKind
from optformer.tokenization.legality import legal_values
from optformer.tokenization.metadata import encode_metadata
from optformer.tokenization.objective_scale import fit_scale
from optformer.tokenization.symbols import NUM_BINS
from optformer.training.config import OBJECTIVES, PolicyConfig, PriorConfig, TrainingConfig
from optformer.training.estimates import Array, bootstrap_limits, mean
from optformer.training.offline_rl import ask_for_the_best
from optformer.training.prior import points_of
from optformer.training.questions import partial_points, told_metric
from optformer.training.synthetic_tasks import SyntheticTask, draw_task
from optformer.training.train import CHECKPOINT, Trainer

BASELINE, TEACHER = "random", "gp ei"  # as histories and metadata name them
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
    if not (directory / CHECKPOINT).exists():
        directory.mkdir(parents=True, exist_ok=True)
        trainer = Trainer(configure(objective, steps, seed), directory, cpu=True)
        trainer.start_from(SHIPPED)
        trainer.train()
    return load_checkpoint(directory / CHECKPOINT)


def search_with_policy(
    checkpoint: Checkpoint,
    told: str | None,
    best: bool,
    task: SyntheticTask,
    seeds: int,
    trials: int,
) -> Tensor:
    """Outcomes of searches side by side, each trial one sample of the policy, (S, T)."""
    model, spaces = checkpoint.model, task.functions.spaces
    config = ask_for_the_best(task.config) if best else task.config
    encoding = encode_metadata(config, checkpoint.vocabulary, algorithm=told)
    memory = model.encode_metadata(metadata_batch([encoding], [legal_values(config.space)]))
    memory = memory.repeat(seeds)
    generator = torch.Generator().manual_seed(SEED)
    values, outcome = torch.zeros(1, seeds, 0, len(config.space)), torch.zeros(seeds, 0)
    for _ in range(trials):
        measured = ~outcome.isnan()
        scale = fit_scale(outcome.double().nan_to_num(), measured)
        kinds = torch.where(measured, int(MetricKind.VALUE), int(MetricKind.FAILED))
        history = History(points_of(spaces, values), told_metric(scale, outcome, kinds), kinds)
        cache = model.encode_history(memory, history)
        point = torch.zeros(1, seeds, 1, values.shape[-1])
        for slot in range(values.shape[-1]):
            asked = torch.tensor([slot])
            partial = partial_points(points_of(spaces, point), torch.tensor([0]), asked)
            logits = model.value_logits(memory, cache, partial, asked)[:, 0]
            token = torch.multinomial(logits.softmax(-1), 1, generator=generator)
            inside = (token + torch.rand(token.shape, generator=generator)) / NUM_BINS
            point[0, :, :, slot] = torch.where(token < NUM_BINS, inside, token - NUM_BINS)
            point = spaces.snap(point)
            point *= spaces.active(point)
        values = torch.cat([values, point], 2)
        observed = task.functions.observe(point.transpose(1, 2), generator)  # (1, 1, S)
        outcome = torch.cat([outcome, observed[0].T], 1)
    return outcome


def search_with_method(name: str, task: SyntheticTask, seeds: int, trials: int) -> Tensor:
    """Outcomes of a method's searches, (S, T)."""
    generator = torch.Generator().manual_seed(SEED)
    found = [METHODS[name](task.functions, trials, generator) for _ in range(seeds)]
    return torch.cat([history.outcome[0] for history in found])


def regret_of(task: SyntheticTask, outcome: Tensor) -> Array:
    """Regret after each trial, mean over the searches, (T,); 0 is the best of 1,000 points."""
    best = outcome.double().nan_to_num(nan=-torch.inf).cummax(-1).values
    regret = (task.top - best) / max(task.top - task.median, 1e-9)
    means: Array = regret.clamp(max=1.0).mean(0).numpy()
    return means


def plot(found: dict[str, Array], path: Path) -> None:
    """Mean regret after each trial, with 95 % intervals over the tasks."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, regret in found.items():
        low, high = bootstrap_limits(regret)
        trial = np.arange(1, regret.shape[1] + 1)
        (line,) = axes.plot(trial, regret.mean(0), label=name)
        axes.fill_between(trial, low, high, color=line.get_color(), alpha=0.12)
    axes.set(xlabel="trials", ylabel="normalised regret", yscale="log")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Train, search, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=max(SHOWN))
    args = parser.parse_args()
    torch.set_num_threads(1)
    trained = {name: train_policy(name, args.steps, 7, args.out) for name in OBJECTIVES}
    tasks = [draw_task(SEED, number, args.trials) for number in range(args.tasks)]
    searchers: dict[str, Callable[[SyntheticTask, int, int], Tensor]] = {
        name: partial(search_with_method, name) for name in (BASELINE, TEACHER)
    }
    for told, note in ((TEACHER, f"told {TEACHER}"), (None, "told no method")):
        for name, checkpoint in trained.items():
            searchers[f"{name}, {note}"] = partial(
                search_with_policy, checkpoint, told, name == "returns"
            )
    found: dict[str, Array] = {}
    with tqdm(total=len(searchers) * len(tasks), unit="task") as bar, torch.no_grad():
        for name, searcher in searchers.items():
            bar.set_description(name)
            regrets = []
            for task in tasks:
                regrets.append(regret_of(task, searcher(task, args.seeds, args.trials)))
                bar.update()
            found[name] = np.stack(regrets)
    args.out.joinpath("regrets.json").write_text(
        json.dumps({name: regret.tolist() for name, regret in found.items()})
    )
    plot(found, args.out / "regrets.png")
    shown = [count for count in SHOWN if count <= args.trials]
    print("| Search | " + " | ".join(f"after {count}" for count in shown) + " | less plain |")
    print("|---|" + "---|" * (len(shown) + 1))
    for name, regret in found.items():
        plain = f"{OBJECTIVES[0]}, {name.partition(', ')[2]}"
        cells = [f"{mean(regret[:, count - 1]):.3f}" for count in shown]
        difference = mean(regret[:, -1] - found[plain][:, -1]) if plain in found else None
        print(
            f"| {name} | "
            + " | ".join([*cells, f"{difference:+.3f}" if difference else "-"])
            + " |"
        )


if __name__ == "__main__":
    main()
