"""Suites of the user's own: tasks that a module defines, and study tables as objectives.

A module offers a suite under a name of its choice, either as a `Suite`, or as a function without
arguments that returns tasks:

```python
from optformer.serving.benchmarks.tasks import Task

def my_tasks():
    yield Task(name="branin", config=StudyConfig(space, "value", "minimize"), evaluate=branin)
```

`--suite package.module:my_tasks` or `--suite path/to/file.py:my_tasks` runs it. Worker processes
import the module again, so importing it must have no side effects.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode

from optformer.data.studies.errors import ConfigError, OptFormerError
from optformer.data.studies.study_config import Goal
from optformer.serving.benchmarks.tasks import Suite, Task, objective_suite

_LOGS = "logs:"


def logs_suite_name(path: Path, *, metric: str, goal: Goal, task_column: str | None = None) -> str:
    """How the suite of one's own study tables is called in a benchmark's configuration.

    The name says everything, so that a worker process finds the same suite by it. Its results go
    to the folder `logs`.

    Args:
        path: A table, or a folder of tables; see `optformer.data.objectives.logged`.
        metric: Column of the metric.
        goal: Its direction.
        task_column: Column that tells tasks apart; None takes `dataset` or `task` where there is
            one, and otherwise a table is one task.
    """
    options: dict[str, str] = {"metric": metric, "goal": goal}
    if task_column is not None:
        options["task_column"] = task_column
    return f"{_LOGS}{quote(str(path.resolve()))}?{urlencode(options)}"


@lru_cache(maxsize=8)
def load_user_suite(name: str) -> Suite:
    """Find a suite that is not registered.

    Args:
        name: `package.module:NAME`, `path/to/file.py:NAME`, or what `logs_suite_name` returns.

    Raises:
        ConfigError: The module, the name in it, or a table cannot be found, or does not hold what
            a suite needs.
        SearchSpaceError: A table's space cannot be read.
        MissingExtraError: A table needs a package that is not installed.
    """
    if name.startswith(_LOGS):
        return _logs_suite(name)
    source, _, attribute = name.rpartition(":")
    module = _module_of_file(Path(source)) if source.endswith(".py") else _module(source)
    if not hasattr(module, attribute):
        raise ConfigError(f"{source} defines no {attribute!r}; name a Suite or a function of tasks")
    offered: Any = getattr(module, attribute)
    if isinstance(offered, Suite):
        return offered
    if not callable(offered):
        raise ConfigError(
            f"{name} must be a Suite or a function that returns tasks, got {type(offered).__name__}"
        )
    return _suite_of_tasks(attribute, name, offered)


def _module(source: str) -> ModuleType:
    try:
        return importlib.import_module(source)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"cannot import {source!r}: {error}; install it, put its folder on PYTHONPATH, "
            "or give the path of the file"
        ) from error


def _module_of_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise ConfigError(f"no file {path}; a suite of your own is path/to/file.py:NAME")
    module = importlib.util.module_from_spec(spec)
    with _blaming(str(path)):
        spec.loader.exec_module(module)
    return module


@contextmanager
def _blaming(source: str) -> Iterator[None]:
    """Say whose code raised."""
    try:
        yield
    except OptFormerError:
        raise
    except Exception as error:  # the user's code, which may raise anything
        raise ConfigError(f"{source} raised {type(error).__name__}: {error}") from error


def _suite_of_tasks(name: str, source: str, define: Callable[[], Iterable[Task]]) -> Suite:
    tasks: dict[str, Task] = {}
    with _blaming(source):
        defined = list(define())
    for task in defined:
        if not isinstance(task, Task):
            raise ConfigError(f"{source} must return tasks, got a {type(task).__name__}")
        if task.name in tasks:
            raise ConfigError(f"{source} returns two tasks of the name {task.name!r}")
        tasks[task.name] = task
    if not tasks:
        raise ConfigError(f"{source} returns no task")
    return Suite(name, partial(tuple, tasks), tasks.__getitem__)


def _logs_suite(name: str) -> Suite:
    from optformer.data.objectives.logged import LoggedStudies

    path, _, query = name.removeprefix(_LOGS).partition("?")
    options = {key: values[0] for key, values in parse_qs(query).items()}
    goals: dict[str, Goal] = {"maximize": "maximize", "minimize": "minimize"}
    goal = goals.get(options.get("goal", ""))
    if goal is None or "metric" not in options:
        raise ConfigError(
            f"{name!r} must say metric and goal: logs:PATH?metric=NAME&goal=maximize or minimize"
        )
    studies = LoggedStudies(
        Path(unquote(path)),
        metric=options["metric"],
        goal=goal,
        task_column=options.get("task_column"),
    )
    return objective_suite("logs", studies.names, studies.objective)
