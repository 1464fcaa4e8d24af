"""Benchmark suites by name."""

from __future__ import annotations

from functools import partial

from optformer.data.objectives import bbob, gaussian_processes, modes, sklearn_families
from optformer.data.objectives.sklearn_tasks import dev_tasks
from optformer.data.registry import Registry
from optformer.data.studies.errors import ConfigError
from optformer.serving.benchmarks.tables import FAMILIES, load_table, table_names
from optformer.serving.benchmarks.tasks import Suite, Task, objective_suite, objective_task
from optformer.serving.benchmarks.user_suites import load_user_suite

SUITES: Registry[Suite] = Registry("suite")
"""Every suite that ships; `register` adds another."""


def get_suite(suite: str) -> Suite:
    """Find a suite.

    Args:
        suite: A registered name; or `package.module:NAME` or `path/to/file.py:NAME` for one of the
            user's own; or what `user_suites.logs_suite_name` returns.

    Raises:
        ConfigError: There is none; the message lists the known ones.
    """
    if suite in SUITES:
        return SUITES[suite]
    if suite == "logs":
        raise ConfigError(
            "suite 'logs' needs your tables: --logs PATH --metric NAME --goal maximize or minimize"
        )
    if ":" not in suite:
        raise ConfigError(
            f"unknown suite {suite!r}; known suites are {SUITES.names()}, 'logs' with --logs PATH, "
            "and your own as package.module:NAME or path/to/file.py:NAME"
        )
    own = load_user_suite(suite)
    if own.name in SUITES:
        raise ConfigError(f"suite {suite!r} is called {own.name!r}, as a shipped one is; rename it")
    return own


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


def _dev_names() -> tuple[str, ...]:
    return (*(objective.name for objective in dev_tasks()), *bbob.DEV_NAMES)


def _load_dev_task(name: str) -> Task:
    live = {objective.name: objective for objective in dev_tasks()}
    return objective_task(live[name] if name in live else bbob.bbob_objective(name))


for _suite in (
    Suite("dev", _dev_names, _load_dev_task),
    objective_suite("bbob", bbob.NAMES, bbob.bbob_objective),
    objective_suite("modes", modes.NAMES, modes.modes_objective),
    objective_suite("sklearn", sklearn_families.NAMES, sklearn_families.sklearn_objective),
    objective_suite("synthetic-gp", gaussian_processes.NAMES, gaussian_processes.gp_objective),
    *(
        Suite(family, partial(table_names, family), partial(_load_table_task, family))
        for family in FAMILIES
    ),
):
    SUITES.register(_suite.name, _suite)
