"""Legal tokens at every position of a trial."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optformer.data.studies.errors import TokenizationError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal
from optformer.data.studies.spaces import SearchSpace
from optformer.tokenization.augment import flip_points
from optformer.tokenization.history import (
    ValueKind,
    decode_trials,
    decode_values,
    encode_points,
    value_ids,
)
from optformer.tokenization.legality import legal_next, legal_values, legality_mask
from optformer.tokenization.symbols import MAX_CHOICES, NUM_BINS
from optformer.tokenization.vocabulary import Vocabulary

_TRICKY = SearchSpace(
    kind=Categorical(["a", "b", "c"]),
    single=Categorical(["only"]),
    rank=Ordinal([3], when={"kind": ["a"]}),
    deep=Int(1, 100_000, log=True, when={"rank": [3]}),
    wide=Int(-5, 10**7, when={"kind": ["b", "c"]}),
    grid=Float(0.1, 0.9, step=0.1),
    fine=Float(0.0, 1.0, step=1e-5),
    bits=Int(1, 5, log=True),
    free=Float(1e-8, 1e-1, log=True),
)


def _random_trial(
    space: SearchSpace, vocabulary: Vocabulary, rng: np.random.Generator
) -> list[int]:
    prefix: list[int] = []
    for _ in range(len(space) + 3):
        legal = np.flatnonzero(legal_next(space, vocabulary, prefix))
        assert len(legal)
        prefix.append(int(rng.choice(legal)))
    return prefix


@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32), tricky=st.booleans())
def test_legal_next__random_legal_sequences__decode_into_the_space(
    data: st.DataObject,
    seed: int,
    tricky: bool,
    spaces: st.SearchStrategy[SearchSpace],
    vocabulary: Vocabulary,
) -> None:
    space = _TRICKY if tricky else data.draw(spaces)
    ids = _random_trial(space, vocabulary, np.random.default_rng(seed))
    mask = legality_mask(space, vocabulary)
    assert mask[np.arange(len(ids)), ids].all()
    (trial,) = decode_trials(space, vocabulary, [ids])
    assert space.validate(trial.params) == trial.params
    inactive = [name for name in space if not space.is_active(name, trial.params)]
    assert set(trial.params) == set(space) - set(inactive)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32), tricky=st.booleans())
def test_legality_mask__tokens_of_legal_points__are_legal(
    data: st.DataObject,
    seed: int,
    tricky: bool,
    spaces: st.SearchStrategy[SearchSpace],
    vocabulary: Vocabulary,
) -> None:
    space = _TRICKY if tricky else data.draw(spaces)
    rng = np.random.default_rng(seed)
    ids = value_ids(encode_points(space, [space.sample(rng) for _ in range(20)]), vocabulary)
    mask = legality_mask(space, vocabulary)
    for row in ids:
        assert mask[np.arange(len(space)), row].all()


@settings(max_examples=30, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32), tricky=st.booleans())
def test_legal_values__mirrored_axes__cover_mirrored_points(
    data: st.DataObject,
    seed: int,
    tricky: bool,
    spaces: st.SearchStrategy[SearchSpace],
) -> None:
    space = _TRICKY if tricky else data.draw(spaces)
    rng = np.random.default_rng(seed)
    flips = tuple(bool(f) for f in rng.random(len(space)) < 0.5)
    points = flip_points(encode_points(space, [space.sample(rng) for _ in range(20)]), flips)
    legal = legal_values(space, flips)
    for values, kinds in zip(points.values, points.kinds, strict=True):
        for slot in np.flatnonzero(kinds == ValueKind.NUMBER):
            assert legal[slot, min(int(values[slot] * 1000.0 + 1e-4), 999)]


def test_legal_values__levels__are_counted(vocabulary: Vocabulary) -> None:
    legal = legal_values(_TRICKY)
    assert legal.shape == (9, NUM_BINS + MAX_CHOICES)
    assert legal.sum(1).tolist() == [3, 1, 1, legal[3].sum(), 1000, 9, 1000, 5, 1000]
    assert legal[0, NUM_BINS : NUM_BINS + 3].all()
    assert legal[2, 500]
    with pytest.raises(ValueError, match="read-only"):
        legal[0, 0] = True


def test_legal_values__many_levels__match_listing_them() -> None:
    for parameter in (Int(1, 9000, log=True), Int(1, 9000), Float(0.0, 1.0, step=1.1e-4)):
        space = SearchSpace(a=parameter)
        units = encode_points(space, [{"a": value} for value in parameter.grid()]).values[:, 0]
        expected = np.zeros(NUM_BINS, dtype=bool)
        expected[np.minimum((units.astype(float) * NUM_BINS + 1e-4).astype(int), 999)] = True
        assert (legal_values(space)[0, :NUM_BINS] == expected).all()


def test_legality_mask__fixed_positions__hold_their_symbols(vocabulary: Vocabulary) -> None:
    mask = legality_mask(_TRICKY, vocabulary)
    assert np.flatnonzero(mask[9]).tolist() == [vocabulary.id("*")]
    assert np.flatnonzero(mask[11]).tolist() == [vocabulary.id("|")]
    assert mask[10].sum() == NUM_BINS + 1
    assert mask[10, vocabulary.id("<failed>")]
    conditional = mask[:, vocabulary.id("<inactive>")]
    assert np.flatnonzero(conditional).tolist() == [2, 3, 4]


def test_legal_next__every_parent_value__settles_the_child(vocabulary: Vocabulary) -> None:
    space = SearchSpace(
        a=Categorical(["x", "y"]),
        b=Int(0, 2, when={"a": ["x"]}),
        c=Float(0, 1, when={"b": [0, 1]}),
    )
    inactive = vocabulary.id("<inactive>")
    bins = [i for i in vocabulary.bins if legal_values(space)[1, i - vocabulary.bins.start]]
    for first, second in itertools.product(vocabulary.choices[:2], [*bins, inactive]):
        point = decode_values(space, vocabulary, [first, second])
        assert legal_next(space, vocabulary, [first])[inactive] == (first != vocabulary.choices[0])
        third = legal_next(space, vocabulary, [first, second])
        assert third[inactive] == (point.get("b") not in (0, 1))
        assert third.sum() == (1 if third[inactive] else NUM_BINS)


def test_legal_next__prefix_too_long__is_refused(vocabulary: Vocabulary) -> None:
    with pytest.raises(TokenizationError, match="has 12 tokens, got a prefix of 12"):
        legal_next(_TRICKY, vocabulary, [0] * 12)


def test_legal_values__too_many_choices__names_the_parameter() -> None:
    with pytest.raises(TokenizationError, match="'kind'"):
        legal_values(SearchSpace(kind=Categorical(list(range(257)))))
