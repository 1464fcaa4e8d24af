"""A toy suite and toy methods that run in microseconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from optformer.data.methods import METHODS
from optformer.data.studies.errors import ObjectiveError
from optformer.data.studies.parameters import Categorical, Float, Ordinal
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.serving.benchmarks import runs
from optformer.serving.benchmarks.suites import SUITES
from optformer.serving.benchmarks.tasks import Suite, Task

LINE = StudyConfig(
    space=SearchSpace(x=Ordinal([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])), metric="y", goal="maximize"
)
LIVE = StudyConfig(
    space=SearchSpace(
        x=Float(0.0, 1.0), kind=Categorical(["a", "b"]), y=Float(0.0, 1.0, when={"kind": ["b"]})
    ),
    metric="loss",
    goal="minimize",
)


def _live(params: Mapping[str, Any]) -> float:
    if params["x"] > 0.9:
        raise ObjectiveError("out of memory")
    return float(params["x"])


def _load(name: str) -> Task:
    if name == "line":  # 0, 1, ..., 10: the median is 5 and the best is 10
        return Task(
            name="line",
            config=LINE,
            evaluate=lambda params: float(params["x"]),
            optimum=10.0,
            reference=5.0,
        )
    return Task(name="live", config=LIVE, evaluate=_live)


class Ascending:
    """Suggests 0, 1, 2, ... on `line`; reads nothing but the number of trials."""

    def suggest(
        self, history: Sequence[Trial], count: int, rng: np.random.Generator
    ) -> list[dict[str, Any]]:
        return [{"x": (len(history) + i) % 11} for i in range(count)]


class Stubborn:
    """Suggests 4 on `line` again and again."""

    def suggest(
        self, history: Sequence[Trial], count: int, rng: np.random.Generator
    ) -> list[dict[str, Any]]:
        return [{"x": 4} for _ in range(count)]


class Breaking:
    """Suggests 2 twice on `line`, then raises."""

    def suggest(
        self, history: Sequence[Trial], count: int, rng: np.random.Generator
    ) -> list[dict[str, Any]]:
        if len(history) >= 2:
            raise ZeroDivisionError("no variance")
        return [{"x": 2}]


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Register the suite `toy` (tasks line and live) and the methods toy-*, for one test."""
    for registry in (SUITES, METHODS):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))  # type: ignore[attr-defined]
    SUITES.register("toy", Suite("toy", lambda: ("line",), _load))
    SUITES.register("toy-live", Suite("toy-live", lambda: ("live",), _load))
    METHODS.register("toy-ascending", lambda config: Ascending())
    METHODS.register("toy-stubborn", lambda config: Stubborn())
    METHODS.register("toy-breaking", lambda config: Breaking())
    yield
    runs.load_task.cache_clear()
