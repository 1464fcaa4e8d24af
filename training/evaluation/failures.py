"""How soon is a region avoided in which every trial fails?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count

import numpy as np
from tqdm import tqdm

from optformer.data.methods import SearchMethod, create
from optformer.data.studies.parameters import Value
from optformer.data.studies.study_config import StudyConfig
from optformer.planning.planner import Planner
from optformer.planning.search_method import ModelSearch
from optformer.training.bootstrap import Array, Estimate, mean
from optformer.training.evaluation.synthetic_tasks import (
    SyntheticTask,
    check_searches,
    draw_task,
    regrets,
    search,
)

STAGES = {"1 to 5": (0, 5), "6 to 10": (5, 10), "11 to 20": (10, 20), "21 to 30": (20, 30)}
"""Trials whose failures are counted together."""

_TRIALS = 30
_POINTS = 1000  # random points that tell how much of a space fails
_SHARES = (0.3, 0.5)  # of a space that fails, about


@dataclass(frozen=True)
class FailingTask:
    """A function without noise that has no value where one number is too large, or too small.

    The best of many random points is not among those.

    Attributes:
        task: The function.
        slot: The number, active in all points of the space.
        above: Whether it is too large, on the unit interval, above the limit, or too small below.
        limit: The limit.
        share: Share of random points that fail.
    """

    task: SyntheticTask
    slot: int
    above: bool
    limit: float
    share: float

    @property
    def config(self) -> StudyConfig:
        """The study."""
        return self.task.config

    @property
    def median(self) -> float:
        """Median value of random points, as if none failed."""
        return self.task.median

    @property
    def top(self) -> float:
        """The best value of random points."""
        return self.task.top

    def value(self, point: Mapping[str, Value]) -> float:
        """The function's value, NaN where the trial fails."""
        if fails(self.task.space.encode([point])[:, self.slot], self.limit, self.above)[0]:
            return float("nan")
        return self.task.value(point)


@dataclass(frozen=True)
class FailureScore:
    """One searcher on functions that fail on a part of their space.

    Regret is (top - best so far) / (top - median), the best value and the median of random points.

    Attributes:
        searcher: A search method, or `optformer`.
        tasks: Functions.
        seeds: Searches of each.
        share: Share of random points that fail, on average.
        failed: Stage to the share of its trials that failed.
        regret: Mean regret after the last trial.
    """

    searcher: str
    tasks: int
    seeds: int
    share: float
    failed: Mapping[str, Estimate]
    regret: Estimate


def failure_scores(
    planner: Planner,
    *,
    rivals: Sequence[str] = ("gp-ei", "tpe", "random"),
    tasks: int = 20,
    seeds: int = 3,
    seed: int = 2024,
    progress: bool = False,
) -> list[FailureScore]:
    """Search synthetic functions of which a third to a half of the space always fails.

    Args:
        planner: The model.
        rivals: Registered search methods.
        tasks: Functions, at least 1.
        seeds: Searches of each, at least 1.
        seed: Seed of functions and searches.
        progress: Show a progress bar on standard error.

    Raises:
        ConfigError: A rival is unknown, or a number is below 1.
    """
    check_searches(rivals, tasks=tasks, seeds=seeds)
    drawn = list(draw_failing_tasks(seed, tasks))
    share = float(np.mean([task.share for task in drawn]))
    searchers: dict[str, Callable[[StudyConfig, int], SearchMethod]] = {
        "optformer": lambda config, search_seed: ModelSearch(config, planner, seed=search_seed),
        **{name: partial(_method, name) for name in rivals},
    }
    scores = []
    with tqdm(total=len(searchers) * tasks, unit="task", disable=not progress) as bar:
        for name, make in searchers.items():
            bar.set_description(name)
            failed, regret = np.empty((tasks, _TRIALS)), np.empty(tasks)
            for k, task in enumerate(drawn):
                runs = [
                    search(task, make(task.config, s), _TRIALS, [seed, k, s]) for s in range(seeds)
                ]
                failed[k] = np.mean([[not trial.has_value for trial in run] for run in runs], 0)
                regret[k] = np.mean([regrets(task, run)[-1] for run in runs])
                bar.update()
            stages = {
                stage: mean(failed[:, first:last].mean(1))
                for stage, (first, last) in STAGES.items()
            }
            scores.append(FailureScore(name, tasks, seeds, share, stages, mean(regret)))
    return scores


def _method(name: str, config: StudyConfig, search_seed: int) -> SearchMethod:
    del search_seed  # the search's own stream says it all
    return create(name, config)


def draw_failing_tasks(seed: int, tasks: int) -> Iterator[FailingTask]:
    """Draw functions, and for each a number that must not be too large, or too small.

    Functions without a number that is always active are passed over.

    Args:
        seed: Seed of the functions.
        tasks: How many.
    """
    found = 0
    for number in count():
        if found == tasks:
            return
        task = draw_task(seed, number, _TRIALS)
        failing = _with_limit(task, np.random.default_rng([seed, number, 1]))
        if failing is not None:
            found += 1
            yield failing


def fails(values: Array, limit: float, above: bool) -> np.ndarray:
    """Which values of a number, (N,), are beyond its limit."""
    return values > limit if above else values < limit


def _with_limit(task: SyntheticTask, rng: np.random.Generator) -> FailingTask | None:
    space = task.space
    points = space.from_uniform(rng.random((_POINTS, len(space.names))))
    values = task.values(points)
    numbers = np.flatnonzero(space.active(points).all(0) & ~space.is_choice)
    if not len(numbers):
        return None
    slot, share = int(rng.choice(numbers)), rng.uniform(*_SHARES)
    column, above = points[:, slot], bool(rng.random() < 0.5)
    best = column[[int(np.nanargmax(values))]]
    for side in (above, not above):
        limit = float(np.quantile(column, 1 - share if side else share))
        failing = float(fails(column, limit, side).mean())
        # A number of few levels cannot be cut anywhere.
        if not fails(best, limit, side)[0] and abs(failing - share) < 0.1:
            return FailingTask(task, slot, side, limit, failing)
    return None
