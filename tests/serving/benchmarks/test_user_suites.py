"""Suites of the user's own: modules, files and study tables."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Float
from optformer.data.studies.space_files import save_space
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.serving.benchmarks import results, runner
from optformer.serving.benchmarks.runner import BenchmarkConfig, run_benchmark
from optformer.serving.benchmarks.suites import get_suite, load_task
from optformer.serving.benchmarks.tasks import Task
from optformer.serving.benchmarks.user_suites import logs_suite_name
from optformer.serving.cli import main

MODULE = """
from optformer.data.studies.parameters import Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.serving.benchmarks.tasks import Suite, Task

SPACE = SearchSpace(x=Float(-1.0, 1.0))

def bowl(name):
    config = StudyConfig(SPACE, "value", "minimize")
    return Task(name=name, config=config, evaluate=lambda params: params["x"] ** 2, optimum=0.0)

def bowls():
    yield bowl("shallow")
    yield bowl("deep")

def twice():
    return [bowl("same"), bowl("same")]

def nothing():
    return []

def numbers():
    return [1, 2]

LAZY = Suite("lazy-bowls", lambda: ("one",), bowl)
CLASH = Suite("dev", lambda: ("one",), bowl)
TEXT = "bowls"
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "my_bowls.py"
    path.write_text(MODULE)
    return path


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "my logs"
    folder.mkdir()
    with (folder / "net.csv").open("w", newline="") as stream:
        rows = [("set", "lr", "acc"), ("a", 0.1, 0.3), ("a", 0.9, 0.8), ("b", 0.5, 0.6)]
        csv.writer(stream).writerows(rows)
    save_space(SearchSpace(lr=Float(0.0, 1.0)), folder / "net.space.yaml")
    return folder


def test_own_suite__function_in_a_file__gives_its_tasks(module: Path) -> None:
    suite = get_suite(f"{module}:bowls")
    assert (suite.name, tuple(suite.tasks())) == ("bowls", ("shallow", "deep"))
    assert load_task(f"{module}:bowls", "deep").evaluate({"x": 0.5}) == 0.25


def test_own_suite__suite_in_an_importable_module__keeps_its_name(
    module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(module.parent))
    suite = get_suite("my_bowls:LAZY")
    assert (suite.name, suite.load("one").name) == ("lazy-bowls", "one")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bowl_suite", r"defines no 'bowl_suite'"),
        ("TEXT", r"must be a Suite or a function that returns tasks, got str"),
        ("twice", r"two tasks of the name 'same'"),
        ("nothing", r"returns no task"),
        ("numbers", r"must return tasks, got a int"),
        ("CLASH", r"is called 'dev', as a shipped one is"),
    ],
)
def test_own_suite__what_is_no_suite__is_refused(module: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        get_suite(f"{module}:{name}")


def test_own_suite__no_such_file_or_module__is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no file .*gone\.py"):
        get_suite(f"{tmp_path / 'gone.py'}:bowls")
    with pytest.raises(ConfigError, match=r"cannot import 'gone\.module'.*PYTHONPATH"):
        get_suite("gone.module:bowls")


def test_logs_suite__a_folder__gives_tasks_with_the_tables_optimum(logs: Path) -> None:
    name = logs_suite_name(logs, metric="acc", goal="maximize", task_column="set")
    suite = get_suite(name)
    assert (suite.name, tuple(suite.tasks())) == ("logs", ("net-a-acc", "net-b-acc"))
    task = load_task(name, "net-a-acc")
    assert task.evaluate({"lr": 0.7}) == task.optimum == 0.8
    assert task.reference is None


@pytest.mark.parametrize(
    "name", ["logs:net.csv", "logs:net.csv?metric=acc", "logs:net.csv?metric=acc&goal=up"]
)
def test_logs_suite__name_that_says_too_little__is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="must say metric and goal"):
        get_suite(name)


def test_command__logs__runs_and_reports(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["--suite", "logs", "--logs", str(logs), "--metric", "acc", "--goal", "maximize"]
    budget = ["--methods", "random", "--trials", "3", "--seeds", "1", "--out", str(out)]
    assert main(["benchmark", *arguments, "--task-column", "set", *budget]) == 0
    assert "logs" in capsys.readouterr().out
    assert results.has_reference(out, "logs", "net-b-acc")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suite", "logs"], "--suite logs needs"),
        (["--suite", "logs", "--logs", "x.csv", "--metric", "acc"], "--goal"),
        (["--suite", "dev", "--metric", "acc"], "['--metric'] are options of --suite logs only"),
        (["--suite", "bowls"], "known suites are ['bbob', 'dev'"),
    ],
)
def test_command__suite_that_is_not_there__runs_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[Any], message: str
) -> None:
    out = tmp_path / "out"
    assert main(["benchmark", *arguments, "--methods", "random", "--out", str(out)]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


OTHERS = """
from optformer.data.studies.parameters import Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.serving.benchmarks.tasks import Task

CONFIG = StudyConfig(SearchSpace(x=Float(-1.0, 2.0)), "value", "minimize")

def bowls():
    yield Task(name="shallow", config=CONFIG, evaluate=lambda params: 1.0, optimum=0.0)

def breaks():
    yield Task(name="one", config=CONFIG, evaluate=lambda params: params["y"], reference=1.0)

def text():
    yield Task(name="one", config=CONFIG, evaluate=lambda params: None, reference=1.0)

def raises():
    raise RuntimeError("no data")

def number():
    return 3
"""


def _run(suite: str, out: Path, methods: tuple[str, ...] = ("random",)) -> None:
    run_benchmark(BenchmarkConfig(suites=[suite], methods=methods, out=out, trials=3, seeds=1))


def test_run__another_task_of_the_same_name__is_refused(module: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "other.py"
    other.write_text(OTHERS)
    _run(f"{module}:bowls", out)
    with pytest.raises(ConfigError, match=r"another task bowls/shallow: its space, metric or"):
        _run(f"{other}:bowls", out, ("quasi-random",))
    _run(f"{module}:bowls", out, ("quasi-random",))
    assert {key.method for key in results.find_runs(out)} == {"random", "quasi-random"}


def test_run__logs_with_the_other_goal__is_refused(logs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    _run(logs_suite_name(logs, metric="acc", goal="maximize"), out)
    with pytest.raises(ConfigError, match=r"another task logs/.*: its goal was not"):
        _run(logs_suite_name(logs, metric="acc", goal="minimize"), out, ("quasi-random",))


def test_run__task_that_a_later_model_has_seen__is_marked(
    module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = f"{module}:bowls"
    for trained_on, marks in (((), [False, False]), (("bowls/deep",), [True, False])):
        monkeypatch.setattr(runner, "tasks_in_training", lambda model, told=trained_on: told)
        _run(suite, tmp_path)
        found = [results.read_reference(tmp_path, "bowls", task) for task in ("deep", "shallow")]
        assert [reference.seen_in_training for reference in found] == marks


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("breaks", r"task breaks/one raised KeyError: 'y', at \{'x'"),
        ("text", "task text/one raised TypeError"),
        ("raises", "raised RuntimeError: no data"),
        ("number", "raised TypeError: 'int' object is not iterable"),
    ],
)
def test_own_suite__code_that_raises__is_named(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text(OTHERS)
    with pytest.raises(ConfigError, match=message):
        _run(f"{tmp_path / 'other.py'}:{name}", tmp_path / "out")


def test_own_suite__file_that_cannot_be_imported__says_why(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def tasks(:\n")
    with pytest.raises(ConfigError, match=r"broken\.py raised SyntaxError"):
        get_suite(f"{tmp_path / 'broken.py'}:tasks")


@pytest.mark.parametrize(
    ("optimum", "reference", "message"),
    [
        (float("nan"), 1.0, "optimum of task 'one' must be finite, got nan"),
        (0.0, float("inf"), "reference of task 'one' must be finite, got inf"),
        (1.0, 0.5, r"optimum=1\.0 of task 'one', which is to minimize, must be better than"),
        (1.0, 1.0, "must be better than reference"),
    ],
)
def test_task__values_that_cannot_be__are_refused(
    optimum: float, reference: float, message: str
) -> None:
    config = StudyConfig(SearchSpace(x=Float(0.0, 1.0)), "value", "minimize")
    with pytest.raises(ConfigError, match=message):
        Task(
            name="one",
            config=config,
            evaluate=lambda params: 0.0,
            optimum=optimum,
            reference=reference,
        )
