"""A small space, a planner that needs no model, and studies made of them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.serving.study.storage import StorageLike, create_store, open_store
from optformer.serving.study.study import Study
from optformer.serving.study.trial_store import StudyRecord


@dataclass(frozen=True)
class PlannedPoint:
    params: dict[str, Value]
    explanation: Any = "drawn at random"


@dataclass(frozen=True)
class PlannedPrediction:
    mean: float
    std: float = 1.0
    quantiles: dict[float, float] = field(default_factory=dict)


@dataclass
class RandomPlanner:
    """Draws at random, as a pure function of what a planner is given."""

    calls: list[tuple[int, int]] = field(default_factory=list)
    during: Callable[[], None] | None = None

    def suggest(
        self,
        config: StudyConfig,
        history: Sequence[Trial],
        count: int,
        *,
        seed: int,
        fixed: Mapping[str, Value] | None = None,
    ) -> Any:
        self.calls.append((len(history), count))
        told = repr([(dict(t.params), t.status, t.value, dict(t.metrics)) for t in history])
        rng = np.random.default_rng([seed, zlib.crc32(told.encode())])
        held = {**config.fixed, **(fixed or {})}
        if self.during is not None:
            self.during()
        return [PlannedPoint(config.space.sample(rng, held)) for _ in range(count)]

    def predict(
        self, config: StudyConfig, history: Sequence[Trial], points: Sequence[Mapping[str, Value]]
    ) -> Any:
        levels = (0.05, 0.25, 0.5, 0.75, 0.95)
        means = [len(history) + float(point["x"]) for point in points]
        return [PlannedPrediction(m, 1.0, {q: m + q - 0.5 for q in levels}) for m in means]


@pytest.fixture
def space() -> SearchSpace:
    return SearchSpace(
        x=Float(1e-6, 1e-1, log=True, description="learning rate"),
        kind=Categorical(["sgd", "adam", None]),
        momentum=Float(0.0, 0.99, when={"kind": ["sgd"]}),
        layers=Int(1, 8),
        width=Ordinal([16, 32, 64]),
        bias=Categorical([True, False]),
    )


@pytest.fixture
def point() -> dict[str, Value]:
    return {"x": 0.001, "kind": "adam", "layers": 3, "width": 32, "bias": True}


@pytest.fixture
def planner() -> RandomPlanner:
    return RandomPlanner()


@pytest.fixture
def make_study(space: SearchSpace, planner: RandomPlanner) -> Callable[..., Study]:
    """Create a study that suggests at random; takes any setting of its configuration."""

    def make(
        *,
        storage: StorageLike | None = None,
        name: str = "s",
        seed: int = 0,
        pruner: str | None = None,
        **settings: Any,
    ) -> Study:
        given = {"space": space, "metric": "accuracy", "goal": "maximize", **settings}
        record = StudyRecord(config=StudyConfig(**given), seed=seed, pruner=pruner)
        return Study(record, create_store(storage, name, record), name=name, planner=planner)

    return make


@pytest.fixture
def reopen() -> Callable[[StorageLike, str], Study]:
    """Open a stored study as another process would, suggesting at random."""

    def open_again(storage: StorageLike, name: str = "s") -> Study:
        store, found, record = open_store(storage, name)
        return Study(record, store, name=found, planner=RandomPlanner())

    return open_again
