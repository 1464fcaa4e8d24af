"""A trainable that is exact arithmetic, so that tests can tell what was copied and trained."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from optformer.data.studies.errors import ObjectiveError
from optformer.data.studies.parameters import Categorical, Float, Int
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import Goal, StudyConfig


class Counter:
    """Its only weight grows by rate, plus noise, in each step; rates above `limit` diverge."""

    def __init__(self, goal: Goal = "maximize", limit: float = 10.0):
        self.goal, self.limit = goal, limit
        self.weight = 0.0
        self.lived: list[float] = []  # a checkpoint's memory of all rates it was trained with

    @property
    def config(self) -> StudyConfig:
        space = SearchSpace(
            rate=Float(0.01, 1.0, log=True),
            units=Int(1, 64, log=True),
            kind=Categorical(["a", "b"]),
        )
        return StudyConfig(space, "sum", self.goal)

    def init(self, seed: int) -> None:
        self.weight, self.lived = (seed % 1000) * 1e-6, []

    def train(self, params: Mapping[str, Any], steps: int, seed: int) -> float:
        if params["rate"] > self.limit:
            raise ObjectiveError(f"rate {params['rate']} is above {self.limit}")
        self.weight += params["rate"] * steps + (seed % 1000) * 1e-6
        self.lived.append(params["rate"])
        return self.weight if self.goal == "maximize" else -self.weight

    def save(self) -> bytes:
        return json.dumps([self.weight, self.lived]).encode()

    def load(self, checkpoint: bytes) -> None:
        self.weight, self.lived = json.loads(checkpoint)


@pytest.fixture(params=["maximize", "minimize"])
def make(request: pytest.FixtureRequest) -> Callable[[], Counter]:
    """A factory, for each goal."""
    return lambda: Counter(request.param)
