"""Points and trials as numbers and as tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from optformer.data.studies.errors import TokenizationError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.tokenization.history import (
    MetricKind,
    Points,
    ValueKind,
    decode_point,
    decode_trials,
    decode_values,
    encode_history,
    encode_points,
    objective_values,
    trial_ids,
    value_ids,
)
from optformer.tokenization.objective_scale import ObjectiveScale, fit_scale
from optformer.tokenization.vocabulary import Vocabulary


def _scale(config: StudyConfig, trials: list[Trial]) -> ObjectiveScale:
    values, observed = objective_values(config, trials)
    return fit_scale(torch.from_numpy(values), torch.from_numpy(observed))


@settings(max_examples=100)
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_decode_point__encoded_points__come_back_legal_and_close(
    data: st.DataObject, seed: int, spaces: st.SearchStrategy[SearchSpace]
) -> None:
    space = data.draw(spaces)
    rng = np.random.default_rng(seed)
    given_points = [space.sample(rng) for _ in range(4)]
    points = encode_points(space, given_points)
    assert points.values.dtype == np.float32
    assert points.kinds.dtype == np.int64
    for point, values, kinds in zip(given_points, points.values, points.kinds, strict=True):
        decoded = decode_point(space, values, kinds)
        assert list(decoded) == list(point)
        assert space.validate(decoded) == decoded
        for name, value in point.items():
            parameter = space[name]
            if isinstance(parameter, Float | Int):
                moved = parameter.to_unit(decoded[name]) - parameter.to_unit(value)
                assert abs(moved) <= 1e-6  # float32
            else:
                assert repr(decoded[name]) == repr(value)


@settings(max_examples=100)
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_encode_points__any_space__agrees_with_to_unit(
    data: st.DataObject, seed: int, spaces: st.SearchStrategy[SearchSpace]
) -> None:
    space = data.draw(spaces)
    point = space.sample(np.random.default_rng(seed))
    points = encode_points(space, [point])
    for slot, (name, parameter) in enumerate(space.items()):
        kind = ValueKind(points.kinds[0, slot])
        if name not in point:
            assert kind is ValueKind.INACTIVE
            assert points.values[0, slot] == 0.0
        elif isinstance(parameter, Categorical):
            assert kind is ValueKind.CHOICE
            assert points.values[0, slot] == parameter.index(point[name])
        else:
            assert kind is ValueKind.NUMBER
            assert points.values[0, slot] == pytest.approx(parameter.to_unit(point[name]), abs=1e-6)


def test_encode_points__absent_values__are_inactive_or_missing(small_config: StudyConfig) -> None:
    points = encode_points(
        small_config.space, [{"optimizer": "sgd"}, {"optimizer": "adam", "layers": 8}, {}]
    )
    number, choice, inactive, missing = ValueKind
    assert points.kinds.tolist() == [
        [missing, choice, missing, missing],
        [missing, choice, inactive, number],
        [missing, missing, inactive, missing],
    ]
    assert points.values[1].tolist() == [0.0, 1.0, 0.0, 1.0]


def test_encode_points__no_points__has_no_rows(small_config: StudyConfig) -> None:
    points = encode_points(small_config.space, [])
    assert points.values.shape == points.kinds.shape == (0, 4)


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"depth": 3}, r"unknown parameter 'depth'"),
        ({"optimizer": "adam", "momentum": 0.5}, r"point 1 gives parameter 'momentum'.*inactive"),
        ({"layers": 9}, r"'layers' of point 1 must be in \[1, 8\], got 9"),
        ({"layers": float("nan")}, r"'layers' of point 1 must be in \[1, 8\], got nan"),
        ({"learning_rate": -1.0}, r"'learning_rate' of point 1"),
        ({"learning_rate": 0.0}, r"'learning_rate' of point 1"),
        ({"layers": "two"}, r"'layers' takes numbers"),
        ({"optimizer": "lion"}, r"'optimizer' of point 1: expected one of"),
        ({"optimizer": ["sgd"]}, r"'optimizer' of point 1: expected one of"),
    ],
)
def test_encode_points__illegal_point__is_named(
    point: dict[str, Any], message: str, small_config: StudyConfig
) -> None:
    with pytest.raises(TokenizationError, match=message):
        encode_points(small_config.space, [{"optimizer": "sgd"}, point])


def test_encode_points__bool_and_int_choices__are_told_apart() -> None:
    space = SearchSpace(a=Categorical([1, True, 0, False]))
    points = encode_points(space, [{"a": v} for v in (True, 1, False, 0, np.bool_(True))])
    assert points.values[:, 0].tolist() == [1.0, 0.0, 3.0, 2.0, 1.0]


@pytest.mark.parametrize(
    ("parameter", "value", "unit"),
    [
        (Float(-2.0, 2.0), -0.0, 0.5),
        (Float(1e-6, 1e-1, log=True), 1e-6, 0.0),
        (Float(1e-6, 1e-1, log=True), 1e-1, 1.0),
        (Int(1, 16, log=True), 4, 0.5),
        (Int(0, 10, step=5), 5, 0.5),
        (Ordinal(["only"]), "only", 0.5),
        (Ordinal([0.1, 0.1000001, 0.2]), 0.1000001, 0.5),
        (Categorical(["only"]), "only", 0.0),
    ],
)
def test_encode_points__bounds_and_singletons__land_where_expected(
    parameter: Any, value: Any, unit: float
) -> None:
    space = SearchSpace(a=parameter)
    points = encode_points(space, [{"a": value}])
    assert points.values[0, 0] == pytest.approx(unit)
    decoded = decode_point(space, points.values[0], points.kinds[0])["a"]
    assert decoded == (pytest.approx(value) if isinstance(value, float) else value)


def test_decode_point__wrong_shape_or_choice__is_refused(small_config: StudyConfig) -> None:
    with pytest.raises(TokenizationError, match=r"shape \(4,\)"):
        decode_point(small_config.space, [0.0], [0])
    with pytest.raises(TokenizationError, match="'optimizer': choice index must be below 2"):
        decode_point(small_config.space, [0, 2, 0, 0], [0, 1, 2, 0])


def test_encode_history__statuses__become_kinds(
    small_config: StudyConfig, small_trials: list[Trial]
) -> None:
    encoding = encode_history(small_config, small_trials, _scale(small_config, small_trials))
    value, pending, failed, _ = MetricKind
    assert encoding.metric_kinds.tolist() == [value, failed, pending, value]
    assert encoding.metric[[1, 2]].tolist() == [0.0, 0.0]
    assert 0.0 < encoding.metric[0] < encoding.metric[3] < 1.0
    assert encoding.metric.dtype == np.float32


def test_encode_history__minimized_metric__is_turned_round(small_config: StudyConfig) -> None:
    config = StudyConfig(small_config.space, "error", "minimize")
    trials = [Trial(i, {}).finish(float(i)) for i in range(3)]
    metric = encode_history(config, trials, _scale(config, trials)).metric
    assert metric[0] > metric[1] > metric[2]


def test_trial_ids__small_study__is_golden(
    small_config: StudyConfig, small_trials: list[Trial], vocabulary: Vocabulary
) -> None:
    encoding = encode_history(small_config, small_trials, _scale(small_config, small_trials))
    ids = trial_ids(encoding, vocabulary)
    bins = vocabulary.bins.start
    rows = [" ".join(vocabulary.piece(i) for i in row) for row in ids]
    metric = [int(i) - bins for i in ids[[0, 3], 5]]
    assert rows == [
        f"<600> <c1> <inactive> <142> * <{metric[0]}> |",
        "<0> <c0> <999> <999> * <failed> |",
        "<999> <c1> <inactive> <0> * <pending> |",
        f"<800> <c0> <missing> <0> * <{metric[1]}> |",
    ]


@settings(max_examples=100)
@given(data=st.data())
def test_decode_trials__any_study__returns_values_within_half_a_bin(
    data: st.DataObject,
    studies: st.SearchStrategy[tuple[StudyConfig, list[Trial]]],
    vocabulary: Vocabulary,
) -> None:
    config, trials = data.draw(studies)
    encoding = encode_history(config, trials, _scale(config, trials))
    decoded = decode_trials(config.space, vocabulary, trial_ids(encoding, vocabulary))
    assert len(decoded) == len(trials)
    for row, (trial, read) in enumerate(zip(trials, decoded, strict=True)):
        assert read.metric_kind == encoding.metric_kinds[row]
        if read.metric is not None:
            assert abs(read.metric - encoding.metric[row]) <= 0.00051
        for slot, (name, parameter) in enumerate(config.space.items()):
            if name not in read.params:
                continue
            assert parameter.validate(read.params[name]) == read.params[name]
            if isinstance(parameter, Float) and parameter.step is None:
                unit = parameter.to_unit(read.params[name])
                assert abs(unit - encoding.points.values[row, slot]) <= 0.00051
            if isinstance(parameter, Categorical | Ordinal):
                assert repr(read.params[name]) == repr(trial.params[name])


@pytest.mark.parametrize(
    "parameter",
    [
        Int(0, 999),
        Int(1, 40, log=True),
        Int(-5, 10, step=3),
        Float(0.1, 0.9, step=0.1),
        Ordinal(list(range(1000))),
    ],
)
def test_decode_values__up_to_a_thousand_levels__return_exactly(
    parameter: Any, vocabulary: Vocabulary
) -> None:
    space = SearchSpace(a=parameter)
    values = list(parameter.grid())
    ids = value_ids(encode_points(space, [{"a": value} for value in values]), vocabulary)
    assert [decode_values(space, vocabulary, row)["a"] for row in ids.tolist()] == values


def test_decode_values__condition_not_met__leaves_the_child_out(
    small_config: StudyConfig, vocabulary: Vocabulary
) -> None:
    ids = [vocabulary.bins[0], vocabulary.choices[1], vocabulary.bins[500], vocabulary.bins[0]]
    assert set(decode_values(small_config.space, vocabulary, ids)) == {
        "learning_rate",
        "optimizer",
        "layers",
    }


def test_decode_trials__token_out_of_place__is_named(
    small_config: StudyConfig, vocabulary: Vocabulary
) -> None:
    def row(text: str) -> list[list[int]]:
        return [vocabulary.encode(text)]

    space = small_config.space
    for text, message in [
        ("<c0><c0><1><1>*<5>|", "'learning_rate' takes a bin, got <c0>"),
        ("<0><0><1><1>*<5>|", "'optimizer' takes <c0> to <c1>, got <0>"),
        ("<0><c2><1><1>*<5>|", "'optimizer' takes <c0> to <c1>, got <c2>"),
        ("<0><c0><1><1>|<5>*", "trial 0: expected '*', got '|'"),
        ("<0><c0><1><1>*<c5>|", "trial 0: a metric is a bin or a status, got '<c5>'"),
    ]:
        with pytest.raises(
            TokenizationError, match=message.replace("*", r"\*").replace("|", r"\|")
        ):
            decode_trials(space, vocabulary, row(text))
    with pytest.raises(TokenizationError, match="trials of 7 tokens"):
        decode_trials(space, vocabulary, row("<0>*<5>|"))


def test_value_ids__number_outside_unit_interval__is_refused(vocabulary: Vocabulary) -> None:
    points = Points(np.array([[1.5]], dtype=np.float32), np.array([[ValueKind.NUMBER]]))
    with pytest.raises(TokenizationError, match=r"expected \[0, 1\]"):
        value_ids(points, vocabulary)
