"""Searches of synthetic functions that no training run draws, and their regret."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch

from optformer.data.corpora.synthetic.functions import SyntheticFunctions, draw_functions
from optformer.data.corpora.synthetic.spaces import draw_spaces
from optformer.data.methods import METHODS, SearchMethod
from optformer.data.methods.run import run_method
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Value
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.planning.space_transform import SpaceTransform
from optformer.training.bootstrap import Array

_PARAMETERS = (2, 3, 4, 6)  # parameters of the tasks, in turn
_REFERENCE = 1000  # random points whose median and best a regret is measured with
_ROOM = 20  # least points of a space, in trials of a search


class RegretTask(Protocol):
    """A function to be maximized, with the yardstick of its regret.

    Attributes:
        config: The study.
        median: Median value of many random points.
        top: The best value known.
    """

    @property
    def config(self) -> StudyConfig: ...  # noqa: D102

    @property
    def median(self) -> float: ...  # noqa: D102

    @property
    def top(self) -> float: ...  # noqa: D102

    def value(self, point: Mapping[str, Value]) -> float:
        """The function's value, NaN where the trial fails."""


def check_searches(rivals: Sequence[str], **counts: int) -> None:
    """Raise `ConfigError` when a rival is no registered method, or a number is below 1."""
    METHODS.check(rivals)
    for what, count in counts.items():
        if count < 1:
            raise ConfigError(f"{what} must be at least 1, got {count}")


@dataclass(frozen=True)
class SyntheticTask:
    """One function without noise on one space, a `RegretTask`.

    Attributes:
        config: The study.
        space: Its space, encoded.
        functions: The function, a batch of one.
        median: Median value of 1,000 random points.
        top: The best of them.
    """

    config: StudyConfig
    space: SpaceTransform
    functions: SyntheticFunctions
    median: float
    top: float

    def value(self, point: Mapping[str, Value]) -> float:
        """The function's value, NaN where the trial fails."""
        return float(self.values(self.space.encode([point]))[0])

    def values(self, points: Array) -> Array:
        """Values of encoded points, (N, P) to (N,), NaN where a trial fails."""
        return _observe(self.functions, points)


def draw_task(seed: int, number: int, trials: int) -> SyntheticTask:
    """Draw a task of 2, 3, 4 or 6 parameters, in turn, by its number.

    Args:
        seed: Seed of the tasks.
        number: Which of them.
        trials: Length of the searches; the space has 20 times as many points.
    """
    rng = np.random.default_rng([seed, number])
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    parameters, size = _PARAMETERS[number % len(_PARAMETERS)], 0
    while size < _ROOM * trials:
        spaces = draw_spaces(1, parameters, rng)
        size = spaces.described[0].size or sys.maxsize  # None: a continuum
    functions = draw_functions(spaces, 1, generator)
    functions = replace(functions, noise=torch.zeros_like(functions.noise))
    config = StudyConfig(space=spaces.described[0], metric="objective", goal="maximize")
    space = SpaceTransform(config.space, {})
    values = _observe(functions, space.from_uniform(rng.random((_REFERENCE, len(space.names)))))
    median, top = float(np.nanmedian(values)), float(np.nanmax(values))
    return SyntheticTask(config, space, functions, median, top)


def search(task: RegretTask, method: SearchMethod, trials: int, seed: Sequence[int]) -> list[Trial]:
    """Search a task; each trial has its own stream of the seed."""

    def generator(number: int) -> np.random.Generator:
        return np.random.default_rng([*seed, number])

    done = run_method(method, task.config.space, task.value, trials, generator)
    return [timed.trial for timed in done]


def regrets(task: RegretTask, history: Sequence[Trial]) -> Array:
    """(top - best so far) / (top - median) after each trial, at most 1, maybe below 0; (T,)."""
    values = [-np.inf if trial.value is None else trial.value for trial in history]
    best = np.maximum.accumulate(np.array(values, dtype=np.float64))
    scale = max(task.top - task.median, 1e-9)
    return np.minimum((task.top - best) / scale, 1.0)


def _observe(functions: SyntheticFunctions, values: Array) -> Array:
    """Values of points, (N, P), without noise; NaN where a trial fails."""
    points = torch.from_numpy(values).float()[None, None]
    return functions.observe(points, torch.Generator())[0, 0].double().numpy()
