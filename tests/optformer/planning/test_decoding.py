"""Trials written by the policy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from optformer.data.studies.errors import ConfigError
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.model.checkpoint import Checkpoint
from optformer.model.tensors import UNSET, points_batch
from optformer.planning.candidates import from_policy
from optformer.planning.decoding import draw_trials, generate_trials, search_trials
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


def log_probability(
    study: EncodedStudy, space: SpaceTransform, point: dict[str, Any], temperature: float = 1.0
) -> float:
    """The slow twin: one parameter of one trial at a time, from the point as the user writes it."""
    encoded = encode_points(space.space, [point])
    total = 0.0
    for slot, name in enumerate(space.names):
        if name not in point or slot in space.fixed:
            continue
        known = np.arange(len(space.names)) < slot
        partial = Points(
            np.where(known, encoded.values, 0.0).astype(np.float32),
            np.where(known, encoded.kinds, UNSET),
        )
        asked = torch.tensor([slot])
        with torch.no_grad():
            logits = study.model.value_logits(
                study.metadata, study.encoded, points_batch(partial), asked
            )[0, 0]
        value = encoded.values[0, slot]
        token = 1000 + int(value) if space.is_choice[slot] else int(quantize(value))
        total += float((logits.double() / temperature).log_softmax(-1)[token])
    return total


def all_points(space: SpaceTransform) -> Iterator[dict[str, Any]]:
    fixed = {space.names[slot]: value for slot, value in space.fixed.items()}
    assert not fixed
    return space.space.grid()


def test_beam__as_many_beams_as_trials__is_exhaustive(
    finite: tuple[EncodedStudy, SpaceTransform],
) -> None:
    study, space = finite
    points = list(all_points(space))
    expected = sorted(((log_probability(study, space, p), p) for p in points), key=lambda e: -e[0])
    found = generate_trials(study, space, count=50, method="beam", beams=200, generator=seeded())
    assert len(found) == len(points) == 40
    for (values, score), (log, point) in zip(found, expected, strict=True):
        assert score == pytest.approx(log, abs=1e-4)
        assert space.decode(values) == point
    assert sum(np.exp(score) for _, score in found) == pytest.approx(1.0, abs=1e-4)


def test_beam__few_beams__keeps_the_best_partial_trials(
    finite: tuple[EncodedStudy, SpaceTransform],
) -> None:
    """Against a beam search in plain Python over the slow twin."""
    study, space = finite
    kept: list[dict[str, Any]] = [{}]
    for name, parameter in space.space.items():
        longer = []
        for point in kept:
            if space.space.is_active(name, point):
                longer += [{**point, name: value} for value in parameter.grid()]
            else:
                longer.append(point)
        kept = sorted(longer, key=lambda p: -log_probability(study, space, p))[:3]
    values, scores = search_trials(study, space, 3)
    assert [space.decode(row) for row in values] == kept
    assert scores == pytest.approx([log_probability(study, space, p) for p in kept], abs=1e-4)


def test_greedy__any_study__is_one_beam(mixed: tuple[EncodedStudy, SpaceTransform]) -> None:
    study, space = mixed
    [(values, score)] = generate_trials(study, space, count=1, method="greedy", generator=seeded())
    point = space.decode(values)
    assert score == pytest.approx(log_probability(study, space, point), rel=1e-5, abs=1e-4)
    best, scores = search_trials(study, space, 1)
    assert (best == values).all()
    assert scores == [score]


@pytest.mark.parametrize("method", ["sample", "nucleus", "beam"])
def test_generate__continuous_space__gives_legal_trials(
    mixed: tuple[EncodedStudy, SpaceTransform], method: Any
) -> None:
    study, space = mixed
    found = generate_trials(
        study, space, count=24, method=method, beams=24, temperature=3.0, generator=seeded(1)
    )
    assert len(found) == 24
    compared = 0
    for values, score in found:
        point = space.decode(values)
        assert space.space.validate(point) == point
        assert point["layers"] == 3
        if (quantize(space.encode([point])[0]) == quantize(values)).all():
            # A drawn number lies anywhere in its bin; the twin reads the same number.
            assert score == pytest.approx(log_probability(study, space, point), abs=1e-2)
            compared += 1
    assert compared > 18  # the nearest whole number may lie in the next bin
    assert len({tuple(values) for values, _ in found}) > 12


def test_sample__many_draws__follow_the_policy(finite: tuple[EncodedStudy, SpaceTransform]) -> None:
    study, space = finite
    values, scores = draw_trials(study, space, 20_000, seeded(2))
    keys, first, counts = np.unique(space.keys(values), return_index=True, return_counts=True)
    assert len(keys) <= 40
    expected = np.exp(scores[first])
    deviation = (counts / 20_000 - expected) / np.sqrt(expected / 20_000)
    assert np.abs(deviation).max() < 4.5


def test_sample__temperature__moves_draws_but_not_log_probabilities(
    finite: tuple[EncodedStudy, SpaceTransform],
) -> None:
    study, space = finite
    hot, hot_scores = draw_trials(study, space, 2000, seeded(3), temperature=50.0)
    cold, cold_scores = draw_trials(study, space, 2000, seeded(3), temperature=1e-4)
    choice = np.bincount(hot[:, 0].astype(int), minlength=3) / 2000
    assert choice == pytest.approx([1 / 3] * 3, abs=0.05)
    greedy, greedy_scores = search_trials(study, space, 1)
    assert (cold == greedy).all()
    assert cold_scores == pytest.approx(greedy_scores[0], abs=1e-5)
    assert hot_scores[0] == pytest.approx(
        log_probability(study, space, space.decode(hot[0])), abs=1e-4
    )


def test_nucleus__one_token_holds_the_share__is_greedy(
    mixed: tuple[EncodedStudy, SpaceTransform],
) -> None:
    study, space = mixed
    drawn, _ = draw_trials(study, space, 5, seeded(4), top_p=1e-6)
    greedy, _ = search_trials(study, space, 1)
    same_bin = np.abs(drawn - greedy) < 1e-3
    assert same_bin.all()


def test_nucleus__share__leaves_the_unlikely_out(
    finite: tuple[EncodedStudy, SpaceTransform],
) -> None:
    study, space = finite
    with torch.no_grad():
        points = points_batch(Points(np.zeros((1, 5), np.float32), np.full((1, 5), UNSET)))
        logits = study.model.value_logits(study.metadata, study.encoded, points, torch.tensor([0]))
    chances = logits[0, 0].softmax(-1)[1000:]
    order = chances.argsort(descending=True)
    share = float(chances[order[0]] + chances[order[1]] / 2)  # the second is cut in the middle
    values, _ = draw_trials(study, space, 2000, seeded(5), top_p=share)
    drawn = np.bincount(values[:, 0].astype(int), minlength=3) / 2000
    assert drawn[int(order[2])] == 0
    kept = chances[order[:2]] / chances[order[:2]].sum()
    assert drawn[order[:2].numpy()] == pytest.approx(kept.numpy(), abs=0.05)


def test_from_policy__same_generator__gives_the_same_points(
    mixed: tuple[EncodedStudy, SpaceTransform],
) -> None:
    study, space = mixed
    first = from_policy(study, space, 16, seeded(6))
    assert (first.values == from_policy(study, space, 16, seeded(6)).values).all()
    assert (first.values != from_policy(study, space, 16, seeded(7)).values).any()
    assert (space.project(first.values) == first.values).all()


def test_generate__everything_fixed__asks_nothing(
    tiny_checkpoint: Checkpoint, finite_config: StudyConfig
) -> None:
    point = {"optimizer": "sgd", "momentum": 0.9, "layers": 2, "width": 32, "wide": "no"}
    space = SpaceTransform(finite_config.space, point)
    study = StudyEncoder(tiny_checkpoint, finite_config).encode([])
    [(values, score)] = generate_trials(study, space, count=1, method="beam", generator=seeded())
    assert score == 0.0
    assert space.decode(values) == {k: v for k, v in point.items() if k != "wide"}
    drawn, scores = draw_trials(study, space, 3, seeded())
    assert (drawn == values).all()
    assert (scores == 0).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "best"}, "unknown method 'best'"),
        ({"method": "sample", "count": 0}, "count"),
        ({"method": "greedy", "count": 2}, "one trial"),
        ({"method": "beam", "count": 5, "beams": 4}, "count=5, got 4"),
        ({"method": "sample", "temperature": 0.0}, "temperature"),
        ({"method": "nucleus", "top_p": 1.5}, "top_p"),
    ],
)
def test_generate__number_out_of_range__says_which(
    finite: tuple[EncodedStudy, SpaceTransform], settings: dict[str, Any], message: str
) -> None:
    study, space = finite
    with pytest.raises(ConfigError, match=message):
        generate_trials(study, space, **{"count": 1, "generator": seeded(), **settings})
