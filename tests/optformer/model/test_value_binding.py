"""Slot vectors, and the pooling of points."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from optformer.data.studies.parameters import Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.model.checkpoint import Checkpoint, load_checkpoint
from optformer.model.config import ModelConfig
from optformer.model.encoded import EncodedMetadata
from optformer.model.network import OptFormerModel
from optformer.model.tensors import (
    UNSET,
    HistoryTensors,
    MetadataTensors,
    PointTensors,
    metadata_batch,
)
from optformer.tokenization.legality import legal_values
from optformer.tokenization.metadata import encode_metadata
from optformer.tokenization.vocabulary import default_vocabulary


def metadata_of(space: SearchSpace) -> MetadataTensors:
    config = StudyConfig(space, "accuracy", "maximize")
    return metadata_batch([encode_metadata(config, default_vocabulary())], [legal_values(space)])


@pytest.mark.parametrize("names", [("alpha", "alpha_2"), ("x", "y"), ("lr", "lr")])
def test_slots__similar_parameters__stay_apart(
    tiny_checkpoint: Checkpoint, names: tuple[str, str]
) -> None:
    first, second = names
    parameters: dict[str, Any] = {first: Float(0.0, 1.0), f"{second} ": Float(0.0, 1.0)}
    metadata = metadata_of(SearchSpace(parameters))
    for checkpoint, most in ((tiny_checkpoint, 0.8), (load_checkpoint(), 0.5)):  # random, trained
        slots = checkpoint.model.encode_metadata(metadata).slots[0]
        assert torch.cosine_similarity(slots[0], slots[1], dim=0).abs() < most


def test_slots__fresh_model__are_nearly_orthogonal() -> None:
    vocabulary = default_vocabulary()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = OptFormerModel(ModelConfig.named("small", vocabulary.size)).eval()
    space = SearchSpace({f"x{i}": Float(0.0, 1.0) for i in range(20)})
    with torch.no_grad():
        slots = model.encode_metadata(metadata_of(space)).slots[0]
    normed = torch.nn.functional.normalize(slots, dim=-1)
    cosines = normed @ normed.T - torch.eye(20)
    assert cosines.abs().max() < 0.3


def test_choices__each_parameter__has_vectors_for_its_choices_alone(
    tiny_checkpoint: Checkpoint, metadata_tensors: MetadataTensors, mixed_config: StudyConfig
) -> None:
    model = tiny_checkpoint.model
    inputs, outputs = model.binding.choices(metadata_tensors, model.encoder.pool(metadata_tensors))
    slot = mixed_config.space.names.index("optimizer")
    for vectors in (inputs, outputs):
        assert vectors.shape[:3] == (1, len(mixed_config.space), 2)
        real = (vectors != 0).any(-1)[0]
        assert real.nonzero().tolist() == [[slot, 0], [slot, 1]]
    assert not torch.equal(inputs, outputs)


def test_binding__unset_slots__leave_the_number_behind_them_out(
    tiny_checkpoint: Checkpoint, encoded_metadata: EncodedMetadata, trials: HistoryTensors
) -> None:
    binding, points = tiny_checkpoint.model.binding, trials.points
    kinds = points.kinds.clone()
    kinds[..., 0] = UNSET
    vectors = binding(encoded_metadata, PointTensors(points.values, kinds))
    junk = points.values.clone()
    junk[..., 0] = 0.77
    assert torch.equal(binding(encoded_metadata, PointTensors(junk, kinds)), vectors)
    assert (binding(encoded_metadata, points) - vectors).abs().amax(-1).min() > 1e-3
