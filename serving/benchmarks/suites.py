"""Benchmark suites: named groups of tuning tasks with what is needed to normalise regret."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from optformer.data.errors import ConfigError
from optformer.data.parameters import Value
from optformer.data.studies import StudyConfig
from optformer.serving.benchmarks.tables import FAMILIES, load_table, table_names

if TYPE_CHECKING:
    from optformer.data.objectives.base import Objective

Evaluate = Callable[[Mapping[str, Value]], float]

_LEGAL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # names become folders


@dataclass(frozen=True, kw_only=True)
class Task:
    """One tuning problem.

    Attributes:
        name: Unique in its suite; letters, digits, `.`, `_` and `-`.
        suite: Name of the suite.
        config: The study as OptFormer sees it. Rivals see the same space, an `Ordinal` as the
            integer index of its choice.
        evaluate: Legal point to metric, in the metric's own units; a failure raises
            `ObjectiveError` or returns a value that is not finite.
        optimum: Best possible value; None when nobody knows it.
        reference: Median value over the whole space; None when it must be estimated from random
            points.
        seen_in_training: Whether a shipped checkpoint was trained on this task or on its space.

    Raises:
        ConfigError: The name cannot be a folder, or the study holds parameters fixed.
    """

    name: str
    suite: str
    config: StudyConfig
    evaluate: Evaluate
    optimum: float | None = None
    reference: float | None = None
    seen_in_training: bool = False

    def __post_init__(self) -> None:
        for field, text in (("name", self.name), ("suite", self.suite)):
            if not _LEGAL_NAME.fullmatch(text):
                raise ConfigError(
                    f"a task's {field} may hold letters, digits, '.', '_' and '-', got {text!r}"
                )
        if self.config.fixed:
            raise ConfigError(
                f"task {self.name!r} holds {sorted(self.config.fixed)} fixed; "
                "leave these parameters out of the space instead"
            )


@dataclass(frozen=True)
class Suite:
    """A group of tasks that are loaded one at a time.

    Attributes:
        name: What `--suite` takes.
        tasks: Names of the tasks, in a fixed order.
        load: Task name to task.
    """

    name: str
    tasks: Callable[[], Sequence[str]]
    load: Callable[[str], Task]


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


def get_suite(name: str) -> Suite:
    """The suite of this name.

    Raises:
        ConfigError: There is none; the message lists the known ones.
    """
    if name not in _SUITES:
        raise ConfigError(f"unknown suite {name!r}; known suites are {suite_names()}")
    return _SUITES[name]


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
        suite=suite,
        config=table.config,
        evaluate=table,
        optimum=table.optimum,
        reference=table.median,
    )


@lru_cache(maxsize=1)
def _dev_objectives() -> dict[str, Objective]:
    from optformer.data.objectives.sklearn_tasks import dev_tasks

    return {objective.name: objective for objective in dev_tasks()}


def _load_dev_task(name: str) -> Task:
    objective = _dev_objectives()[name]
    return Task(
        name=name,
        suite="dev",
        config=objective.config,
        evaluate=objective,
        seen_in_training=not objective.reserved,
    )


register_suite(Suite("dev", lambda: tuple(_dev_objectives()), _load_dev_task))
for _name in FAMILIES:
    register_suite(Suite(_name, partial(table_names, _name), partial(_load_table_task, _name)))
