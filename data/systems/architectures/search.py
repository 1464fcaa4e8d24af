"""Run a search method on an architecture system, with or without workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self, TypeAlias, TypeVar

import numpy as np

from optformer.data.methods.base import SearchMethod
from optformer.data.objectives.base import Objective
from optformer.data.studies.errors import ConfigError, ObjectiveError
from optformer.data.studies.parameters import Value, check_count
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial

ATTEMPTS = 3
"""A trial has failed when it was under way at this many deaths of a worker."""

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
    workers: int = 1,
    start: Callable[[], Executor] | None = None,
    report: Callable[[Trial], None] = lambda trial: None,
) -> list[Trial]:
    """Let a method search a system's space.

    With an executor, `workers` trials are under way at any time: whenever one ends, the method is
    asked for the next, with the others pending in the history. No worker waits for another, so the
    order of events, and with it the result, is not repeatable; without one it is. A worker that
    dies takes the executor with it: another is started, and the trials under way begin again.

    Args:
        system: What is searched.
        method: Who searches, made for `system.config`.
        trials: Number of trials.
        seed: Of the suggestions.
        workers: Trials under way at a time, at least 1.
        start: Starts an executor for the trials; None runs them one after another in this thread.
        report: Called with each finished trial.

    Returns:
        The history; failed trials tell the reason, which may be that workers kept dying.

    Raises:
        ConfigError: `workers` does not go with the executor, or a number is out of range.
    """
    if workers < 1 or (workers > 1 and start is None):
        raise ConfigError(f"workers={workers} must be at least 1, and 1 without an executor")
    check_count("trials", trials)
    check_count("seed", seed)
    history: list[Trial] = []
    train = partial(evaluate, system.config, system.measure)
    with _UnderWay(train, start or _ThisThread) as under_way:
        while len(history) < trials or under_way:
            while len(history) < trials and len(under_way) < workers:
                rng = np.random.default_rng([seed, len(history)])
                [params] = method.suggest(history, 1, rng)
                history.append(Trial(len(history), params))
                under_way.add(history[-1])
            for trial in under_way.ended():
                history[trial.number] = trial
                report(trial)
    return history


class _ThisThread(Executor):
    """Trains at once."""

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        future: Future[Result] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class _UnderWay:
    """Trials in an executor, and the next executor when a worker's death has broken it."""

    def __init__(self, train: Callable[[Trial], Trial], start: Callable[[], Executor]) -> None:
        self._train, self._start = train, start
        self._executor = start()
        self._running: dict[Future[Trial], Trial] = {}
        self._deaths: Counter[int] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._executor.shutdown(cancel_futures=True)

    def __len__(self) -> int:
        return len(self._running)

    def add(self, trial: Trial) -> None:
        """Have a trial trained."""
        self._running[self._executor.submit(self._train, trial)] = trial

    def ended(self) -> Iterator[Trial]:
        """Wait for some trials to end."""
        done, _ = wait(self._running, return_when=FIRST_COMPLETED)
        for future in done:
            try:
                trial = future.result()
            except BrokenExecutor:
                yield from self._begin_again()
                return
            del self._running[future]
            yield trial

    def _begin_again(self) -> Iterator[Trial]:
        """Hand all trials out again, but those that saw too many deaths: which was guilty?"""
        lost = list(self._running.values())
        self._running.clear()
        self._executor.shutdown()
        self._executor = self._start()
        for trial in lost:
            self._deaths[trial.number] += 1
            if self._deaths[trial.number] == ATTEMPTS:
                yield trial.fail(f"a worker died in each of {ATTEMPTS} attempts to train it")
            else:
                self.add(trial)


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
