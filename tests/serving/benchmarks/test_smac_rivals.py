"""SMAC behind the ask/tell protocol: spaces, given points, batches and failures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("smac")

from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.serving.benchmarks.smac_rivals import SmacRival, _Space

SPACE = SearchSpace(
    {
        "lr": Float(1e-5, 1e-1, log=True),
        "drop.rate": Float(0.0, 0.5, step=0.2),
        "width": Int(4, 64, log=True),
        "layers": Int(1, 8, step=3),
        "batch": Ordinal([16, 64, 256]),
        "loss": Ordinal(["l1"]),
        "optimizer": Categorical(["sgd", "adam", True, 1]),
        "momentum": Float(0.0, 0.99, when={"optimizer": ["sgd"], "batch": [16, 64]}),
        "nesterov": Categorical([True, False], when={"layers": [4]}),
    }
)
STUDY = StudyConfig(space=SPACE, metric="loss", goal="minimize")


def _loss(params: dict[str, Any]) -> float | None:
    return None if params["layers"] == 7 else float((np.log10(params["lr"]) + 3) ** 2)


def _play(rival: SmacRival, batches: int) -> list[dict[str, Any]]:
    points = []
    for _ in range(batches):
        asked = [SPACE.validate(point) for point in rival.ask(4)]
        for point in asked:
            rival.tell(point, _loss(point))
        points += asked
    return points


def test_space__legal_points__survive_the_round_trip() -> None:
    space = _Space(SPACE)
    rng = np.random.default_rng(0)
    for _ in range(60):
        point = SPACE.sample(rng)
        assert SPACE.validate(space.decode(space.encode(point))) == pytest.approx(point)


def test_space__its_own_samples__are_legal() -> None:
    space = _Space(SPACE)
    space.configurations.seed(0)
    points = [space.decode(sample) for sample in space.configurations.sample_configuration(60)]
    assert all(SPACE.validate(point) == point for point in points)
    assert any("momentum" in point for point in points)
    assert any("momentum" not in point for point in points)


def test_smac__start_in_batches__is_legal_and_follows_the_seed() -> None:
    points = _play(SmacRival(STUDY, 3), 3)
    assert len({str(point) for point in points}) == 12
    assert points == _play(SmacRival(STUDY, 3), 3)
    assert points != _play(SmacRival(STUDY, 4), 3)


def test_smac__given_points__count_in_its_start() -> None:
    study = StudyConfig(space=SearchSpace(x=Float(0.0, 1.0)), metric="y", goal="maximize")
    rival = SmacRival(study, 0)
    for x in np.linspace(0.0, 1.0, 12):
        rival.tell({"x": float(x)}, None if x == 0.0 else -float((x - 0.6) ** 2))
    assert rival._facade is None
    points = [rival.ask(1)[0]]
    assert rival._facade is not None
    assert rival._facade.runhistory.finished == 12
    rival.tell(points[0], 0.0)
    rival.ask(1)
    assert [trial.config.origin for _, trial in rival._asked] != [None]
