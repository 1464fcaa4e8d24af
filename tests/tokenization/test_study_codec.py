"""Whole studies as one sequence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from optformer.data.studies.errors import TokenizationError
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.tokenization.history import MetricKind
from optformer.tokenization.metadata import metadata_to_text
from optformer.tokenization.study_codec import (
    SLOT_METRIC,
    SLOT_PARAMETERS_END,
    SLOT_STUDY,
    SLOT_TRIAL_END,
    decode_study,
    encode_study,
    to_text,
)
from optformer.tokenization.vocabulary import Vocabulary


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_encode_study__any_study__equals_encoding_its_text(
    data: st.DataObject,
    studies: st.SearchStrategy[tuple[StudyConfig, list[Trial]]],
    vocabulary: Vocabulary,
) -> None:
    config, trials = data.draw(studies)
    text = to_text(config, trials, algorithm="random")
    encoding = encode_study(config, trials, vocabulary, algorithm="random")
    assert encoding.ids.tolist() == vocabulary.encode(text)
    assert vocabulary.decode(encoding.ids) == text
    length = len(encoding.ids)
    assert len(encoding.values) == len(encoding.trial) == len(encoding.slot) == length


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_decode_study__any_study__returns_metadata_and_trials(
    data: st.DataObject,
    studies: st.SearchStrategy[tuple[StudyConfig, list[Trial]]],
    vocabulary: Vocabulary,
) -> None:
    config, trials = data.draw(studies)
    study = decode_study(encode_study(config, trials, vocabulary).ids, vocabulary)
    assert study.text == metadata_to_text(config)
    assert study.algorithm is None
    assert list(study.config.space) == list(config.space)
    assert len(study.trials) == len(trials)
    for trial, read in zip(trials, study.trials, strict=True):
        assert (read.metric is not None) == trial.has_value
        assert set(read.params) <= set(trial.params)


def test_encode_study__small_study__is_golden(
    small_config: StudyConfig, small_trials: list[Trial], vocabulary: Vocabulary
) -> None:
    encoding = encode_study(small_config, small_trials[1:3], vocabulary)
    text = to_text(small_config, small_trials[1:3])
    assert text.endswith(
        "<low>1<high>8<start><0><c0><999><999>*<failed>|<999><c1><inactive><0>*<pending>|"
    )
    assert encoding.ids[-14:].tolist() == [
        94, 1094, 1093, 1093, 3, 39, 4, 1093, 1095, 36, 94, 3, 38, 4
    ]  # fmt: skip
    assert encoding.trial.tolist()[-15:] == [0] + [1] * 7 + [2] * 7
    assert encoding.slot.tolist()[-15:] == [
        SLOT_STUDY,
        *[0, 1, 2, 3, SLOT_PARAMETERS_END, SLOT_METRIC, SLOT_TRIAL_END] * 2,
    ]
    assert encoding.values[-14:].tolist() == [0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
    assert encoding.slot[encoding.trial == 0][-2] == 3  # a block shares its parameter's slot


def test_encode_study__exact_values__stand_beside_the_bins(
    small_config: StudyConfig, small_trials: list[Trial], vocabulary: Vocabulary
) -> None:
    encoding = encode_study(small_config, small_trials, vocabulary)
    metric = (encoding.slot == SLOT_METRIC) & (encoding.ids >= vocabulary.bins.start)
    unit = encoding.scale.to_unit(torch.tensor([0.5, 0.75], dtype=torch.float64))
    np.testing.assert_allclose(encoding.values[metric], unit.numpy(), rtol=1e-6)
    bins = (encoding.values[metric] * 1000).astype(int) + vocabulary.bins.start
    assert encoding.ids[metric].tolist() == bins.tolist()


def test_decode_study__metric__returns_through_the_scale(
    small_config: StudyConfig, small_trials: list[Trial], vocabulary: Vocabulary
) -> None:
    encoding = encode_study(small_config, small_trials, vocabulary)
    study = decode_study(encoding.ids, vocabulary)
    kinds = [trial.metric_kind for trial in study.trials]
    assert kinds == [MetricKind.VALUE, MetricKind.FAILED, MetricKind.PENDING, MetricKind.VALUE]
    units = [trial.metric for trial in study.trials if trial.metric is not None]
    values = encoding.scale.from_unit(torch.tensor(units, dtype=torch.float64))
    np.testing.assert_allclose(values.numpy(), [0.5, 0.75], atol=0.01)


def test_decode_study__no_start_or_cut_trial__is_refused(
    small_config: StudyConfig, small_trials: list[Trial], vocabulary: Vocabulary
) -> None:
    ids = encode_study(small_config, small_trials, vocabulary).ids
    with pytest.raises(TokenizationError, match="last trial is cut"):
        decode_study(ids[:-1], vocabulary)
    with pytest.raises(TokenizationError, match=r"<start> once.*got it 0 times"):
        decode_study(ids[: np.flatnonzero(ids == vocabulary.id("<start>"))[0]], vocabulary)
