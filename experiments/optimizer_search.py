"""Search for an update rule, compare the searches, and carry the best rule to a larger network.

The recurrent controller (PPO and REINFORCE, alone and as replicas with a parameter server), uniform
random rules and the language model each train the same number of child networks. The best rules are
confirmed with other seeds, and the winner trains the larger target network beside Adam, RMSProp and
plain gradient descent.

    python experiments/optimizer_search.py --trainings 160 --seeds 5 --out rules

It takes some minutes on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from paired import duel
from tqdm import tqdm

import optformer as of
from optformer.data.systems.optimizer_search.children import CHILD, TARGET, NetworkTask, train
from optformer.data.systems.optimizer_search.language import KNOWN_RULES, Grammar, Rule
from optformer.data.systems.optimizer_search.queue import TrainingQueue
from optformer.data.systems.optimizer_search.registry import RULE_SEARCHES
from optformer.data.systems.optimizer_search.search import ROUND
from optformer.data.systems.optimizer_search.space import rule_config, to_rule
from optformer.planning.search_method import model_search

RANDOM, MODEL = "random-rules", "optformer"
CONFIRMED, CONFIRMING_SEEDS, TARGET_SEEDS = 6, (101, 102, 103), (201, 202, 203, 204, 205)


def ask_the_model(
    model: Path | None,
    queue: TrainingQueue,
    grammar: Grammar,
    trainings: int,
    seed: int,
    report: Callable[[of.Trial], None],
) -> list[of.Trial]:
    """The language model on the space of rules, in rounds as large as the controller's."""
    search, rng = model_search(rule_config(grammar, queue.task), model), np.random.default_rng(seed)
    history: list[of.Trial] = []
    while (left := trainings - len(history)) > 0:
        points = search.suggest(history, min(ROUND, left), rng)
        accuracies = queue.accuracies([to_rule(params) for params in points])
        for params, accuracy in zip(points, accuracies, strict=True):
            history.append(of.Trial(len(history), params).finish(accuracy))
            report(history[-1])
    return history


def advance(bar: tqdm) -> None:
    """One more training is done."""
    bar.update()


def mean_accuracy(task: NetworkTask, rule: Rule, seeds: tuple[int, ...]) -> float:
    """Mean validation accuracy of a rule over tasks with other images and weights."""
    return float(np.mean([train(replace(task, seed=seed), rule).accuracy for seed in seeds]))


def compare(values: dict[str, np.ndarray]) -> None:
    """Print a table; `values` are accuracies of every trial, shape (seeds, trainings), by name."""
    print("\n| search | all rules | last quarter | won-lost (p) | best | won-lost (p) |")
    print("|---|---|---|---|---|---|")
    for name, found in values.items():
        late, best = found[:, -(found.shape[1] // 4) :].mean(1), found.max(1)
        base = values[RANDOM]
        against = [
            duel(late, base[:, -(base.shape[1] // 4) :].mean(1)),
            duel(best, base.max(1)),
        ]
        print(
            f"| `{name}` | {found.mean():.3f} | {late.mean():.3f} | {against[0]} | "
            f"{best.mean():.4f} | {against[1]} |"
        )


def plot(values: dict[str, np.ndarray], path: Path) -> None:
    """Mean reward of each round and best so far, with the range over seeds."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, found in values.items():
        rounds = found[:, : found.shape[1] // ROUND * ROUND]
        rewards = rounds.reshape(len(found), -1, ROUND).mean(2)
        best = np.maximum.accumulate(found, axis=1)
        for axes, curve, step in ((left, rewards, ROUND), (right, best, 1)):
            x = step * np.arange(1, curve.shape[1] + 1)
            axes.plot(x, curve.mean(0), label=name)
            axes.fill_between(x, curve.min(0), curve.max(0), alpha=0.15)
    left.set_title("mean accuracy of a round of rules", loc="left")
    right.set_title("best accuracy so far", loc="left")
    right.set_ylim(bottom=0.7)
    for axes in (left, right):
        axes.set_xlabel("child networks trained")
    left.legend()
    figure.savefig(path)


def main() -> None:
    """Run the searches, print the tables, write the plot."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trainings", type=int, default=160, help="child networks a search")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=1, help="five-symbol groups of a rule")
    parser.add_argument("--workers", type=int, default=0, help="processes; 0 trains in this one")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[*RULE_SEARCHES.names(), MODEL],
        help="compare these with random rules and stop there",
    )
    parser.add_argument("--out", type=Path, default=Path("rules"), help="folder of the plot")
    options = parser.parse_args()
    torch.set_num_threads(1)
    grammar = Grammar(options.iterations)
    histories: dict[str, list[list[of.Trial]]] = {}
    names = list(dict.fromkeys([RANDOM, *(options.only or [*RULE_SEARCHES.names(), MODEL])]))
    total = len(names) * options.seeds * options.trainings
    with (
        TrainingQueue(CHILD, options.workers) as queue,
        tqdm(total=total, unit="training", mininterval=5) as bar,
    ):
        budget = (queue, grammar, options.trainings)
        for name in names:
            for seed in range(options.seeds):
                bar.set_description(f"{name}, seed {seed}", refresh=False)
                model = partial(ask_the_model, None)
                search = model if name == MODEL else RULE_SEARCHES[name]
                found = search(*budget, seed, lambda trial: advance(bar))
                histories.setdefault(name, []).append(found)
    values = {
        name: np.array([[trial.value for trial in history] for history in runs])
        for name, runs in histories.items()
    }
    compare(values)
    options.out.mkdir(parents=True, exist_ok=True)
    plot(values, options.out / f"optimizer-search-{options.iterations}.png")
    if options.only:
        return

    trials = [trial for runs in histories.values() for history in runs for trial in history]
    trials.sort(key=lambda trial: -(trial.value or 0.0))
    rules = list(dict.fromkeys(to_rule(trial.params) for trial in trials))[:CONFIRMED]
    best = max(
        tqdm(rules, desc="confirm", mininterval=5),
        key=lambda rule: mean_accuracy(CHILD, rule, CONFIRMING_SEEDS),
    )
    print(f"\nbest rule: {best}\n\n| rule | child | larger target |\n|---|---|---|")
    for name, rule in {"best": best, **KNOWN_RULES}.items():
        child = mean_accuracy(CHILD, rule, TARGET_SEEDS)
        target = mean_accuracy(TARGET, rule, TARGET_SEEDS)
        print(f"| {name}: `{rule}` | {child:.4f} | {target:.4f} |", flush=True)


if __name__ == "__main__":
    main()
