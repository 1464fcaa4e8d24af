"""Run a search method on an architecture system, with or without workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias, TypeVar

import numpy as np

from optformer.data.methods.base import SearchMethod
from optformer.data.objectives.base import Objective
from optformer.data.runtime.workers import WorkerPool
from optformer.data.studies.errors import ObjectiveError
from optformer.data.studies.parameters import Value, check_count
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial

Result = TypeVar("Result")

Measure: TypeAlias = Callable[[Mapping[str, Value]], dict[str, float]]
"""Trains the network of a legal point and returns all its metrics, the searched one among them.

A function of a module, or a `functools.partial` of one, so that worker processes can have it.
"""


@dataclass(frozen=True)
class System:
    """An architecture search system: a space, what its points are worth, and who searches it.

    Attributes:
        name: Name in the registry.
        config: The space, metric, goal and metadata.
        measure: Trains one network; raises `ObjectiveError` when that fails.
        method: Makes the search method of the system's source, for `config` and a number of trials,
            which a method in stages divides among them.
        known: Points worth knowing, by name: the hand-made networks the search competes with.
    """

    name: str
    config: StudyConfig
    measure: Measure
    method: Callable[[StudyConfig, int], SearchMethod]
    known: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)

    @property
    def objective(self) -> Objective:
        """The searched metric alone, for anything that tunes objectives."""
        metric = self.config.metric_name
        return Objective(
            self.name, self.config, partial(_one_metric, self.measure, metric), reserved=True
        )


def run_search(
    system: System,
    method: SearchMethod,
    trials: int,
    *,
    seed: int,
    workers: int = 0,
    report: Callable[[Trial], None] = lambda trial: None,
) -> list[Trial]:
    """Let a method search a system's space.

    With workers, as many trials as there are workers are under way at any time: whenever one ends,
    the method is asked for the next, with the others pending in the history. No worker waits for
    another, so the order of events, and with it the result, is not repeatable; without workers it
    is. A worker that dies is replaced, and its trial begins again, up to three times.

    Args:
        system: What is searched.
        method: Who searches, made for `system.config`.
        trials: Number of trials.
        seed: Seed of the suggestions.
        workers: Processes that train; 0 trains one network after another in this one.
        report: Called with each finished trial.

    Returns:
        The history; failed trials tell the reason, which may be that workers kept dying.

    Raises:
        ConfigError: A number is no whole number of at least 0.
    """
    check_count("trials", trials)
    check_count("seed", seed)
    check_count("workers", workers)
    history: list[Trial] = []
    running: dict[Future[Trial], Trial] = {}
    train = partial(evaluate, system.config, system.measure)
    with WorkerPool(workers) if workers else _ThisThread() as executor:
        while len(history) < trials or running:
            while len(history) < trials and len(running) < max(workers, 1):
                rng = np.random.default_rng([seed, len(history)])
                [params] = method.suggest(history, 1, rng)
                history.append(Trial(len(history), params))
                running[executor.submit(train, history[-1])] = history[-1]
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                trial = _ended(future, running.pop(future))
                history[trial.number] = trial
                report(trial)
    return history


class _ThisThread(Executor):
    """Trains at once."""

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        future: Future[Result] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def _ended(future: Future[Trial], trial: Trial) -> Trial:
    try:
        return future.result()
    except BrokenProcessPool as error:
        return trial.fail(str(error))


def evaluate(config: StudyConfig, measure: Measure, trial: Trial) -> Trial:
    """The trial with its metrics, or failed with the reason."""
    try:
        metrics = measure(config.space.validate(trial.params))
    except ObjectiveError as error:
        return trial.fail(str(error))
    value, metrics = config.measure(metrics)
    return trial.finish(value, metrics=metrics)


def _one_metric(measure: Measure, metric: str, params: Mapping[str, Value]) -> float:
    return measure(params)[metric]
