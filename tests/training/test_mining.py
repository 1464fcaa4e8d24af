"""Queries that the model picks itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from optformer.data.studies.errors import ConfigError
from optformer.model.checkpoint import Checkpoint
from optformer.planning.distribution import BinnedDistribution
from optformer.tokenization.history import MetricKind
from optformer.tokenization.vocabulary import Vocabulary
from optformer.training.config import PriorConfig
from optformer.training.mining import mine
from optformer.training.mixtures.batch import StudyBatch
from optformer.training.mixtures.prior import SyntheticPrior


@pytest.fixture(scope="module")
def batch(prior_config: PriorConfig, vocabulary: Vocabulary) -> StudyBatch:
    config = replace(prior_config, mining=1.0, spare=10, mined=3)
    prior = SyntheticPrior(config, vocabulary, 4)
    return next(b for b in map(prior.batch, range(20)) if b.spare is not None and b.prefix > 3)


def test_mine__spare_queries__adds_those_of_highest_expected_improvement(
    batch: StudyBatch, tiny_checkpoint: Checkpoint
) -> None:
    model = tiny_checkpoint.model
    asked = batch.metrics.target.shape[1]

    mined = mine(model, batch, 3)

    metadata = model.encode_metadata(batch.metadata).expand(batch.history.studies)
    past = model.encode_history(metadata, batch.history.first(batch.prefix))
    assert batch.spare is not None
    logits = model.metric_logits(metadata, past, batch.spare.points)
    for study in range(len(logits)):
        given = batch.history.first(batch.prefix)
        known = given.metric_kinds[study] == MetricKind.VALUE
        best = given.metric[study][known].amax() if known.any() else torch.tensor(0.0)
        score = BinnedDistribution(logits[study]).log_ei(best)
        top = score.topk(3).indices
        taken = mined.metrics.points.values[study, asked:]
        torch.testing.assert_close(taken, batch.spare.points.values[study][top])
        assert torch.equal(mined.metrics.target[study, asked:], batch.spare.target[study][top])
    assert mined.metrics.position[asked:].tolist() == [batch.prefix] * 3
    assert torch.equal(mined.metrics.target[:, :asked], batch.metrics.target)
    assert mined.spare is None


def test_mine__no_spare_queries__changes_nothing(
    batch: StudyBatch, tiny_checkpoint: Checkpoint
) -> None:
    plain = replace(batch, spare=None)

    assert mine(tiny_checkpoint.model, plain, 3) is plain


def test_prior_config__more_mined_than_spare__is_refused(prior_config: PriorConfig) -> None:
    with pytest.raises(ConfigError, match="spare=4"):
        replace(prior_config, spare=4, mined=5)
