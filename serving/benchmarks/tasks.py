"""Tuning tasks and named groups of them, with what is needed to normalise regret."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from optformer.data.objectives.base import Objective
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Value
from optformer.data.studies.study_config import StudyConfig

Evaluate = Callable[[Mapping[str, Value]], float]

_LEGAL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # names become folders


@dataclass(frozen=True, kw_only=True)
class Task:
    """One tuning problem.

    Attributes:
        name: Unique in its suite; letters, digits, `.`, `_` and `-`.
        config: The study as OptFormer sees it. Rivals see the same space, an `Ordinal` as the
            integer index of its choice.
        evaluate: Legal point to metric, in the metric's own units; a failure raises
            `ObjectiveError` or returns a value that is not finite.
        optimum: Best possible value; None when nobody knows it.
        reference: Median value over the whole space; None when it must be estimated from random
            points.

    Raises:
        ConfigError: The name cannot be a folder, the study holds parameters fixed, or the optimum
            is no better than the reference.
    """

    name: str
    config: StudyConfig
    evaluate: Evaluate
    optimum: float | None = None
    reference: float | None = None

    def __post_init__(self) -> None:
        _check_name("task", self.name)
        if self.config.fixed:
            raise ConfigError(
                f"task {self.name!r} holds {sorted(self.config.fixed)} fixed; "
                "leave these parameters out of the space instead"
            )
        for what, value in (("optimum", self.optimum), ("reference", self.reference)):
            if value is not None and not math.isfinite(value):
                raise ConfigError(f"{what} of task {self.name!r} must be finite, got {value}")
        if self.optimum is None or self.reference is None:
            return
        if not self.config.sign * (self.optimum - self.reference) > 0:
            raise ConfigError(
                f"optimum={self.optimum} of task {self.name!r}, which is to {self.config.goal}, "
                f"must be better than reference={self.reference}"
            )

    @property
    def digest(self) -> str:
        """What tells the task's study from others of the same name."""
        told = json.dumps(self.config.to_dict(), sort_keys=True, default=str)
        return hashlib.sha256(told.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Suite:
    """A group of tasks that are loaded one at a time.

    Attributes:
        name: Its folder in the results; letters, digits, `.`, `_` and `-`.
        tasks: Names of the tasks, in a fixed order.
        load: Task name to task.

    Raises:
        ConfigError: The name cannot be a folder.
    """

    name: str
    tasks: Callable[[], Sequence[str]]
    load: Callable[[str], Task]

    def __post_init__(self) -> None:
        _check_name("suite", self.name)


def _check_name(what: str, name: str) -> None:
    if not _LEGAL_NAME.fullmatch(name):
        raise ConfigError(
            f"a {what}'s name may hold letters, digits, '.', '_' and '-', got {name!r}"
        )


def objective_task(objective: Objective) -> Task:
    """An objective as a task."""
    return Task(
        name=objective.name,
        config=objective.config,
        evaluate=objective,
        optimum=objective.optimum,
    )


def objective_suite(name: str, tasks: Sequence[str], load: Callable[[str], Objective]) -> Suite:
    """A suite of objectives.

    Args:
        name: The suite's name.
        tasks: Names of the objectives.
        load: Name to objective.
    """
    return Suite(name, lambda: tuple(tasks), lambda task: objective_task(load(task)))
