"""The encoder of metadata, where they are long."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from optformer.data.studies.parameters import Categorical, Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.model import heads, metadata_encoder
from optformer.model.checkpoint import Checkpoint
from optformer.model.metadata_encoder import MAX_ATTENDED, MAX_CHOICES, shown_choices
from optformer.model.tensors import MetadataTensors, metadata_batch
from optformer.planning.planner import Planner
from optformer.tokenization.legality import legal_values
from optformer.tokenization.metadata import encode_metadata

_LONG = StudyConfig(
    SearchSpace(
        {
            **{f"c{i}": Categorical([f"word {j}" for j in range(200)]) for i in range(4)},
            "x": Float(0, 1),
        }
    ),
    "loss",
    "minimize",
)


def _tensors(config: StudyConfig, checkpoint: Checkpoint) -> MetadataTensors:
    encoding = encode_metadata(config, checkpoint.vocabulary)
    return metadata_batch([encoding], [legal_values(config.space)])


def test_pool__long_metadata__describe_every_choice(tiny_checkpoint: Checkpoint) -> None:
    metadata = _tensors(_LONG, tiny_checkpoint)
    assert metadata.ids.shape[1] > MAX_ATTENDED
    with torch.no_grad():
        encoded = tiny_checkpoint.model.encode_metadata(metadata)
        pooled = tiny_checkpoint.model.encoder.pool(metadata)
    assert encoded.tokens.shape[1] == encoded.mask.shape[1] == 5 + MAX_CHOICES + 4
    assert encoded.tokens.isfinite().all()
    assert len(pooled.choices[0].unique(dim=0)) == 800


def test_pool__means_of_long_metadata__are_those_of_short_ones(
    tiny_checkpoint: Checkpoint, metadata_tensors: MetadataTensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = tiny_checkpoint.model.encoder
    with torch.no_grad():
        whole = encoder.pool(metadata_tensors)
        monkeypatch.setattr(metadata_encoder, "MAX_ATTENDED", 1)
        pieces = encoder.pool(metadata_tensors)  # one piece, after its own first tokens
        for part in ("parameters", "choices"):
            assert getattr(pieces, part).shape == getattr(whole, part).shape
        tokens = torch.randn(1, metadata_tensors.ids.shape[1], 8)
        scattered = metadata_encoder._mean_by(tokens, metadata_tensors.parameter, 6)
        monkeypatch.undo()
        expected = metadata_encoder._mean_by(tokens, metadata_tensors.parameter, 6)
    torch.testing.assert_close(scattered, expected)


def test_shown_choices__very_many__are_the_first_of_each_parameter(
    tiny_checkpoint: Checkpoint,
) -> None:
    metadata = _tensors(_LONG, tiny_checkpoint)
    shown = shown_choices(metadata)
    assert shown is not None
    owners = metadata.choice_parameter[0][shown[0]]
    assert np.bincount(owners).tolist() == [MAX_CHOICES // 4] * 4
    assert int(metadata.choice_index[0][shown[0]].max()) == MAX_CHOICES // 4 - 1


def test_suggest__choices_that_the_decoder_does_not_attend_to__are_suggested(
    tiny_checkpoint: Checkpoint,
) -> None:
    planner = Planner(tiny_checkpoint, strategy="optimum")
    found = [s.params for s in planner.suggest(_LONG, [], 30, seed=0)]
    late = [name for point in found for name in point if str(point[name])[5:] > "128"]
    assert late
    assert all(_LONG.space.validate(point) == point for point in found)


def test_value_head__wide_lists__have_the_same_logits(
    tiny_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.no_grad():
        metadata = tiny_checkpoint.model.encode_metadata(_tensors(_LONG, tiny_checkpoint))
        bound = torch.randn(1, 3, metadata.choices.shape[-1])
        slot = torch.tensor([2, 2, 2])
        wide = heads.ValueHead._choices(metadata, slot, bound)
        monkeypatch.setattr(heads, "_WIDE", 10**6)
        torch.testing.assert_close(wide, heads.ValueHead._choices(metadata, slot, bound))
