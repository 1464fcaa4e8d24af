"""Benchmark suites: named groups of tuning tasks with what is needed to normalise regret."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from optformer.data.objectives import bbob, gaussian_processes, sklearn_families
from optformer.data.objectives.base import Objective
from optformer.data.objectives.sklearn_tasks import dev_tasks
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Value
from optformer.data.studies.study_config import StudyConfig
from optformer.serving.benchmarks.tables import FAMILIES, load_table, table_names

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


_SUITES: dict[str, Suite] = {}


def register_suite(suite: Suite) -> None:
    """Make a suite known by its name.

    Raises:
        ConfigError: The name is taken.
    """
    if suite.name in _SUITES:
        raise ConfigError(f"suite {suite.name!r} is already registered; choose another name")
    _SUITES[suite.name] = suite


def suite_names() -> list[str]:
    """Names of all registered suites."""
    return sorted(_SUITES)


def get_suite(suite: str) -> Suite:
    """Find a suite.

    Args:
        suite: A registered name; or `package.module:NAME` or `path/to/file.py:NAME` for one of the
            user's own; or what `own_suites.logs_suite_name` returns.

    Raises:
        ConfigError: There is none; the message lists the known ones.
    """
    if suite in _SUITES:
        return _SUITES[suite]
    if suite == "logs":
        raise ConfigError(
            "suite 'logs' needs your tables: --logs PATH --metric NAME --goal maximize or minimize"
        )
    if ":" not in suite:
        raise ConfigError(
            f"unknown suite {suite!r}; known suites are {suite_names()}, 'logs' with --logs PATH, "
            "and your own as package.module:NAME or path/to/file.py:NAME"
        )
    from optformer.serving.benchmarks.own_suites import load_own_suite

    own = load_own_suite(suite)
    if own.name in _SUITES:
        raise ConfigError(f"suite {suite!r} is called {own.name!r}, as a shipped one is; rename it")
    return own


def objective_suite(name: str, tasks: Sequence[str], load: Callable[[str], Objective]) -> Suite:
    """A suite of objectives.

    Args:
        name: The suite's name.
        tasks: Names of the objectives.
        load: Name to objective.
    """
    return Suite(name, lambda: tuple(tasks), lambda task: _objective_task(load(task)))


def load_task(suite: str, name: str) -> Task:
    """Load one task of a suite.

    Raises:
        ConfigError: The suite or the task is unknown.
        MissingExtraError: The suite needs a package that is not installed.
    """
    found = get_suite(suite)
    known = list(found.tasks())
    if name not in known:
        raise ConfigError(f"unknown task {name!r}; suite {suite!r} has {known}")
    return found.load(name)


def _load_table_task(suite: str, name: str) -> Task:
    table = load_table(suite, name)
    return Task(
        name=name,
        config=table.config,
        evaluate=table,
        optimum=table.optimum,
        reference=table.median,
    )


def _objective_task(objective: Objective) -> Task:
    return Task(
        name=objective.name,
        config=objective.config,
        evaluate=objective,
        optimum=objective.optimum,
    )


def _dev_names() -> tuple[str, ...]:
    return (*(objective.name for objective in dev_tasks()), *bbob.DEV_NAMES)


def _load_dev_task(name: str) -> Task:
    live = {objective.name: objective for objective in dev_tasks()}
    return _objective_task(live[name] if name in live else bbob.bbob_objective(name))


register_suite(Suite("dev", _dev_names, _load_dev_task))
for _suite in (
    objective_suite("bbob", bbob.NAMES, bbob.bbob_objective),
    objective_suite("sklearn", sklearn_families.NAMES, sklearn_families.sklearn_objective),
    objective_suite("synthetic-gp", gaussian_processes.NAMES, gaussian_processes.gp_objective),
):
    register_suite(_suite)
for _name in FAMILIES:
    register_suite(Suite(_name, partial(table_names, _name), partial(_load_table_task, _name)))
