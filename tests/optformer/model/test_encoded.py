"""Encoded metadata, shared by several studies."""

from __future__ import annotations

from dataclasses import fields

import torch

from optformer.model.checkpoint import Checkpoint
from optformer.model.encoded import EncodedMetadata
from optformer.model.tensors import MetadataTensors, to_device


def two_spaces(tensors: MetadataTensors, checkpoint: Checkpoint) -> EncodedMetadata:
    """The same space with two choices of slot vectors."""
    doubled = {f.name: torch.cat([getattr(tensors, f.name)] * 2) for f in fields(tensors)}
    doubled["slots"][1] += 7
    return checkpoint.model.encode_metadata(to_device(MetadataTensors(**doubled), "cpu"))


def test_expand__three_studies_a_space__stand_together(
    tiny_checkpoint: Checkpoint, metadata_tensors: MetadataTensors
) -> None:
    metadata = two_spaces(metadata_tensors, tiny_checkpoint)
    expanded = metadata.expand(6)
    assert expanded.spaces == 2
    for study in range(6):
        assert torch.equal(expanded.tokens[study], metadata.tokens[study // 3])
    assert not torch.equal(expanded.tokens[2], expanded.tokens[3])


def test_gather__slots_of_studies__are_those_of_their_spaces(
    tiny_checkpoint: Checkpoint, metadata_tensors: MetadataTensors
) -> None:
    metadata = two_spaces(metadata_tensors, tiny_checkpoint)
    found = metadata.gather(metadata.slots, torch.tensor([4, 0, 4]), 4)
    for study in range(4):
        for n, slot in enumerate((4, 0, 4)):
            assert torch.equal(found[study, n], metadata.slots[study // 2, slot])


def test_select__spaces_in_another_order__are_the_same_spaces(
    tiny_checkpoint: Checkpoint, metadata_tensors: MetadataTensors
) -> None:
    metadata = two_spaces(metadata_tensors, tiny_checkpoint)
    chosen = metadata.select(torch.tensor([1, 0, 1]))
    assert chosen.spaces == 3
    for field in fields(metadata):
        before, after = getattr(metadata, field.name), getattr(chosen, field.name)
        assert torch.equal(after, before[[1, 0, 1]]), field.name
