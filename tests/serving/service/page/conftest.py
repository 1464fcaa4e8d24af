"""Studies of every kind, and a planner that knows what it expects of a point."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.storages import BaseStorage

from optformer.data.studies.errors import StudyError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.planning.prediction import Explanation, Prediction
from optformer.serving.study.study import Study, create_study

SPACE = SearchSpace(
    lr=Float(1e-6, 1e-1, log=True, description="learning rate"),
    layers=Int(1, 8),
    optimizer=Categorical(["sgd", "adam", None]),
    momentum=Float(0.0, 0.99, when={"optimizer": ["sgd"]}),
    width=Ordinal([16, 32, 64]),
)


@dataclass(frozen=True)
class Planned:
    params: dict[str, Value]
    explanation: Explanation


class Expecting:
    """Draws at random and expects the more, the nearer a point's first number is to its middle."""

    def suggest(
        self, config: Any, history: Sequence[Any], count: int, *, seed: int, fixed: Any = None
    ) -> list[Planned]:
        rng = np.random.default_rng([seed, len(history)])
        held = {**config.fixed, **(fixed or {})}
        points = [config.space.sample(rng, held) for _ in range(count)]
        measured = any(trial.has_value for trial in history)
        expected = self.predict(config, history, points) if measured else [None] * count
        nearest = tuple(trial.number for trial in history[-2:])
        return [
            Planned(point, Explanation(prediction, nearest, "optimum"))
            for point, prediction in zip(points, expected, strict=True)
        ]

    def predict(
        self, config: Any, history: Any, points: Sequence[Mapping[str, Value]]
    ) -> list[Prediction]:
        if not any(trial.has_value for trial in history):
            raise StudyError("a prediction needs at least one observed trial; observe one first")
        return [_prediction(config, point) for point in points]


def _prediction(config: Any, point: Mapping[str, Value], *, inner: bool = True) -> Prediction:
    name = next(iter(config.space))
    middle = 0.9 - abs(config.space[name].to_unit(point[name]) - 0.5)
    quantiles = {level: middle + (level - 0.5) / 4 for level in (0.05, 0.25, 0.5, 0.75, 0.95)}
    names = [*config.goals, *config.limits] if config.several and inner else []
    metrics = {each: _prediction(config, point, inner=False) for each in names}
    return Prediction(middle, 0.1, quantiles, 0.25, 0.0004, 0.0123, 0.75, metrics)


@pytest.fixture(scope="session")
def expecting() -> type[Expecting]:
    """A planner that needs no model."""
    return Expecting


@pytest.fixture(scope="session")
def make_studies() -> Callable[[BaseStorage, Sequence[str]], None]:
    """Writes a study of every kind into a storage, and one with hostile texts of each name."""
    return _make_studies


def _make_studies(storage: BaseStorage, hostile_names: Sequence[str] = ()) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    _add_pruned(storage)
    _add_goals(storage)
    _create(storage, "empty")
    failed = _create(storage, "all failed")
    for point in _points(3):
        failed.observe(point, failed="<script>alert(1)</script>\x1b[31m out of memory")
    pending = _create(storage, "only pending")
    pending.enqueue(_points(1)[0])
    pending.enqueue({"layers": 3})
    fixed = _create(storage, "fixed", fixed={"optimizer": "adam", "lr": 1e-3})
    for number, point in enumerate(_points(4, {"optimizer": "adam", "lr": 1e-3})):
        fixed.observe(point, number / 4)
    flat = _create(storage, "flat and far", goal="minimize")
    for number, point in enumerate(_points(8)):
        flat.observe(point, 1e12 if number == 5 else 1e-9)
    _add_theirs(storage)
    for name in hostile_names:
        hostile = create_study(
            SearchSpace({"<b>y</b>": Float(0, 1), "c": Categorical(["=1+1", "</script><i>"])}),
            metric="<img src=x onerror=alert(1)>",
            goal="minimize",
            storage=storage,
            name=name,
            seed=0,
            metadata={"<i>": "</dd><script>alert(2)</script>"},
        )
        for number in range(3):
            point = {"<b>y</b>": number / 3, "c": ("=1+1", "</script><i>")[number % 2]}
            hostile.observe(point, float(number))


def _add_pruned(storage: BaseStorage) -> None:
    study = _create(storage, "digits", metadata={"dataset": "digits"}, pruner="median")
    for number, point in enumerate(_points(30)):
        trial = study.enqueue(point)
        trial = study.suggest()
        if number % 7 == 3:
            study.observe(trial, failed="loss is NaN")
            continue
        stops = number % 5 == 4
        for step in range(3 if stops else 6):
            trial.report(1 - math.exp(-(step + 1) / 2) - number / 100, step)
        study.observe(trial, 0.6 - number / 100 if stops else 0.5 + number / 70, stopped=stops)
    study.enqueue(_points(31)[30])
    study.suggest()


def _add_goals(storage: BaseStorage) -> None:
    study = create_study(
        SPACE,
        metrics={"accuracy": "maximize", "latency": "minimize", "memory": "minimize"},
        limits={"price": "<= 3"},
        storage=storage,
        name="three goals",
        seed=0,
    )
    for number, point in enumerate(_points(9)):
        outcome = {"accuracy": number / 9, "latency": 1 + number, "memory": number % 3}
        study.observe(point, {**outcome, "price": float(number % 5)})


def _add_theirs(storage: BaseStorage) -> None:
    study = optuna.create_study(storage=storage, study_name="theirs", direction="minimize")

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", -1, 1)
        if trial.suggest_categorical("kind", ["a", "b"]) == "a":
            return x**2 + trial.suggest_int("n", 1, 4)
        return x**2

    sampler = optuna.samplers.RandomSampler(seed=0)
    study.sampler = sampler
    study.optimize(objective, n_trials=12)


def _create(storage: BaseStorage, name: str, **settings: Any) -> Study:
    given = {"metric": "accuracy", "goal": "maximize", **settings}
    return create_study(SPACE, storage=storage, name=name, seed=0, **given)


def _points(count: int, held: Mapping[str, Value] | None = None) -> list[dict[str, Value]]:
    rng = np.random.default_rng(0)
    return [SPACE.sample(rng, held or {}) for _ in range(count)]
