"""Scores of predictions, with predictors whose answers are known."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from scipy.stats import norm

from optformer.data.studies.errors import ConfigError, MissingExtraError, StudyError
from optformer.data.studies.parameters import Categorical, Float
from optformer.data.studies.recorded_study import RecordedStudy
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.model.checkpoint import load_checkpoint
from optformer.tokenization.symbols import NUM_BINS
from optformer.training.evaluation.evaluate import binned_normal
from optformer.training.evaluation.predictions.predictors import (
    Answer,
    CheckpointPredictor,
    GaussianProcessPredictor,
    PredictionQuery,
)
from optformer.training.evaluation.predictions.scores import score_predictions

CONFIG = StudyConfig(
    SearchSpace(x=Float(0.0, 1.0), kind=Categorical(["a", "b"])), "loss", "minimize"
)


def _history(task: str, seed: int, trials: int = 60, failing: bool = False) -> RecordedStudy:
    """Values that are normal whatever the point."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(trials):
        trial = Trial(number, CONFIG.space.sample(rng))
        value = float(rng.normal())
        found.append(trial.fail("no") if failing else trial.finish(value))
    return RecordedStudy(f"{task} {seed}", CONFIG, tuple(found), "made up", task)


class Truth:
    """Knows the distribution of the values; ranks by a coin."""

    def __init__(self, deviation: float = 1.0):
        self.deviation = deviation
        self.rng = np.random.default_rng(1)

    def __call__(self, query: PredictionQuery) -> Answer:
        mean = torch.zeros(len(query.values), dtype=torch.float64)
        below, inside = binned_normal(
            query.scale, mean, torch.full_like(mean, self.deviation), query.bins
        )
        return Answer(below.numpy(), inside.numpy(), self.rng.random(len(mean)))


class Oracle(Truth):
    """Ranks perfectly."""

    def __call__(self, query: PredictionQuery) -> Answer:
        answer = super().__call__(query)
        return Answer(answer.below, answer.inside, -query.values)  # the loss is minimized


def test_score_predictions__true_distribution__is_calibrated() -> None:
    histories = [_history(f"task {i % 12}", i) for i in range(48)]
    scores = score_predictions(
        histories, {"truth": Truth(), "wide": Truth(3.0), "oracle": Oracle()}, "truth"
    )
    assert [score.known for score in scores] == [10] * 3 + [20] * 3 + [40] * 3
    truth, wide, oracle = scores[3:6]
    assert (truth.source, truth.tasks, truth.targets) == ("made up", 12, 48 * 16)
    assert truth.coverage_50.value == pytest.approx(0.5, abs=0.07)
    assert truth.coverage_90.value == pytest.approx(0.9, abs=0.04)
    assert truth.calibration_error < 0.03
    assert truth.nll_above_reference.value == 0.0
    assert truth.rank_correlation is not None
    assert truth.rank_correlation.low < 0 < truth.rank_correlation.high
    # Normal values of deviation 1 under deviation 3: log 3 - (1 - 1/9) / 2 more nats, the ends of
    # the scale apart.
    assert wide.nll_above_reference.value == pytest.approx(math.log(3) - 4 / 9, abs=0.15)
    assert wide.nll.value - truth.nll.value == pytest.approx(wide.nll_above_reference.value)
    assert wide.coverage_50.value == pytest.approx(2 * norm.cdf(3 * norm.ppf(0.75)) - 1, abs=0.05)
    assert wide.calibration_error > 0.1
    assert oracle.rank_correlation is not None
    assert oracle.rank_correlation.value == pytest.approx(1.0)
    assert oracle.nll == truth.nll


def test_score_predictions__short_history__is_asked_as_far_as_it_goes() -> None:
    scores = score_predictions([_history("one", 0, trials=30)], {"truth": Truth()}, "truth")
    assert [(score.known, score.targets) for score in scores] == [(10, 16), (20, 10)]


def test_score_predictions__nothing_to_ask__is_refused() -> None:
    for history in (_history("short", 0, trials=12), _history("failed", 0, failing=True)):
        with pytest.raises(StudyError, match="no history has 10 trials and 5 measured ones"):
            score_predictions([history], {"truth": Truth()}, "truth")
    with pytest.raises(ConfigError, match="reference must be one of"):
        score_predictions([], {"truth": Truth()}, "gp")


def _smooth(known: int, asked: int) -> PredictionQuery:
    rng = np.random.default_rng(3)
    trials = []
    for number in range(known + asked):
        point = CONFIG.space.sample(rng)
        value = (point["x"] - 0.4) ** 2 + 0.3 * (point["kind"] == "a")
        trials.append(Trial(number, point).finish(value))
    trials[2] = Trial(2, trials[2].params).fail("no")
    later = trials[known:]
    values = np.array([trial.value for trial in later], dtype=np.float64)
    return PredictionQuery(CONFIG, trials[:known], [trial.params for trial in later], values)


def test_checkpoint_predictor__smooth_loss__orders_points_and_sums_to_one() -> None:
    query = _smooth(30, 20)
    answer = CheckpointPredictor(load_checkpoint(None))(query)
    assert np.corrcoef(answer.centre, query.values)[0, 1] < -0.8  # larger is better inside
    assert (answer.inside > 0).all()
    assert (answer.below >= 0).all()
    assert (answer.below + answer.inside <= 1 + 1e-9).all()
    assert -np.log(answer.inside).mean() < math.log(NUM_BINS)  # better than knowing nothing


def test_gaussian_process_predictor__smooth_loss__is_nearly_exact() -> None:
    pytest.importorskip("botorch")
    query = _smooth(20, 10)
    predictor = GaussianProcessPredictor()
    answer = predictor(query)
    assert np.corrcoef(answer.centre, -query.values)[0, 1] > 0.99
    assert -np.log(answer.inside).mean() < math.log(NUM_BINS) - 2
    assert np.array_equal(predictor(query).inside, answer.inside)


def test_gaussian_process_predictor__botorch_missing__names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "botorch", None)
    with pytest.raises(MissingExtraError, match=r'pip install "optformer\[benchmark\]"'):
        GaussianProcessPredictor()
