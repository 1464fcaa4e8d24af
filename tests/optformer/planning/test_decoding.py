"""Trials written by the policy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.model.checkpoint import Checkpoint
from optformer.model.tensors import UNSET, points_batch
from optformer.planning.candidates import from_policy
from optformer.planning.decoding import UNIFORM_SHARE, draw_trials, log_prior
from optformer.planning.space_transform import SpaceTransform
from optformer.planning.study_encoder import EncodedStudy, StudyEncoder
from optformer.tokenization.binning import quantize
from optformer.tokenization.history import Points, encode_points


@pytest.fixture
def finite(
    tiny_checkpoint: Checkpoint, finite_config: StudyConfig, finite_trials: list[Trial]
) -> tuple[EncodedStudy, SpaceTransform]:
    study = StudyEncoder(tiny_checkpoint, finite_config).encode(finite_trials)
    return study, SpaceTransform(finite_config.space, finite_config.fixed)


@pytest.fixture
def mixed(
    tiny_checkpoint: Checkpoint, mixed_config: StudyConfig, mixed_trials: list[Trial]
) -> tuple[EncodedStudy, SpaceTransform]:
    study = StudyEncoder(tiny_checkpoint, mixed_config).encode(mixed_trials)
    return study, SpaceTransform(mixed_config.space, mixed_config.fixed)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def probabilities(
    study: EncodedStudy, space: SpaceTransform, point: dict[str, Any]
) -> list[tuple[float, int]]:
    """The slow twin: one parameter of one trial at a time, from the point as the user writes it.

    Returns:
        For each active, free parameter the probability of its token, and how many are legal.
    """
    encoded = encode_points(space.space, [point])
    found = []
    for slot, name in enumerate(space.names):
        if name not in point or slot in space.fixed:
            continue
        chosen = np.arange(len(space.names)) < slot
        partial = Points(
            np.where(chosen, encoded.values, 0.0).astype(np.float32),
            np.where(chosen, encoded.kinds, UNSET),
        )
        with torch.no_grad():
            logits = study.model.value_logits(
                study.metadata, study.encoded, points_batch(partial), torch.tensor([slot])
            )[0, 0]
        value = encoded.values[0, slot]
        token = 1000 + int(value) if space.is_choice[slot] else int(quantize(value))
        chances = logits.double().softmax(-1)
        found.append((float(chances[token]), int((chances > 0).sum())))
    return found


def log_probability(study: EncodedStudy, space: SpaceTransform, point: dict[str, Any]) -> float:
    return sum(math.log(probability) for probability, _ in probabilities(study, space, point))


def test_draw_trials__continuous_space__gives_legal_trials(
    mixed: tuple[EncodedStudy, SpaceTransform],
) -> None:
    study, space = mixed
    found = draw_trials(study, space, 24, seeded(1))
    for values in found:
        point = space.decode(values)
        assert space.space.validate(point) == point
        assert point["layers"] == 3
    assert len(np.unique(found, axis=0)) == 24


def test_draw_trials__many_draws__follow_the_policy(
    finite: tuple[EncodedStudy, SpaceTransform],
) -> None:
    study, space = finite
    values = draw_trials(study, space, 20_000, seeded(2))
    keys, first, counts = np.unique(space.keys(values), return_index=True, return_counts=True)
    points = [space.decode(values[i]) for i in first]
    expected = np.exp([log_probability(study, space, point) for point in points])
    assert len(keys) > 30
    assert expected.sum() == pytest.approx(1.0, abs=0.01)  # there are 40 points in all
    deviation = (counts / 20_000 - expected) / np.sqrt(expected / 20_000)
    assert np.abs(deviation).max() < 4.5


def test_from_policy__same_generator__gives_the_same_points(
    mixed: tuple[EncodedStudy, SpaceTransform],
) -> None:
    study, space = mixed
    first = from_policy(study, space, 16, seeded(6))
    assert (first.values == from_policy(study, space, 16, seeded(6)).values).all()
    assert (first.values != from_policy(study, space, 16, seeded(7)).values).any()
    assert (space.project(first.values) == first.values).all()


def test_draw_trials__everything_fixed__asks_nothing(
    tiny_checkpoint: Checkpoint, finite_config: StudyConfig
) -> None:
    point = {"optimizer": "sgd", "momentum": 0.9, "layers": 2, "width": 32, "wide": "no"}
    space = SpaceTransform(finite_config.space, point)
    study = StudyEncoder(tiny_checkpoint, finite_config).encode([])
    for values in draw_trials(study, space, 3, seeded()):
        assert space.decode(values) == {k: v for k, v in point.items() if k != "wide"}


@pytest.mark.parametrize("kind", ["finite", "mixed"])
def test_log_prior__slow_twin__agrees(kind: str, request: pytest.FixtureRequest) -> None:
    study, space = request.getfixturevalue(kind)
    drawn = draw_trials(study, space, 12, seeded(4))
    anywhere = space.from_uniform(np.random.default_rng(0).random((12, len(space.names))))
    points = [space.decode(values) for values in np.concatenate([drawn, anywhere])]
    expected = [
        sum(
            math.log((1 - UNIFORM_SHARE) * probability * legal + UNIFORM_SHARE)
            for probability, legal in probabilities(study, space, point)
        )
        for point in points
    ]
    found = log_prior(study, space, space.encode(points))
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-4, rtol=1e-4)


def test_log_prior__whatever_is_asked__rules_nothing_out(
    mixed: tuple[EncodedStudy, SpaceTransform],
) -> None:
    study, space = mixed
    values = space.from_uniform(np.random.default_rng(1).random((200, len(space.names))))
    assert float(log_prior(study, space, values).min()) >= len(space.names) * math.log(0.1)
