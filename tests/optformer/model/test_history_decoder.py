"""The decoder, whole and in parts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from optformer.model.attention_bias import TokenKind
from optformer.model.checkpoint import Checkpoint
from optformer.model.encoded import EncodedMetadata
from optformer.model.history_decoder import HistoryDecoder
from optformer.model.tensors import HistoryTensors


@pytest.fixture
def tokens(tiny_checkpoint: Checkpoint, trials: HistoryTensors) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (1, trials.length, tiny_checkpoint.model.config.width)
    return torch.randn(shape, generator=generator)


def parts_of(decoder: HistoryDecoder, checkpoint: Checkpoint) -> list[HistoryDecoder]:
    """The decoder's layers in two decoders."""
    config = checkpoint.model.config
    parts = [HistoryDecoder(config, range(1)), HistoryDecoder(config, range(1, config.layers))]
    weights = decoder.state_dict()
    for part in parts:
        part.load_state_dict({name: weights[name] for name in part.state_dict()})
        part.requires_grad_(False)
    return parts


def test_parts__one_behind_the_other__equal_the_whole(
    tiny_checkpoint: Checkpoint,
    encoded_metadata: EncodedMetadata,
    trials: HistoryTensors,
    tokens: Tensor,
) -> None:
    whole, points = tiny_checkpoint.model.decoder, trials.points
    visible = trials.visible(2)
    start = whole.start(encoded_metadata, points)
    cache, _ = whole.extend(encoded_metadata, start, tokens, points, visible)
    queries = tokens.flip(1)
    expected = whole.query(encoded_metadata, cache, queries, points, TokenKind.STAR)
    passed = tokens
    keys: list[Tensor] = []
    for part in parts_of(whole, tiny_checkpoint):
        start = part.start(encoded_metadata, points)
        own, passed = part.extend(encoded_metadata, start, passed, points, visible)
        queries = part.query(encoded_metadata, own, queries, points, TokenKind.STAR)
        keys.extend(own.keys)
    assert len(keys) == len(cache.keys)
    assert all(torch.equal(first, second) for first, second in zip(keys, cache.keys, strict=True))
    assert torch.equal(queries, expected)


def test_extend__trials_one_by_one__equal_all_at_once(
    tiny_checkpoint: Checkpoint,
    encoded_metadata: EncodedMetadata,
    trials: HistoryTensors,
    tokens: Tensor,
) -> None:
    decoder, points = tiny_checkpoint.model.decoder, trials.points
    start = decoder.start(encoded_metadata, points)
    visible = trials.visible(0)
    whole, _ = decoder.extend(encoded_metadata, start, tokens, points, visible)
    grown = start
    for t in range(trials.length):
        own = slice(t, t + 1)
        grown, _ = decoder.extend(
            encoded_metadata, grown, tokens[:, own], points.select(own), visible[own, : t + 1]
        )
    assert grown.length == trials.length
    for first, second in zip(grown.keys + grown.values, whole.keys + whole.values, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def test_query__position__hides_the_trials_behind_it(
    tiny_checkpoint: Checkpoint,
    encoded_metadata: EncodedMetadata,
    trials: HistoryTensors,
    tokens: Tensor,
) -> None:
    decoder, points = tiny_checkpoint.model.decoder, trials.points
    start = decoder.start(encoded_metadata, points)
    caches = []
    for sign in (1.0, -1.0):  # the last two trials differ
        changed = torch.cat([tokens[:, :2], sign * tokens[:, 2:]], 1)
        cache, _ = decoder.extend(encoded_metadata, start, changed, points, trials.visible(0))
        caches.append(cache)
    position = torch.tensor([0, 2, 3, 4])
    first, second = (
        decoder.query(encoded_metadata, cache, tokens, points, TokenKind.PARAMETER, position)
        for cache in caches
    )
    same = (first == second).all(-1)[0]
    assert same.tolist() == [True, True, False, False]
