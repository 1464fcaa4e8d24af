"""BoTorch's qLogEI: encoding, start, batches, pending and failed trials."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("botorch")

from optformer.data.methods.external import botorch_methods
from optformer.data.methods.external.botorch_methods import START_TRIALS, QLogEI, _Encoding
from optformer.data.studies.errors import SpaceExhaustedError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial

SPACE = SearchSpace(
    {
        "lr": Float(1e-5, 1e-1, log=True),
        "rate": Float(0.0, 0.5, step=0.2),
        "width": Int(4, 5000, log=True),
        "batch": Ordinal([16, 64, 256]),
        "loss": Ordinal(["l1"]),
        "optimizer": Categorical(["sgd", "adam", "lion"]),
        "momentum": Float(0.0, 0.99, when={"optimizer": ["sgd"]}),
        "warm": Categorical([True, False], when={"optimizer": ["adam"]}),
    }
)
MIXED = StudyConfig(space=SPACE, metric="loss", goal="minimize")
LINE = StudyConfig(space=SearchSpace(x=Float(0.0, 1.0)), metric="y", goal="maximize")
TABLE = StudyConfig(
    space=SearchSpace(x=Ordinal(list(range(6))), kind=Categorical(["a", "b"])),
    metric="y",
    goal="maximize",
)


def _history(values: Iterable[tuple[dict[str, Any], float | None]]) -> list[Trial]:
    trials = []
    for params, value in values:
        trial = Trial(len(trials), params)
        trials.append(trial.fail("broken") if value is None else trial.finish(value))
    return trials


def _line(xs: list[float]) -> list[Trial]:
    return _history([({"x": x}, -((x - 0.7) ** 2)) for x in xs])


def test_encoding__legal_points__survive_the_round_trip() -> None:
    encoding = _Encoding(SPACE)
    rng = np.random.default_rng(0)
    points = [SPACE.sample(rng) for _ in range(40)]
    rows = encoding.encode(points)
    assert rows.shape == (40, len(SPACE) - 1)  # a parameter with one value has no column
    assert bool(((rows >= encoding.bounds[0]) & (rows <= encoding.bounds[1])).all())
    for point, row in zip(points, rows, strict=True):
        assert SPACE.validate(encoding.decode(row)) == pytest.approx(point)
    torch.testing.assert_close(encoding.legal(rows), rows)


def test_encoding__inactive_parameters__have_one_value() -> None:
    encoding = _Encoding(SPACE)
    point = {"lr": 1e-3, "rate": 0.2, "width": 64, "batch": 16, "loss": "l1", "optimizer": "lion"}
    row = encoding.encode([point])[0]
    assert row[-2:].tolist() == [0.5, 0.0]
    moved = row.clone()
    moved[-2:] = torch.tensor([0.9, 1.0])
    assert encoding.legal(moved[None])[0].tolist() == pytest.approx(row.tolist())


def test_suggest__short_history__is_the_quasi_random_start() -> None:
    method = QLogEI(MIXED)
    history: list[Trial] = []
    for size in range(START_TRIALS):
        (point,) = method.suggest(history, 1, np.random.default_rng(size))
        history += [Trial(size, SPACE.validate(point)).finish(float(size))]
    assert len({str(trial.params) for trial in history}) == START_TRIALS


def test_suggest__smooth_line__goes_to_the_best() -> None:
    (point,) = QLogEI(LINE).suggest(
        _line([0.05, 0.25, 0.5, 0.65, 0.95]), 1, np.random.default_rng(0)
    )
    assert point["x"] == pytest.approx(0.7, abs=0.05)


def test_suggest__mixed_conditional_batch__is_legal_and_differs() -> None:
    rng = np.random.default_rng(1)
    points = [SPACE.sample(rng) for _ in range(START_TRIALS)]
    history = _history([(point, (np.log10(point["lr"]) + 3) ** 2) for point in points])
    batch = QLogEI(MIXED).suggest(history, 2, np.random.default_rng(7))
    assert batch[0] != batch[1]
    for point in batch:
        assert SPACE.validate(point) == point


def test_suggest__batch__follows_the_seed_and_leaves_torchs_alone() -> None:
    history = _line([0.05, 0.25, 0.5, 0.9, 0.95])
    before = torch.get_rng_state()
    batch = QLogEI(LINE).suggest(history, 3, np.random.default_rng(7))
    assert torch.equal(torch.get_rng_state(), before)
    assert batch == QLogEI(LINE).suggest(history, 3, np.random.default_rng(7))
    assert batch != QLogEI(LINE).suggest(history, 3, np.random.default_rng(8))


def test_suggest__pending_trial_at_the_best__goes_elsewhere() -> None:
    history = _line([0.05, 0.25, 0.5, 0.9, 0.95])
    (alone,) = QLogEI(LINE).suggest(history, 1, np.random.default_rng(0))
    waiting = [*history, Trial(5, alone)]
    (other,) = QLogEI(LINE).suggest(waiting, 1, np.random.default_rng(0))
    assert abs(other["x"] - alone["x"]) > 0.01


def test_suggest__failed_trial__counts_as_the_worst() -> None:
    xs = [0.1, 0.3, 0.5, 0.9]
    (kept,) = QLogEI(LINE).suggest(_line([*xs, 0.7]), 1, np.random.default_rng(0))
    failed = [*_line(xs), Trial(4, {"x": 0.7}).fail("broken")]
    (moved,) = QLogEI(LINE).suggest(failed, 1, np.random.default_rng(0))
    assert abs(kept["x"] - 0.7) < 0.1 < abs(moved["x"] - 0.7)


def test_suggest__finite_space__repeats_nothing_until_all_is_tried() -> None:
    history: list[Trial] = []
    method, rng = QLogEI(TABLE), np.random.default_rng(0)
    while len(history) < 12:
        for point in method.suggest(history, 4, rng):
            value = float(point["x"]) + (point["kind"] == "b")
            history.append(Trial(len(history), TABLE.space.validate(point)).finish(value))
    assert len({str(trial.params) for trial in history}) == 12
    with pytest.raises(SpaceExhaustedError, match="no untried point is left after 12"):
        method.suggest(history, 1, rng)


def test_suggest__all_failed__stays_with_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(botorch_methods, "fit_gpytorch_mll", None)  # not reached
    history = _history([({"x": i / 10}, None) for i in range(8)])
    assert len(QLogEI(LINE).suggest(history, 2, np.random.default_rng(0))) == 2
