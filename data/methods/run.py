"""Let a search method work on an objective, one trial or batch after another."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from optformer.data.methods.base import SearchMethod
from optformer.data.studies.errors import ObjectiveError
from optformer.data.studies.parameters import Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.trials import Trial


@dataclass(frozen=True)
class TimedTrial:
    """A finished trial with the wall-clock time it took.

    Attributes:
        trial: Completed, or failed with the reason.
        suggesting: Seconds of its suggestion, a batch's divided by its trials; None for a given
            point.
        evaluating: Seconds of its evaluation.
    """

    trial: Trial
    suggesting: float | None
    evaluating: float


def run_method(
    method: SearchMethod,
    space: SearchSpace,
    evaluate: Callable[[Mapping[str, Value]], float],
    trials: int,
    generator: Callable[[int], np.random.Generator],
    *,
    given: Iterable[Mapping[str, Value]] = (),
    batch: int = 1,
) -> Iterator[TimedTrial]:
    """Let a search method work on an objective.

    Args:
        method: Made for the study of the objective.
        space: The study's space.
        evaluate: Legal point to the metric in its own units. A trial fails that raises
            `ObjectiveError` or whose value is not finite.
        trials: Length of the history, at least 1.
        generator: Number of trials so far to the generator that the method is given.
        given: Points to be evaluated before the method is asked, fewer than `trials`.
        batch: Trials asked for at once and told together, at least 1.

    Yields:
        Each trial when it has ended.

    Raises:
        SearchSpaceError: The method suggests a point that is not legal.
        SpaceExhaustedError: A finite space has no untried point left.
    """
    history: list[Trial] = []

    def ended(trial: Trial, suggesting: float | None) -> TimedTrial:
        began = time.perf_counter()
        history.append(evaluate_trial(evaluate, trial))
        return TimedTrial(history[-1], suggesting, time.perf_counter() - began)

    for point in given:
        yield ended(Trial(len(history), space.validate(point)), None)
    while len(history) < trials:
        count = min(batch, trials - len(history))
        began = time.perf_counter()
        points = method.suggest(history, count, generator(len(history)))
        seconds = (time.perf_counter() - began) / count
        for point in points:
            yield ended(Trial(len(history), space.validate(point)), seconds)


def evaluate_trial(evaluate: Callable[[Mapping[str, Value]], float], trial: Trial) -> Trial:
    """The trial with its value; failed when there is none, or none that is finite."""
    try:
        value = float(evaluate(trial.params))
    except ObjectiveError as error:
        return trial.fail(str(error))
    if not math.isfinite(value):
        return trial.fail(f"the objective returned {value}")
    return trial.finish(value)
