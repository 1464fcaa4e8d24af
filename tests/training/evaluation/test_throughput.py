"""Speed beside a T5."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from optformer.model.config import ModelConfig
from optformer.model.network import OptFormerModel
from optformer.tokenization.history import MetricKind, ValueKind
from optformer.tokenization.symbols import NUM_BINS
from optformer.tokenization.vocabulary import Vocabulary
from optformer.training.config import TrainingConfig
from optformer.training.evaluation.throughput import main, measure_throughput, with_all_queries
from optformer.training.losses import study_losses
from optformer.training.mixtures.batch import IGNORED, StudyBatch
from optformer.training.mixtures.prior import SyntheticPrior


@pytest.fixture(scope="module")
def batch(training_config: TrainingConfig, vocabulary: Vocabulary) -> StudyBatch:
    prior = SyntheticPrior(training_config.prior, vocabulary, 0)
    return next(b for b in map(prior.batch, range(20)) if b.history.points.values.shape[-1] == 3)


def test_with_all_queries__batch__asks_for_every_metric_and_value_from_what_came_before(
    batch: StudyBatch, vocabulary: Vocabulary
) -> None:
    asked = with_all_queries(batch, vocabulary)
    trials = batch.history.length
    measured = batch.history.metric_kinds == MetricKind.VALUE
    bins = (batch.history.metric.double() * NUM_BINS).long().clamp(max=NUM_BINS - 1)
    assert torch.equal(asked.metrics.target[measured], bins[measured])
    assert (asked.metrics.target[~measured] == IGNORED).all()
    assert asked.metrics.position.tolist() == list(range(trials))
    assert asked.values.position.tolist() == [t for t in range(trials) for _ in range(3)]
    assert asked.value_slots.tolist() == [0, 1, 2] * trials
    values, kinds = batch.history.points.values, batch.history.points.kinds
    number = kinds.flatten(1) == ValueKind.NUMBER
    answered = asked.values.target != IGNORED
    near = (asked.values.target + 0.5) / NUM_BINS - values.flatten(1)
    assert (near.abs()[number & answered] <= 0.51 / NUM_BINS).all()
    choice = kinds.flatten(1) == ValueKind.CHOICE
    assert torch.equal(
        asked.values.target[choice & answered],
        NUM_BINS + values.flatten(1)[choice & answered].long(),
    )
    assert answered.float().mean() > 0.9
    torch.manual_seed(0)
    model = OptFormerModel(ModelConfig.named("tiny", vocabulary.size))
    assert study_losses(model, asked, 0.8).total.isfinite()


def test_measure_throughput__tiny_model__times_a_t5_of_its_size(
    training_config: TrainingConfig, vocabulary: Vocabulary
) -> None:
    config = replace(training_config, prior=replace(training_config.prior, tokens=96))
    found = measure_throughput(config, vocabulary, torch.device("cpu"), batches=1)
    assert [speed.name.split(",")[0] for speed in found] == ["T5", "OptFormer", "OptFormer"]
    theirs, ours, _ = found
    assert theirs.parameters == pytest.approx(ours.parameters, rel=0.2)
    assert theirs.ratio == 1
    for speed in found:
        assert speed.ratio == pytest.approx(speed.trials_per_second / theirs.trials_per_second)
        assert speed.trials_per_second > 0
    assert theirs.tokens > 4


def test_main__bad_option__is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--batches", "many"])
    assert "--batches" in capsys.readouterr().err
