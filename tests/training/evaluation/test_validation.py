"""Curves of held-out studies."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from optformer.model.checkpoint import Checkpoint
from optformer.tokenization.vocabulary import Vocabulary
from optformer.training.config import TrainingConfig
from optformer.training.evaluation.validation import SEED, Validation
from optformer.training.mixtures.prior import SyntheticPrior
from optformer.training.run_state import STATE
from optformer.training.train import Trainer

SMALL: dict[str, Any] = {"batches": 2, "studies": 8, "dimensions": [2], "tasks": 2, "trials": 3}


@pytest.fixture(scope="module")
def validation(training_config: TrainingConfig, vocabulary: Vocabulary) -> Validation:
    return Validation(training_config.prior, vocabulary, **SMALL)


def test_scores__same_checkpoint__are_the_same_and_leave_random_states_alone(
    validation: Validation, tiny_checkpoint: Checkpoint
) -> None:
    before = torch.get_rng_state()
    scores = validation.scores(tiny_checkpoint)
    assert torch.equal(torch.get_rng_state(), before)
    assert validation.scores(tiny_checkpoint) == scores
    assert list(scores) == ["metric", "value", "share_uniform", "share_gp-ei", "regret"]
    assert all(math.isfinite(score) for score in scores.values())
    assert scores["share_uniform"] < 0.2  # random weights know nothing
    assert scores["regret"] <= 1


def test_validation__training_data__are_others(
    training_config: TrainingConfig, validation: Validation, vocabulary: Vocabulary
) -> None:
    held_out = validation.batches
    unmined = SyntheticPrior(replace(training_config.prior, mining=0.0), vocabulary, SEED)
    for number, batch in enumerate(held_out):
        assert batch.spare is None
        assert torch.equal(batch.history.metric, unmined.batch(number).history.metric)
    seen = SyntheticPrior(training_config.prior, vocabulary, training_config.seed).batch(0)
    assert not set(seen.history.metric.flatten().tolist()) & set(
        held_out[0].history.metric[held_out[0].history.metric > 0].tolist()
    )


def test_train__validations__are_logged_and_change_nothing_else(
    training_config: TrainingConfig,
    validation: Validation,
    tmp_path: Path,
) -> None:
    states = []
    for name, every in (("without", 0), ("with", 1)):
        (tmp_path / name).mkdir()
        config = replace(training_config, steps=2, validate_every=every)
        trainer = Trainer(config, tmp_path / name, cpu=True, validation=lambda *_: validation)
        trainer.train()
        states.append(torch.load(tmp_path / name / STATE, weights_only=True))
    assert all(torch.equal(w, states[1]["weights"][n]) for n, w in states[0]["weights"].items())
    log = (tmp_path / "with" / "log.jsonl").read_text()
    assert log.count('"group": "validation"') == 2
    assert log.count('"share_gp-ei"') == 2
