"""Run a search method on an architecture system, with or without workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import numpy as np

from optformer.data.errors import ConfigError, ObjectiveError
from optformer.data.methods.base import SearchMethod
from optformer.data.objectives.base import Objective
from optformer.data.parameters import Value
from optformer.data.studies import StudyConfig
from optformer.data.trials import Trial

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
    workers: int = 1,
    executor: Executor | None = None,
    report: Callable[[Trial], None] = lambda trial: None,
) -> list[Trial]:
    """Let a method search a system's space.

    With an executor, `workers` trials are under way at any time: whenever one ends, the method is
    asked for the next, with the others pending in the history. No worker waits for another, so the
    order of events, and with it the result, is not repeatable; without one it is.

    Args:
        system: What is searched.
        method: Who searches, made for `system.config`.
        trials: Number of trials.
        seed: Of the suggestions.
        workers: Trials under way at a time, at least 1.
        executor: Where trials run; None runs them one after another in this thread.
        report: Called with each finished trial.

    Returns:
        The history; failed trials tell the reason.

    Raises:
        ConfigError: `workers` does not go with the executor.
    """
    if workers < 1 or (workers > 1 and executor is None):
        raise ConfigError(f"workers={workers} must be at least 1, and 1 without an executor")
    history: list[Trial] = []
    running: dict[Future[Trial], int] = {}
    while len(history) < trials or running:
        while len(history) < trials and len(running) < workers:
            rng = np.random.default_rng([seed, len(history)])
            [params] = method.suggest(history, 1, rng)
            trial = Trial(len(history), params)
            history.append(trial)
            if executor is None:
                history[trial.number] = evaluate(system.config, system.measure, trial)
                report(history[trial.number])
            else:
                future = executor.submit(evaluate, system.config, system.measure, trial)
                running[future] = trial.number
        if running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                number = running.pop(future)
                history[number] = future.result()
                report(history[number])
    return history


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
