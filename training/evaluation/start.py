"""How good the first trials are on data sets that training held out, beside a fixed list.

The list is the baseline to beat: the configurations that, tried one after the other on the data
sets of training, leave the least mean regret (Wistuba et al. 2015, "Sequential model-free
hyperparameter tuning"; Pfisterer et al. 2021, "Learning multiple defaults").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Value
from optformer.data.studies.trials import Trial
from optformer.planning.planner import Planner
from optformer.planning.space_transform import Array
from optformer.training.bootstrap import Estimate, mean
from optformer.training.evaluation.synthetic_tasks import check_searches, regrets
from optformer.training.evaluation.transfer import EmulatedTask, search_tasks

BUDGETS = (1, 2, 3, 5, 10, 20, 50)
LISTED = 10
"""Configurations of a fixed list."""
MODE_REGRET = 0.03
"""Regret of a finished search above which it ended in a mode that is not the best."""


@dataclass(frozen=True)
class StartScore:
    """One searcher on the held-out data sets of one table.

    Attributes:
        table: Name of the table.
        searcher: A search method, "fixed list", or the model with one of `VARIANTS`.
        tasks: Data sets, one metric each.
        seeds: Searches of each data set.
        regret: Trials to the mean regret after so many, see `regrets`.
        in_mode: Share of searches whose regret at the end is above `MODE_REGRET`.
    """

    table: str
    searcher: str
    tasks: int
    seeds: int
    regret: Mapping[int, Estimate]
    in_mode: float


def start_scores(
    planner: Planner,
    drawn: Mapping[str, Sequence[EmulatedTask]],
    known: Mapping[str, Sequence[EmulatedTask]],
    *,
    rivals: Sequence[str] = ("gp",),
    trials: int = 10,
    seeds: int = 2,
    seed: int = 2024,
    progress: bool = False,
) -> list[StartScore]:
    """Search held-out data sets with the model, with a fixed list and with other methods.

    Args:
        planner: The model.
        drawn: Held-out tasks of each table.
        known: Tasks of each table's data sets of training, from which its lists are chosen.
        rivals: Registered search methods.
        trials: Trials of each search; a fixed list has at most `LISTED`.
        seeds: Searches of each data set.
        seed: Seed of the searches.
        progress: Show progress bars on standard error.

    Raises:
        ConfigError: A rival is unknown, or a number is below 1.
    """
    check_searches(rivals, seeds=seeds, trials=trials)
    scores = []
    for table, tasks in drawn.items():
        lists = _fixed_lists(known[table], min(trials, LISTED))
        missing = sorted({task.config.metric_name for task in tasks} - lists.keys())
        if missing:
            raise ConfigError(f"{table}: no data set of training measured {missing[0]!r}")
        searched = search_tasks(
            planner, table, tasks, rivals, trials, seeds, seed=seed, progress=progress
        )
        scores += [_score(table, name, curves) for name, curves in searched.items()]
        listed = [[regrets(task, _try(task, lists[task.config.metric_name]))] for task in tasks]
        scores.append(_score(table, "fixed list", np.array(listed)))
    return scores


def _score(table: str, name: str, curves: Array) -> StartScore:
    """Of regrets after each trial, (K, seeds, T)."""
    tasks, seeds, trials = curves.shape
    found = {b: mean(curves[:, :, b - 1].mean(1)) for b in BUDGETS if b <= trials}
    in_mode = float((curves[:, :, -1] > MODE_REGRET).mean())
    return StartScore(table, name, tasks, seeds, found, in_mode)


def _try(task: EmulatedTask, points: Sequence[Mapping[str, Value]]) -> list[Trial]:
    return [
        Trial(number, dict(point)).finish(task.value(point)) for number, point in enumerate(points)
    ]


def _fixed_lists(tasks: Sequence[EmulatedTask], count: int) -> dict[str, list[dict[str, Value]]]:
    """For each metric the list that is best on the tasks, chosen greedily."""
    lists = {}
    for metric in dict.fromkeys(task.config.metric_name for task in tasks):
        measured = [task for task in tasks if task.config.metric_name == metric]
        points = np.concatenate([task.good for task in measured])
        left = np.array([_regret(task, points) for task in measured])  # (K, N)
        so_far = np.ones((len(measured), 1))
        chosen: list[int] = []
        for _ in range(count):
            chosen.append(int(np.minimum(left, so_far).mean(0).argmin()))
            so_far = np.minimum(so_far, left[:, chosen[-1:]])
        lists[metric] = [measured[0].space.decode(points[index]) for index in chosen]
    return lists


def _regret(task: EmulatedTask, points: Array) -> Array:
    scale = max(task.top - task.median, 1e-9)
    found: Array = ((task.top - task.answer(points)) / scale).clip(0.0, 1.0)
    return found
