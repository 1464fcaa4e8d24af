"""What is added to the attention scores."""

from __future__ import annotations

import math

import pytest
import torch

from optformer.model.attention_bias import TokenKind
from optformer.model.checkpoint import Checkpoint
from optformer.model.encoded import EncodedMetadata
from optformer.model.layers import HIDDEN
from optformer.model.tensors import HistoryTensors, PointTensors
from optformer.tokenization.history import ValueKind


def test_bias__some_layers__are_those_of_all(
    tiny_checkpoint: Checkpoint, encoded_metadata: EncodedMetadata, trials: HistoryTensors
) -> None:
    bias, points = tiny_checkpoint.model.decoder.bias, trials.points
    position, visible = torch.arange(trials.length), trials.visible(1)
    given = encoded_metadata, TokenKind.METRIC, points, points, position, visible
    every = bias(*given, slice(None))
    assert len(every) == tiny_checkpoint.model.config.layers
    assert torch.equal(bias(*given, slice(1, 2))[0], every[1])
    assert not torch.equal(every[0], every[1])


def test_bias__invisible_trials__are_hidden_and_no_others(
    tiny_checkpoint: Checkpoint, encoded_metadata: EncodedMetadata, trials: HistoryTensors
) -> None:
    bias, points = tiny_checkpoint.model.decoder.bias, trials.points
    visible = trials.visible(2)
    position = torch.arange(trials.length)
    every = bias(encoded_metadata, TokenKind.STAR, points, points, position, visible, slice(None))
    for layer in every:
        hidden = layer < 0.5 * HIDDEN
        assert torch.equal(hidden[0, 0, :, -trials.length :], ~visible)
        assert torch.equal(hidden[0, 0, 0, : -trials.length], ~encoded_metadata.mask[0])


@pytest.mark.parametrize("slot", [0, 3, 5])
def test_log_distances__moved_apart__grow_in_every_head(
    tiny_checkpoint: Checkpoint,
    encoded_metadata: EncodedMetadata,
    trials: HistoryTensors,
    slot: int,
) -> None:
    bias, origin = tiny_checkpoint.model.decoder.bias, trials.points.select(slice(1))
    near = bias.log_distances(encoded_metadata, origin, origin)
    torch.testing.assert_close(near, torch.full_like(near, math.log(1e-5)))
    values = origin.values.clone()
    values[..., slot] = 1 - values[..., slot] * 0.5
    far = bias.log_distances(encoded_metadata, PointTensors(values, origin.kinds), origin)
    assert (far > near + 1).all()


def test_log_distances__missing_value__is_at_no_distance(
    tiny_checkpoint: Checkpoint, encoded_metadata: EncodedMetadata, trials: HistoryTensors
) -> None:
    bias, origin = tiny_checkpoint.model.decoder.bias, trials.points.select(slice(1))
    values, kinds = origin.values.clone(), origin.kinds.clone()
    values[..., 0], kinds[..., 0] = 0.0, int(ValueKind.MISSING)
    logs = bias.log_distances(encoded_metadata, PointTensors(values, kinds), origin)
    torch.testing.assert_close(logs, torch.full_like(logs, math.log(1e-5)))
