from __future__ import annotations

import pickle
from multiprocessing.reduction import ForkingPickler

import torch

from optformer.tokenization.vocabulary import Vocabulary
from optformer.training.batch_loader import _Batches, load_batches
from optformer.training.config import TrainingConfig
from optformer.training.mixtures.mixture import Mixture


def test_load_batches__steps__have_their_own_in_order(
    training_config: TrainingConfig, vocabulary: Vocabulary
) -> None:
    mixture = Mixture(training_config, vocabulary)
    loaded = list(load_batches(mixture, [[4, 5], [8, 9]], workers=0))
    for step, numbers in zip(loaded, [[4, 5], [8, 9]], strict=True):
        for batch, number in zip(step, numbers, strict=True):
            assert torch.equal(batch.history.metric, mixture.batch(number).history.metric)


def test_batches__sent_to_a_worker__take_a_small_message(
    training_config: TrainingConfig, vocabulary: Vocabulary
) -> None:
    batches = _Batches(Mixture(training_config, vocabulary))
    message = ForkingPickler.dumps(batches)
    assert len(message) < 4096  # a worker's pipe holds it before the worker reads
    received = pickle.loads(message)
    drawn, expected = received[3].history, batches[3].history
    assert torch.equal(drawn.metric, expected.metric)
    assert torch.equal(drawn.points.values, expected.points.values)
