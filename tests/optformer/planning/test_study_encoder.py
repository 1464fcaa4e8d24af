from __future__ import annotations

import numpy as np
import pytest
import torch

from optformer.data.studies.parameters import Float, Int
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.model.checkpoint import Checkpoint, load_checkpoint
from optformer.planning.study_encoder import StudyEncoder, subsample_history
from optformer.tokenization.history import encode_points

SPACE = SearchSpace(x=Float(0, 1), y=Float(0, 1))


def _config(space: SearchSpace = SPACE, minimize: bool = False) -> StudyConfig:
    return StudyConfig(space, "loss", "minimize" if minimize else "maximize")


def _trials(count: int, seed: int = 0) -> list[Trial]:
    rng = np.random.default_rng(seed)
    values = rng.permutation(count)
    return [Trial(i, SPACE.sample(rng)).finish(float(v)) for i, v in enumerate(values)]


@pytest.mark.parametrize("minimize", [False, True])
def test_subsample_history__long_history__keeps_best_recent_and_a_spread(minimize: bool) -> None:
    trials = _trials(300)
    kept = subsample_history(trials, _config(minimize=minimize), 90)
    assert kept == sorted(set(kept))
    assert len(kept) == 90
    assert set(range(270, 300)) <= set(kept)
    ranked = sorted(range(300), key=lambda i: trials[i].value or 0.0, reverse=not minimize)
    assert set(ranked[:30]) <= set(kept)
    # Every stretch of ranks is there: no gap is much wider than 270 others spread over 30.
    ranks = sorted(ranked.index(i) for i in kept)
    assert np.diff(ranks).max() <= 15
    assert ranks[-1] >= 290


def test_subsample_history__pending_and_failed_trials__pending_first() -> None:
    trials = _trials(200)
    for i in (3, 50, 120):
        trials[i] = Trial(i, trials[i].params)
    for i in range(10, 40):
        trials[i] = Trial(i, trials[i].params).fail("nan")
    kept = subsample_history(trials, _config(), 60)
    assert {3, 50, 120} <= set(kept)
    assert len(kept) == 60
    assert any(10 <= i < 40 for i in kept)


def test_subsample_history__all_pending__keeps_the_latest() -> None:
    trials = [Trial(i, {"x": 0.5, "y": 0.5}) for i in range(100)]
    kept = subsample_history(trials, _config(), 30)
    assert len(kept) == 30
    assert set(range(90, 100)) <= set(kept)


@pytest.mark.parametrize("count", [0, 1, 30])
def test_subsample_history__short_history__is_whole(count: int) -> None:
    assert subsample_history(_trials(count), _config(), 30) == list(range(count))


def test_encode__long_history__is_subsampled_and_scaled_on_all(
    tiny_checkpoint: Checkpoint,
) -> None:
    trials = _trials(300)
    study = StudyEncoder(tiny_checkpoint, _config()).encode(trials)
    limit = tiny_checkpoint.model.config.trained_length
    assert study.encoded.length == limit
    values = torch.tensor([trial.value for trial in trials], dtype=torch.float64)
    assert float(study.best) == pytest.approx(float(study.scale.to_unit(values).amax()), abs=1e-6)
    assert float(study.scale.median) == float(values.median())


def test_condition_on__pending_trial__equals_reading_it_with_the_others(
    tiny_checkpoint: Checkpoint,
) -> None:
    """The last trial of a causal history sees what a pending one of the prefix sees."""
    trials = _trials(1)
    config = _config()
    point = encode_points(SPACE, [{"x": 0.2, "y": 0.9}])
    asked = encode_points(SPACE, [{"x": 0.21, "y": 0.8}, {"x": 0.9, "y": 0.1}])
    study = StudyEncoder(tiny_checkpoint, config).encode(trials)
    pending, assumed = study.condition_on(point, None), study.condition_on(point, [0.8])
    assert study.encoded.length == 1
    assert pending.encoded.length == assumed.encoded.length == 2
    first, second, third = (s.predict(asked).logits for s in (study, pending, assumed))
    assert (first - second).abs().max() > 1e-3
    assert (second - third).abs().max() > 1e-3


def test_metadata_signal__any_study__tells_known_models_from_nameless_parameters() -> None:
    shipped = load_checkpoint()
    names = [f"x{i}" for i in range(5)]
    nameless = StudyConfig(SearchSpace({name: Float(-5, 5) for name in names}), "y", "minimize")
    forest = StudyConfig(
        SearchSpace(
            n_estimators=Int(5, 200, log=True),
            max_depth=Int(1, 20),
            min_samples_leaf=Int(1, 50, log=True),
            max_features=Float(0.1, 1.0),
        ),
        "accuracy",
        "maximize",
        {"task": "classification", "model": "random forest"},
    )
    assert StudyEncoder(shipped, nameless, "gp ei").metadata_signal < 0.05
    assert StudyEncoder(shipped, forest, "gp ei").metadata_signal > 0.15


def test_encode__long_history__processes_read_what_the_decoder_does_not() -> None:
    checkpoint = load_checkpoint()
    rng = np.random.default_rng(3)
    trials = []
    for number in range(400):
        point = SPACE.sample(rng)
        wave = np.sin(9 * point["x"]) * np.cos(7 * point["y"])
        trials.append(Trial(number, point).finish(float(wave)))
    asked = encode_points(SPACE, [SPACE.sample(rng) for _ in range(100)])
    truth = np.sin(9 * asked.values[:, 0]) * np.cos(7 * asked.values[:, 1])
    encoder = StudyEncoder(checkpoint, _config())
    limit, errors = checkpoint.model.config.trained_length, {}
    for count in (limit, 400):
        study = encoder.encode(trials[:count])
        assert study.history.length == limit
        mean = study.scale.from_unit(study.predict(asked).mean).numpy()
        errors[count] = np.sqrt(np.square(mean - truth).mean())
    assert errors[400] < 0.6 * errors[limit]
