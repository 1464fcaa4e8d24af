"""A server in this process, whose planner draws at random and explains it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
from fastapi.testclient import TestClient

from optformer.data.studies.parameters import Categorical, Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.planning.prediction import Explanation
from optformer.serving.service.app import create_app
from optformer.serving.study import optuna_access
from optformer.serving.study.trial_store import StudyRecord

SPACE = SearchSpace(x=Float(0.0, 1.0), kind=Categorical(["a", "b", None]))
CONFIG = StudyConfig(SPACE, metric="accuracy", goal="maximize")
_DRAWN = Explanation(None, (), "space")


@dataclass(frozen=True)
class Drawn:
    params: dict[str, Any]
    explanation: Explanation = _DRAWN


class RandomPlanner:
    """Draws at random, as a pure function of the length of the history."""

    def suggest(
        self, config: Any, history: Any, count: int, *, seed: int, fixed: Any = None
    ) -> Any:
        import numpy as np

        rng = np.random.default_rng([seed, len(history)])
        held = {**config.fixed, **(fixed or {})}
        return [Drawn(config.space.sample(rng, held)) for _ in range(count)]

    def predict(self, config: Any, history: Any, points: Any) -> Any:
        raise NotImplementedError


@pytest.fixture(scope="session")
def make_planner() -> Callable[[StudyRecord], RandomPlanner]:
    """Gives every study the random planner."""
    return lambda record: RandomPlanner()


@pytest.fixture(scope="session")
def service_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with Optuna's tables, which take half a second to make."""
    path = tmp_path_factory.mktemp("service") / "s.db"
    optuna_access.open_storage(f"sqlite:///{path}")
    return path


@pytest.fixture
def storage(service_database: Path, tmp_path: Path) -> str:
    """Address of an SQLite file without studies."""
    return f"sqlite:///{shutil.copy(service_database, tmp_path / 's.db')}"


@pytest.fixture
def client(storage: str, make_planner: Any) -> Iterator[TestClient]:
    """A client of a server without tokens."""
    with TestClient(create_app(storage, make_planner=make_planner)) as client:
        yield client


@pytest.fixture
def study(client: TestClient) -> str:
    """The path of a study."""
    answer = client.post(
        "/v1/studies", json={"name": "my study/1", "config": CONFIG.to_dict(), "seed": 0}
    )
    assert answer.status_code == 201, answer.text
    return "/v1/studies/my%20study%2F1"
