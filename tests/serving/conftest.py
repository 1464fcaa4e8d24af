"""A small space, a planner that needs no model, and studies made of them."""

from __future__ import annotations

import socket
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.planning.prediction import Explanation, Prediction
from optformer.serving.client.connection import Connection
from optformer.serving.client.remote_study import described_study
from optformer.serving.client.study_routes import study_path
from optformer.serving.study.storage import StorageLike, create_store, open_store
from optformer.serving.study.study import Study
from optformer.serving.study.trial_store import StudyRecord

DRAWN = Explanation(prediction=None, nearest=(), source="space")


@dataclass(frozen=True)
class PlannedPoint:
    params: dict[str, Value]
    explanation: Explanation = DRAWN


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
        return [Prediction(m, 1.0, {q: m + q - 0.5 for q in levels}, 0.5, 0.0, 0.1) for m in means]


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


@dataclass
class Server:
    """A server of studies in this process, by its address, and who suggests in new studies."""

    url: str
    planner: Any = None


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server that takes real connections and keeps studies in memory."""
    uvicorn = pytest.importorskip("uvicorn")
    from optuna.storages import InMemoryStorage

    from optformer.serving.service.app import create_app
    from optformer.serving.service.limits import Limits

    listening = socket.create_server(("127.0.0.1", 0))
    served = Server(f"http://127.0.0.1:{listening.getsockname()[1]}")
    app = create_app(
        InMemoryStorage(),
        limits=Limits(rate=1e6, burst=1_000_000),
        make_planner=lambda record: served.planner,
    )
    runner = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
    thread = threading.Thread(target=runner.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    yield served
    runner.should_exit = True
    thread.join()


@pytest.fixture
def connection(server: Server, planner: RandomPlanner) -> Iterator[Connection]:
    """The way to a server without studies, which suggests at random."""
    server.planner = planner
    opened = Connection(server.url, None, timeout=30, patience=1)
    yield opened
    for name in opened.call("GET", "/v1/studies")["names"]:
        opened.call("DELETE", study_path(name))
    opened.close()


@pytest.fixture
def make_served_study(
    make_study: Callable[..., Study], connection: Connection, tmp_path: Path
) -> Callable[..., Study]:
    """Like `make_study`, with the study on a server."""

    def make(**settings: Any) -> Study:
        study = make_study(**settings)
        if "storage" in settings:
            return study
        record = study.record
        body = {
            "name": study.name,
            "config": record.config.to_dict(),
            "seed": record.seed,
            "pruner": record.pruner,
        }
        described = connection.call("POST", "/v1/studies", body)
        return described_study(described, connection, tmp_path / "unsent")

    return make
