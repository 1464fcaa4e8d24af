"""Every search method and system beside random search and the language model.

    python experiments/methods_table.py
    python experiments/methods_table.py --methods optformer

Each system's method runs on the system's own objective, and so do random search and the language
model, at equal budgets; the samplers, which have no objective of their own, run on four live
scikit-learn tasks. Everything trains for real, and no checkpoint learns from these objectives.

A run is a line of `methods.csv`, written when it ends. The same command goes on where it stopped,
and repeats the language model's runs when the checkpoint has changed. `methods_summary.csv` is what
the page shows (`make pictures` writes its tables). All of it takes about an hour on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from compare_populations import networks_and_methods
from learned_evolution import CMA, LEARNED, UNTRAINED
from learned_evolution import search as search_function
from matplotlib.figure import Figure
from optimizer_search import RANDOM as RANDOM_RULES
from optimizer_search import ask_the_model
from paired import half_width, pairs
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from optformer.data import methods
from optformer.data.methods.base import MethodFactory
from optformer.data.methods.registry import RENAMED
from optformer.data.objectives.base import Objective
from optformer.data.objectives.sklearn_tasks import dev_tasks
from optformer.data.systems.architectures.factorized import factorized
from optformer.data.systems.architectures.registry import ARCHITECTURES
from optformer.data.systems.architectures.search import System, run_search
from optformer.data.systems.optimizer_search.children import CHILD
from optformer.data.systems.optimizer_search.language import Grammar
from optformer.data.systems.optimizer_search.queue import TrainingQueue
from optformer.data.systems.optimizer_search.registry import RULE_SEARCHES
from optformer.data.systems.populations import PopulationRun
from optformer.planning.search_method import model_search
from optformer.serving.benchmarks.methods import method_version

BASE, OURS = "random", "optformer"
KEY = ["contest", "task", "method", "seed"]
COLUMNS = [*KEY, "best", "typical", "checkpoint"]
TASKS = ("elastic-net-diabetes", "kernel-ridge-diabetes", "sgd-diabetes", "svr-generated")
DIMENSIONS = ("2", "4", "8")
SAMPLERS = (
    *("gp", "gp-ei", "gp-ucb", "grid", "hill-climbing", "learned-evolution", "quasi-random"),
    *("regularized-evolution", "relaxed-cma-es", "shuffled-grid", "simulated-annealing", "tpe"),
)

SOURCES = {
    "asynchronous-sessions": "US11907821B2; Li 2019",
    "compound-scaling": "US11893491B2; Tan, Le 2019",
    "connection-evolution": "US20220189154A1; Ryoo 2020",
    "factorized-hierarchy": "US20220101090A1; Tan 2019",
    "gp": "Snoek 2012, from Optuna",
    "gp-ei": "Jones 1998; Snoek 2012",
    "gp-ucb": "Srinivas 2010; Snoek 2012",
    "learned-evolution": "US20240127071A1; Lange 2023",
    "partitioned-populations": "US20240242091A1; Dalibard, Jaderberg 2021",
    "population-based-training": "US11941527B2; Jaderberg 2017",
    "progressive-learning": "US20220245928A1; Tan, Le 2021",
    "progressive-learning+optformer": "US20220245928A1, schedules by the language model",
    "quasi-random": "Sobol 1967, from scipy",
    "regularized-evolution": "US11144831B2; Real 2019",
    "relaxed-cma-es": "Hansen 2001, from cmaes",
    "rule-controller-ppo": "CN110663049B; Bello 2017",
    "rule-controller-reinforce": "CN110663049B; Bello 2017",
    "rule-replicas-ppo": "CN110663049B; Bello 2017",
    "rule-replicas-reinforce": "CN110663049B; Bello 2017",
    OURS: "this package",
    "scale-permuted": "US12079695B2; Du 2020",
    "simulated-annealing": "Kirkpatrick 1983",
    "tpe": "Bergstra 2011, from Optuna",
}

Measured = tuple[float, float]
"""The best value of a run, and its median one."""


@dataclass(frozen=True)
class Contest:
    """Methods on the same objectives with the same budget.

    Attributes:
        text: What is searched, and the budget of a run.
        runs: Method to a function from task and seed to what the run measured.
        maximize: Whether larger is better.
        tasks: Objectives; where there are several, regrets are compared instead of values.
    """

    text: str
    runs: Mapping[str, Callable[[str, int], Measured]]
    maximize: bool = True
    tasks: Sequence[str] = ("",)

    @property
    def sign(self) -> float:
        """1 when larger is better, otherwise -1."""
        return 1.0 if self.maximize else -1.0


def best_and_typical(values: Sequence[float | None], *, maximize: bool) -> Measured:
    """Best and median of the values that there are."""
    there = np.array([value for value in values if value is not None])
    return float(there.max() if maximize else there.min()), float(np.median(there))


def populations(group: str, text: str, model: Path | None) -> Contest:
    """The methods of a group of `compare_populations.py`."""
    make, _, found = networks_and_methods(group, "digits", model)

    def run(method: PopulationRun, task: str, seed: int) -> Measured:
        result = method.run(make, seed)
        values = [trial.value for trial in result.trials]
        return float(result.best.value or 0.0), best_and_typical(values, maximize=False)[1]

    runs = {name: partial(run, method) for name, method in found.items()}
    return Contest(text, runs, maximize=False)


def architecture(name: str, text: str, model: Path | None, trials: int = 15) -> Contest:
    """The method of an architecture system; operations are counted, which repeats exactly."""
    system = factorized("flops") if name == "factorized-hierarchy" else ARCHITECTURES[name]()

    def run(make: MethodFactory, task: str, seed: int) -> Measured:
        history = run_search(system, make(system.config), trials, seed=seed)
        return best_and_typical([trial.value for trial in history], maximize=True)

    makers: dict[str, MethodFactory] = {
        BASE: partial(methods.create, BASE),
        name: lambda config: system.method(config, trials),
        OURS: partial(model_search, model=model),
    }
    runs = {method: partial(run, make) for method, make in makers.items()}
    return Contest(f"{text}; {trials} networks", runs)


def update_rules(model: Path | None, trainings: int = 96) -> Contest:
    """The controllers over update rules; a rule that comes again is not trained again."""
    queue, grammar = TrainingQueue(CHILD), Grammar()
    searches = {name: RULE_SEARCHES[name] for name in RULE_SEARCHES.names()}
    searches = {BASE: searches.pop(RANDOM_RULES), **searches, OURS: partial(ask_the_model, model)}

    def run(name: str, task: str, seed: int) -> Measured:
        history = searches[name](queue, grammar, trainings, seed, lambda trial: None)
        return best_and_typical([trial.value for trial in history], maximize=True)

    text = f"update rules for a perceptron on digits, accuracy; {trainings} networks"
    return Contest(text, {name: partial(run, name) for name in searches})


def strategies(model: Path | None, trials: int = 60) -> Contest:
    """The learned evolution strategy on functions of its family that it was not trained on."""

    def run(name: str, task: str, seed: int) -> Measured:
        curve = search_function(name, int(task), seed, trials, model)
        return float(curve[-1]), float(curve[0])

    return Contest(
        f"held-out functions of the family, 2, 4 and 8 dimensions, log10 of the best; {trials}",
        {name: partial(run, name) for name in (LEARNED, UNTRAINED, CMA, BASE, OURS)},
        maximize=False,
        tasks=DIMENSIONS,
    )


def samplers(model: Path | None, trials: int = 30) -> Contest:
    """Search methods on live tasks of the development suite."""
    live = {objective.name: objective for objective in dev_tasks()}

    def run(make: MethodFactory, task: str, seed: int) -> Measured:
        system = as_system(live[task])
        history = run_search(system, make(system.config), trials, seed=seed)
        sign = system.config.sign
        gains = [None if trial.value is None else sign * trial.value for trial in history]
        return best_and_typical(gains, maximize=True)

    runs = {name: partial(run, partial(methods.create, name)) for name in (BASE, *SAMPLERS)}
    runs[OURS] = partial(run, partial(model_search, model=model))
    return Contest(f"4 live scikit-learn tasks; {trials} trials", runs, tasks=TASKS)


def as_system(objective: Objective) -> System:
    """An objective in the form that `run_search` takes."""
    metric = objective.config.metric_name
    return System(
        objective.name,
        objective.config,
        lambda params: {metric: objective(params)},
        lambda config, trials: methods.create(BASE, config),
    )


CONTESTS: dict[str, Callable[[Path | None], Contest]] = {
    "populations": partial(
        populations, "populations", "perceptron on digits, loss; 4,000 steps of training"
    ),
    "progressive": partial(
        populations, "progressive", "convolutional network on digits, loss; 1,920 steps"
    ),
    "cells": partial(architecture, "regularized-evolution", "cells on digits, accuracy"),
    "scaling": partial(architecture, "compound-scaling", "doubled network on drawings, accuracy"),
    "graphs": partial(
        architecture, "connection-evolution", "graphs of blocks on digits, accuracy and operations"
    ),
    "blocks": partial(
        architecture, "factorized-hierarchy", "three blocks on digits, accuracy and operations"
    ),
    "scales": partial(architecture, "scale-permuted", "permuted blocks on digits, accuracy"),
    "rules": update_rules,
    "strategies": strategies,
    "samplers": samplers,
}


def read(file: Path, model: Path | None) -> pd.DataFrame:
    """The runs that are there, but those of another checkpoint."""
    if not file.exists():
        return pd.DataFrame(columns=COLUMNS)
    text = {"task": str, "checkpoint": str}  # digits alone would be read as numbers
    there = pd.read_csv(file, keep_default_na=False, dtype=text)
    there = there.replace({"method": RENAMED}).drop_duplicates(KEY, keep="last")
    return there[there.checkpoint == there.method.map(partial(checkpoint_of, model=model))]


def checkpoint_of(method: str, model: Path | None) -> str:
    """First digits of the checkpoint that a method asks, none for those that ask no model."""
    return method_version(OURS, model=model).split()[-1] if OURS in method.split("+") else ""


def missing(
    contests: Mapping[str, Contest], only: Sequence[str], seeds: int, there: pd.DataFrame
) -> Iterator[tuple[str, str, str, int]]:
    """Contest, task, method and seed of every run that is not there, one seed after the other."""
    done = set(there[KEY].itertuples(index=False, name=None))
    for seed in range(seeds):
        for name, contest in contests.items():
            for method in contest.runs:
                if only and not any(word in method.split("+") for word in only):
                    continue
                for task in contest.tasks:
                    if (name, task, method, seed) not in done:
                        yield name, task, method, seed


def regrets(runs: pd.DataFrame, contest: Contest) -> pd.Series:
    """(top - best) / (top - typical) of a contest's runs, 0 for the best run of a task.

    The top of a task is the best value of any method, the typical value a random trial's.
    """
    gain = contest.sign * runs.best
    top = gain.groupby(runs.task).transform("max")
    typical = contest.sign * runs.typical.where(runs.method == BASE)
    return (top - gain) / (top - typical.groupby(runs.task).transform("mean"))


def compared(runs: pd.DataFrame, contest: Contest) -> tuple[dict[str, np.ndarray], float]:
    """What the table shows of every method, in the same order of tasks and seeds, and its sign."""
    several = len(contest.tasks) > 1
    shown = runs.assign(shown=regrets(runs, contest) if several else runs.best)
    shown = shown.sort_values(["task", "seed"])
    values = {name: part.shown.to_numpy() for name, part in shown.groupby("method")}
    return values, -1.0 if several else contest.sign


def summary(contests: Mapping[str, Contest], there: pd.DataFrame) -> pd.DataFrame:
    """A line for each method of each contest, best first: its mean, and its pairs with others."""
    lines = []
    for name, contest in contests.items():
        values, sign = compared(there[there.contest == name], contest)
        order = sorted(values, key=lambda method: -sign * values[method].mean())
        for method in order:
            ours = values[method]
            line = {
                "contest": name,
                "method": method,
                "source": SOURCES.get(method, "common practice"),
                "value": f"{ours.mean():.3f}",
                "half_width": f"{half_width(ours):.3f}" if len(ours) > 1 else "",
            }
            for other in (BASE, OURS):
                theirs = values.get(other)
                if other != method and theirs is not None and len(theirs) == len(ours):
                    won, lost, _, p = pairs(ours, theirs, sign)
                    line |= {f"won_{other}": str(won), f"lost_{other}": str(lost)}
                    line[f"p_{other}"] = "" if p is None else f"{p:.2g}"
            lines.append(line)
    return pd.DataFrame(lines)


def plot(contests: Mapping[str, Contest], there: pd.DataFrame, file: Path) -> None:
    """Mean regret of every method beside random search's and the language model's."""
    figure = Figure(dpi=120, layout="constrained")
    axes = figure.add_subplot(xlabel="regret: 0 the best run of anyone, 1 a typical random trial")
    marks = {"method": ("#333333", "o"), BASE: ("#999999", "|"), OURS: ("#d1495b", "D")}
    labels: list[str] = []
    for name, contest in contests.items():
        runs = there[there.contest == name]
        runs = runs.assign(regret=regrets(runs, contest))
        values = {key: part.regret.to_numpy() for key, part in runs.groupby("method")}
        for method in contest.runs:
            if method in (BASE, OURS) or method not in values:
                continue
            for key, (colour, marker) in marks.items():
                found = values.get(method if key == "method" else key, np.array([]))
                if len(found) < 2:
                    continue
                axes.errorbar(
                    found.mean(),
                    len(labels),
                    xerr=half_width(found) if key == "method" else None,
                    color=colour,
                    marker=marker,
                    markersize=9 if key == BASE else 5,
                    linewidth=1,
                    label=None if labels else key,
                )
            labels.append(f"{method} ({name})")
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    figure.set_size_inches(7.5, 1.2 + 0.28 * len(labels))
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "optformer"}):
        figure.savefig(file, metadata={"Date": None})


def main() -> None:
    """Run what is missing, then write the summary and the figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--contests", nargs="+", choices=CONTESTS, default=list(CONTESTS))
    parser.add_argument("--methods", nargs="+", default=[], help="run these only (default: all)")
    parser.add_argument("--seeds", type=int, default=5, help="runs of a method on an objective")
    parser.add_argument("--model", type=Path, help="checkpoint folder (default: the shipped model)")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    args = parser.parse_args()

    torch.set_num_threads(1)
    (args.out / "data").mkdir(parents=True, exist_ok=True)
    file = args.out / "data" / "methods.csv"
    contests = {name: make(args.model) for name, make in CONTESTS.items()}
    there = read(file, args.model)
    there.to_csv(file, index=False)
    wanted = {name: contests[name] for name in args.contests}
    with threadpool_limits(1):
        open_runs = list(missing(wanted, args.methods, args.seeds, there))
        for key in tqdm(open_runs, unit="run", mininterval=5):
            contest, task, method, seed = key
            best, typical = contests[contest].runs[method](task, seed)
            checkpoint = checkpoint_of(method, args.model)
            line = pd.DataFrame([[*key, f"{best:.6g}", f"{typical:.6g}", checkpoint]])
            line.to_csv(file, mode="a", header=False, index=False)
    there = read(file, args.model).sort_values(KEY)
    there.to_csv(file, index=False)
    summary(contests, there).to_csv(args.out / "data" / "methods_summary.csv", index=False)
    plot(contests, there, args.out / "methods.svg")


if __name__ == "__main__":
    main()
