"""Augmentations keep the meaning of a study."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from optformer.data.studies.parameters import Categorical, Float, Int
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.tokenization import augment
from optformer.tokenization.history import decode_point, encode_points
from optformer.tokenization.metadata import metadata_to_text


def _content(trial: Trial) -> dict[str, str]:
    return {name: repr(value) for name, value in trial.params.items()}


@settings(max_examples=80, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_permute_parameters__any_study__keeps_trials_and_parents_first(
    data: st.DataObject, seed: int, studies: st.SearchStrategy[tuple[StudyConfig, list[Trial]]]
) -> None:
    config, trials = data.draw(studies)
    new, changed = augment.permute_parameters(config, trials, np.random.default_rng(seed))
    assert dict(new.space) == dict(config.space)
    assert new.fixed == config.fixed
    names = list(new.space)
    for name, parameter in new.space.items():
        assert all(names.index(parent) < names.index(name) for parent in parameter.when or {})
    for trial, other in zip(trials, changed, strict=True):
        assert other == trial
        assert [n for n in names if n in other.params] == list(other.params)


def test_permute_parameters__free_parameters__reach_every_order() -> None:
    config = StudyConfig(SearchSpace({n: Int(0, 3) for n in "abc"}), "error", "minimize")
    rng = np.random.default_rng(0)
    orders = {tuple(augment.permute_parameters(config, [], rng)[0].space) for _ in range(100)}
    assert len(orders) == 6


@settings(max_examples=80, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_permute_choices__any_study__decodes_to_the_same_values(
    data: st.DataObject, seed: int, studies: st.SearchStrategy[tuple[StudyConfig, list[Trial]]]
) -> None:
    config, trials = data.draw(studies)
    new = augment.permute_choices(config, np.random.default_rng(seed))
    points = encode_points(new.space, [trial.params for trial in trials])
    for trial, values, kinds in zip(trials, points.values, points.kinds, strict=True):
        decoded = decode_point(new.space, values, kinds)
        for name, value in decoded.items():
            if isinstance(config.space[name], Categorical):
                assert repr(value) == repr(trial.params[name])


def test_permute_choices__seeds__give_other_orders() -> None:
    config = StudyConfig(SearchSpace(a=Categorical(["x", "y", "z"])), "error", "minimize")
    rng = np.random.default_rng(0)
    orders = {metadata_to_text(augment.permute_choices(config, rng)) for _ in range(100)}
    assert len(orders) == 6


@settings(max_examples=80, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32), probability=st.sampled_from([0.0, 0.5, 1.0]))
def test_drop_names__any_study__keeps_values_and_conditions(
    data: st.DataObject,
    seed: int,
    probability: float,
    studies: st.SearchStrategy[tuple[StudyConfig, list[Trial]]],
) -> None:
    config, trials = data.draw(studies)
    rng = np.random.default_rng(seed)
    new, changed = augment.drop_names(config, trials, rng, probability)
    assert len(new.space) == len(config.space)
    renamed = dict(zip(config.space, new.space, strict=True))
    for trial, other in zip(trials, changed, strict=True):
        assert {renamed[n]: v for n, v in _content(trial).items()} == _content(other)
        for name in config.space:
            assert config.space.is_active(name, trial.params) == new.space.is_active(
                renamed[name], other.params
            )
    assert {renamed[n]: repr(v) for n, v in config.fixed.items()} == {
        n: repr(v) for n, v in new.fixed.items()
    }


def test_drop_names__names_taken__get_the_next_free_number() -> None:
    space = SearchSpace(x1=Int(0, 1), b=Int(0, 1), c=Int(0, 1, when={"b": [1]}))
    config = StudyConfig(space, "error", "minimize")
    trial = Trial(0, {"x1": 0, "b": 1, "c": 1})
    new, changed = augment.drop_names(config, [trial], np.random.default_rng(0), 1.0)
    assert list(new.space) == ["x0", "x4", "x2"]
    assert new.space["x2"].when == {"x4": (1,)}
    assert changed[0].params == {"x0": 0, "x4": 1, "x2": 1}


def test_drop_descriptions_and_metadata__probability__decides(small_config: StudyConfig) -> None:
    rng = np.random.default_rng(0)
    assert augment.drop_descriptions(small_config, rng, 0.0) == small_config
    assert augment.drop_metadata(small_config, rng, 0.0) == small_config
    without = augment.drop_descriptions(small_config, rng, 1.0)
    assert "<desc>" not in metadata_to_text(without)
    assert list(without.space) == list(small_config.space)
    assert augment.drop_metadata(small_config, rng, 1.0).metadata == {}
    kept = [len(augment.drop_metadata(small_config, rng, 0.5).metadata) for _ in range(200)]
    assert set(kept) == {0, 1, 2}


@settings(max_examples=50, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_flip_points__twice__is_the_same(
    data: st.DataObject, seed: int, spaces: st.SearchStrategy[SearchSpace]
) -> None:
    space = data.draw(spaces)
    rng = np.random.default_rng(seed)
    points = encode_points(space, [space.sample(rng) for _ in range(5)])
    flips = augment.draw_flips(space, rng, 0.5)
    flipped = augment.flip_points(points, flips)
    back = augment.flip_points(flipped, flips)
    np.testing.assert_allclose(back.values, points.values, atol=1e-7)
    assert (flipped.kinds == points.kinds).all()


def test_flip_points__only_numbers_of_flipped_slots__are_mirrored() -> None:
    space = SearchSpace(a=Float(0, 1), b=Categorical(["x", "y"]), c=Float(0, 1), d=Float(0, 1))
    points = encode_points(space, [{"a": 0.25, "b": "y", "c": 0.25}])
    flipped = augment.flip_points(points, [True, True, False, True])
    assert flipped.values.tolist() == [[0.75, 1.0, 0.25, 0.0]]
    assert augment.draw_flips(space, np.random.default_rng(0), 1.0) == (True, False, True, True)


def test_augmentations__same_seed__give_the_same_study(
    small_config: StudyConfig, small_trials: list[Trial]
) -> None:
    def run() -> str:
        rng = np.random.default_rng(7)
        config, trials = augment.permute_parameters(small_config, small_trials, rng)
        config, trials = augment.drop_names(augment.permute_choices(config, rng), trials, rng, 0.5)
        return metadata_to_text(config) + repr(trials)

    assert run() == run()
