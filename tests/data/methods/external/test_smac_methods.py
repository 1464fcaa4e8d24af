"""SMAC as a search method: spaces, given points, batches and failures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("smac")

from optformer.data.methods.external.smac_methods import Smac, _ConfigSpace
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial

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


def _play(method: Smac, batches: int, seed: int) -> list[dict[str, Any]]:
    history: list[Trial] = []
    for _ in range(batches):
        for point in method.suggest(history, 4, np.random.default_rng(seed)):
            trial, loss = Trial(len(history), SPACE.validate(point)), _loss(point)
            history.append(trial.fail("broken") if loss is None else trial.finish(loss))
    return [dict(trial.params) for trial in history]


def test_space__legal_points__survive_the_round_trip() -> None:
    space = _ConfigSpace(SPACE)
    rng = np.random.default_rng(0)
    for _ in range(60):
        point = SPACE.sample(rng)
        assert SPACE.validate(space.decode(space.encode(point))) == pytest.approx(point)


def test_space__its_own_samples__are_legal() -> None:
    space = _ConfigSpace(SPACE)
    space.configurations.seed(0)
    points = [space.decode(sample) for sample in space.configurations.sample_configuration(60)]
    assert all(SPACE.validate(point) == point for point in points)
    assert any("momentum" in point for point in points)
    assert any("momentum" not in point for point in points)


def test_smac__start_in_batches__is_legal_and_follows_the_seed() -> None:
    method = Smac(STUDY)
    points = _play(method, 3, 3)
    assert len({str(point) for point in points}) == 12
    assert points == _play(method, 3, 3)  # an empty history starts it anew
    assert points != _play(Smac(STUDY), 3, 4)


def test_smac__given_points__count_in_its_start() -> None:
    study = StudyConfig(space=SearchSpace(x=Float(0.0, 1.0)), metric="y", goal="maximize")
    method, history = Smac(study), []
    for number, x in enumerate(np.linspace(0.0, 1.0, 12)):
        trial = Trial(number, {"x": float(x)})
        history.append(trial.fail("broken") if number == 0 else trial.finish(-((x - 0.6) ** 2)))
    (point,) = method.suggest(history, 1, np.random.default_rng(0))
    assert method._facade.runhistory.finished == 12
    history.append(Trial(12, point).finish(0.0))
    method.suggest(history, 1, np.random.default_rng(0))
    assert method._facade.runhistory.finished == 13
    assert method._asked[13].config.origin is not None  # from the forest, not from the start
