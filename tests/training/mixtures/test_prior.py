from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from optformer.data.corpora.synthetic.functions import draw_functions
from optformer.data.corpora.synthetic.histories import METHODS
from optformer.data.corpora.synthetic.spaces import draw_spaces
from optformer.model.tensors import UNSET
from optformer.tokenization import symbols as sym
from optformer.tokenization.history import (
    MetricKind,
    ValueKind,
    decode_point,
    encode_points,
    value_ids,
)
from optformer.tokenization.legality import legal_values
from optformer.tokenization.symbols import NUM_BINS
from optformer.tokenization.vocabulary import Vocabulary
from optformer.training.config import PriorConfig
from optformer.training.mixtures.batch import IGNORED, StudyBatch
from optformer.training.mixtures.prior import OPTIMA, SyntheticPrior, _value_targets, points_of
from optformer.training.mixtures.queries import draw_prefix


def _tensors(batch: Any) -> list[Tensor]:
    found = []
    for field in fields(batch):
        value = getattr(batch, field.name)
        if is_dataclass(value):
            found += _tensors(value)
        elif isinstance(value, Tensor):
            found.append(value)
    return found


def _same(first: StudyBatch, second: StudyBatch) -> bool:
    pairs = zip(_tensors(first), _tensors(second), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture(scope="module")
def prior(prior_config: PriorConfig, vocabulary: Vocabulary) -> SyntheticPrior:
    return SyntheticPrior(prior_config, vocabulary, 11)


@pytest.fixture(scope="module")
def batches(prior: SyntheticPrior) -> list[StudyBatch]:
    return [prior.batch(step) for step in range(40)]


def test_batch__seed_and_step__are_all_it_depends_on(
    prior: SyntheticPrior,
    batches: list[StudyBatch],
    prior_config: PriorConfig,
    vocabulary: Vocabulary,
) -> None:
    fresh = SyntheticPrior(prior_config, vocabulary, 11)
    torch.manual_seed(99)  # what others draw must not matter
    for step in (17, 3):
        assert _same(fresh.batch(step), batches[step])
    assert _same(prior.batch(17), batches[17])
    assert not torch.equal(
        SyntheticPrior(prior_config, vocabulary, 12).batch(3).metadata.ids, batches[3].metadata.ids
    )


def test_batch__shapes__agree(batches: list[StudyBatch], prior_config: PriorConfig) -> None:
    for batch in batches:
        studies, length = batch.history.metric.shape
        spaces, parameters = batch.metadata.slots.shape
        assert studies == spaces * prior_config.studies_per_space
        assert 0 <= batch.prefix < length <= prior_config.max_trials
        assert batch.history.points.values.shape == (studies, length, parameters)
        assert batch.history.points.values.dtype is torch.float32
        asked = prior_config.probes + length - batch.prefix
        assert batch.metrics.points.kinds.shape == (studies, asked, parameters)
        assert batch.metrics.target.shape == (studies, asked)
        assert batch.values.target.shape == (studies, len(batch.value_slots))
        assert batch.values.position.shape == batch.value_slots.shape
        assert batch.trials == studies * (length + asked)


def test_batch__history__is_scaled_on_the_prefix(batches: list[StudyBatch]) -> None:
    for batch in batches:
        history = batch.history
        measured = history.metric_kinds == MetricKind.VALUE
        assert (history.metric[~measured] == 0).all()
        assert ((history.metric >= 0) & (history.metric <= 1)).all()
        early = history.metric[:, : batch.prefix]
        known = measured[:, : batch.prefix]
        enough = known.sum(-1) >= 2
        if enough.any():
            # A jittered interval around the middle, not the whole unit interval.
            top = early.masked_fill(~known, 0.0).amax(-1)[enough]
            assert (top < 0.95).all()
            assert (top > 0.4).all()


def test_batch__queries__see_the_prefix_at_least(batches: list[StudyBatch]) -> None:
    for batch in batches:
        length = batch.history.length
        for queries in (batch.metrics, batch.values):
            assert (queries.position >= batch.prefix).all()
            assert (queries.position <= length).all()
        assert (batch.values.position < length).all()  # the asked trial comes after what it sees
        assert batch.metrics.target.min() >= 0
        assert batch.metrics.target.max() <= NUM_BINS


def test_batch__value_queries__show_earlier_slots_only(batches: list[StudyBatch]) -> None:
    for batch in batches:
        history, asked = batch.history.points, batch.values
        for n, (slot, row) in enumerate(
            zip(batch.value_slots.tolist(), asked.position.tolist(), strict=True)
        ):
            assert torch.equal(asked.points.values[:, n, :slot], history.values[:, row, :slot])
            assert torch.equal(asked.points.kinds[:, n, :slot], history.kinds[:, row, :slot])
            assert (asked.points.kinds[:, n, slot:] == UNSET).all()
            inactive = history.kinds[:, row, slot] == ValueKind.INACTIVE
            assert torch.equal(asked.target[:, n] == IGNORED, inactive)


def test_batch__value_targets__are_legal(batches: list[StudyBatch]) -> None:
    for batch in batches:
        studies = batch.values.target.shape[0] // batch.metadata.slots.shape[0]
        legal = batch.metadata.legal.repeat_interleave(studies, 0)[:, batch.value_slots]
        answered = batch.values.target != IGNORED
        picked = torch.gather(legal, 2, batch.values.target.clamp(min=0)[..., None])[..., 0]
        assert picked[answered].all()


def test_value_targets__random_spaces__are_the_tokens_of_the_described_space(
    vocabulary: Vocabulary,
) -> None:
    spaces = draw_spaces(60, 4, np.random.default_rng(0))
    functions = draw_functions(spaces, 1, torch.Generator().manual_seed(0))
    history = METHODS["clustered"](functions, 12, torch.Generator().manual_seed(1))
    points = points_of(spaces, history.values)
    for row in range(12):
        slots = torch.arange(4)
        targets = _value_targets(spaces, points, torch.full((4,), row), slots)
        for s, space in enumerate(spaces.described):
            kinds = points.kinds[s, row].numpy()
            point = decode_point(space, points.values[s, row].numpy(), kinds)
            encoded = encode_points(space, [point])
            assert encoded.kinds[0].tolist() == kinds.tolist()
            ids = value_ids(encoded, vocabulary)[0]
            legal = legal_values(space)
            for p in range(4):
                target = int(targets[s, p])
                if kinds[p] == ValueKind.INACTIVE:
                    assert target == IGNORED
                elif kinds[p] == ValueKind.CHOICE:
                    assert target - NUM_BINS == ids[p] - vocabulary.choices.start
                elif spaces.levels[s, p]:
                    assert target == ids[p] - vocabulary.bins.start
                else:  # whole numbers by the thousand are continuous in the prior
                    assert abs(target - (ids[p] - vocabulary.bins.start)) <= 1
                assert target == IGNORED or legal[p, target]


def test_batches__many__hold_every_case(batches: list[StudyBatch]) -> None:
    kinds = torch.cat([b.history.metric_kinds.flatten() for b in batches])
    shares = torch.bincount(kinds, minlength=4) / len(kinds)
    assert shares[MetricKind.VALUE] > 0.5
    assert shares[MetricKind.PENDING] > 0.02
    assert shares[MetricKind.FAILED] > 0.005
    assert any((b.metrics.target == NUM_BINS).any() for b in batches)  # probes that fail
    assert any(b.prefix < 3 for b in batches)
    slots = [b.metadata.slots for b in batches]
    ordered = [torch.equal(s[0], torch.arange(s.shape[1])) for s in slots]
    assert 0 < sum(ordered) < len(ordered)
    assert max(int(s.max()) for s in slots) > 20
    assert all(bool((s.diff(dim=1) > 0).all()) for s in slots)


def test_batch__named_algorithm__stands_in_the_metadata(
    prior_config: PriorConfig, vocabulary: Vocabulary
) -> None:
    word = sym.SYMBOL_IDS["<algorithm>"]
    for share in (0.0, 1.0):
        config = replace(prior_config, named_algorithm=share, methods={"random": 1.0})
        ids = SyntheticPrior(config, vocabulary, 0).batch(1).metadata.ids
        assert ((ids == word).any(-1) == bool(share)).all()


@pytest.mark.parametrize("longest", [1, 3, 12, 120])
def test_draw_prefix__many__stay_within_the_longest(longest: int) -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_prefix(longest, 0.2, rng) for _ in range(400)]
    assert min(drawn) == 0
    assert max(drawn) <= longest
    assert max(drawn) >= min(longest, 100)


@pytest.mark.parametrize("short", [0.0, 0.6, 1.0])
def test_draw_prefix__many__as_many_are_very_short_as_were_asked_for(short: float) -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([draw_prefix(120, short, rng) for _ in range(2000)])
    by_chance = (1 - short) * 0.375 * 3 / 118  # of any length, and short all the same
    assert (drawn <= 5).mean() == pytest.approx(short + by_chance, abs=0.04)
    middle = (drawn >= 16) & (drawn <= 56)
    assert middle.mean() == pytest.approx((1 - short) * (0.625 + 0.375 * 41 / 118), abs=0.04)


def test_batch__trials_after_the_prefix__are_asked_about_as_they_were_chosen(
    batches: list[StudyBatch],
) -> None:
    for batch in batches:
        tail = batch.history.length - batch.prefix
        asked, tried = batch.metrics.points.values[:, -tail:], batch.history.points.values
        assert torch.equal(asked, tried[:, batch.prefix :])
        expected = torch.arange(batch.prefix, batch.history.length)  # each sees those before it
        assert torch.equal(batch.metrics.position[-tail:], expected)


def test_batch__optimum__asks_where_the_functions_are_best(
    prior_config: PriorConfig, vocabulary: Vocabulary
) -> None:
    prior = SyntheticPrior(replace(prior_config, optimum=1.0, short=0.9), vocabulary, 5)
    seen = set()
    for step in range(20):
        batch = prior.batch(step)
        studies, length = batch.history.metric.shape
        parameters = batch.metadata.slots.shape[1]
        count = max(1, OPTIMA // parameters)
        assert batch.values.target.shape == (studies, count * parameters)
        assert batch.value_slots.tolist() == list(range(parameters)) * count
        assert ((batch.values.position >= batch.prefix) & (batch.values.position <= length)).all()
        assert batch.value_weights is None
        seen.add(batch.prefix)
        # Slot by slot, what was set before the slot is the point that the targets spell.
        values = batch.values.points.values.view(studies, count, parameters, parameters)
        bins = batch.values.target.view(studies, count, parameters)
        number = (bins >= 0) & (bins < NUM_BINS)
        told = values[:, :, -1, :-1]
        wrong = ((told * NUM_BINS).floor().clamp(max=NUM_BINS - 1) - bins[..., :-1]).abs() > 1
        assert not (wrong & number[..., :-1]).any()
    assert {0, 1} <= seen


def test_batch__optimum__names_itself_in_the_metadata(
    prior_config: PriorConfig, vocabulary: Vocabulary
) -> None:
    prior = SyntheticPrior(replace(prior_config, optimum=1.0), vocabulary, 5)
    ids = prior.batch(0).metadata.ids
    assert all("optimum" in vocabulary.decode([i for i in row if i > 0]) for row in ids.tolist())


def test_batch__no_optimum__is_what_it_was(
    prior: SyntheticPrior, prior_config: PriorConfig, vocabulary: Vocabulary
) -> None:
    rare = SyntheticPrior(replace(prior_config, optimum=1e-9), vocabulary, 11)
    first, second = rare.batch(3), prior.batch(3)
    assert torch.equal(first.history.points.values, second.history.points.values)
