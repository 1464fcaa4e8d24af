"""Searches run the same way again, or with workers that never wait."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from optformer.data.methods.random_search import RandomSearch
from optformer.data.methods.regularized_evolution import RegularizedEvolution
from optformer.data.studies.errors import ConfigError, ObjectiveError
from optformer.data.studies.parameters import Float, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.data.systems.architectures import search as search_module
from optformer.data.systems.architectures.search import System, run_search

CONFIG = StudyConfig(SearchSpace(x=Float(0, 1)), "score", "maximize")


def bowl(params: Mapping[str, Value]) -> dict[str, float]:
    if params["x"] > 0.6:
        raise ObjectiveError("too far")
    return {"score": -((params["x"] - 0.5) ** 2), "cost": 2.0}


def system(measure: object = bowl) -> System:
    return System(
        "bowl",
        CONFIG,
        measure,  # type: ignore[arg-type]
        lambda config, trials: RegularizedEvolution(config, population_size=4),
    )


def search(seed: int = 0, trials: int = 20) -> list[Trial]:
    it = system()
    return run_search(it, it.method(it.config, trials), trials, seed=seed)


def test_run_search__same_seed__repeats_itself() -> None:
    assert search() == search() != search(seed=1)


def test_run_search__trials__have_all_metrics_or_a_reason() -> None:
    history = search(trials=40)
    assert [trial.number for trial in history] == list(range(40))
    failed = [trial for trial in history if trial.status is TrialStatus.FAILED]
    assert failed
    assert {trial.reason for trial in failed} == {"too far"}
    assert all(trial.metrics["cost"] == 2.0 for trial in history if trial.has_value)


def test_run_search__slow_trial__holds_up_no_other_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "WorkerPool", ThreadPoolExecutor)
    release, first = threading.Event(), threading.Event()

    def measure(params: Mapping[str, Value]) -> dict[str, float]:
        if not first.is_set():
            first.set()
            assert release.wait(10.0)
        return {"score": float(params["x"])}

    finished: list[int] = []

    def report(trial: Trial) -> None:
        finished.append(trial.number)
        if len(finished) == 7:
            release.set()  # all others are done by now, population and children

    it = system(measure)
    history = run_search(it, it.method(it.config, 8), 8, seed=0, workers=2, report=report)
    assert sorted(finished) == list(range(8))
    assert all(trial.has_value for trial in history)
    assert finished[-1] in (0, 1)


def test_run_search__workers_die_over_a_trial__it_alone_has_failed() -> None:
    # Worker processes have `eval`, and not what is written here; it reads a point as its variables.
    it = system(partial(eval, "{'score': x} if x > 0.3 else __import__('os')._exit(1)"))
    history = run_search(it, RandomSearch(CONFIG), 6, seed=0, workers=2)
    points = [trial.params["x"] for trial in history]
    assert min(points) < 0.3 < max(points)
    for trial, x in zip(history, points, strict=True):
        assert trial.value == (x if x > 0.3 else None)
        if x < 0.3:
            assert trial.reason == "a worker process died in each of 3 attempts"


@pytest.mark.parametrize(("trials", "seed"), [(-1, 0), (2.5, 0), (1, -1)])
def test_run_search__impossible_numbers__are_refused(trials: Any, seed: int) -> None:
    with pytest.raises(ConfigError, match="must be a whole number of at least 0"):
        run_search(system(), RegularizedEvolution(CONFIG), trials, seed=seed)


def test_run_search__negative_workers__are_refused() -> None:
    with pytest.raises(ConfigError, match="workers must be a whole number of at least 0, got -1"):
        run_search(system(), RegularizedEvolution(CONFIG), 3, seed=0, workers=-1)


def test_objective__of_a_system__is_its_metric_and_reserved() -> None:
    objective = system().objective
    assert objective({"x": 0.5}) == 0.0
    assert objective.reserved
