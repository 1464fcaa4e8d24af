"""One study as the pieces of the model get it."""

from __future__ import annotations

import pytest
import torch

from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.model.checkpoint import Checkpoint
from optformer.model.encoded import EncodedMetadata
from optformer.model.tensors import HistoryTensors, MetadataTensors, history_batch, metadata_batch
from optformer.tokenization.history import encode_history, objective_values
from optformer.tokenization.legality import legal_values
from optformer.tokenization.metadata import encode_metadata
from optformer.tokenization.objective_scale import fit_scale


@pytest.fixture(scope="session")
def metadata_tensors(tiny_checkpoint: Checkpoint, mixed_config: StudyConfig) -> MetadataTensors:
    """The metadata of one space, with numbers and choices."""
    encoding = encode_metadata(mixed_config, tiny_checkpoint.vocabulary)
    return metadata_batch([encoding], [legal_values(mixed_config.space)])


@pytest.fixture(scope="session")
def encoded_metadata(
    tiny_checkpoint: Checkpoint, metadata_tensors: MetadataTensors
) -> EncodedMetadata:
    """The metadata of the space, encoded."""
    return tiny_checkpoint.model.encode_metadata(metadata_tensors)


@pytest.fixture(scope="session")
def trials(mixed_config: StudyConfig, mixed_trials: list[Trial]) -> HistoryTensors:
    """Four trials in the space: two measured, one failed, one pending."""
    values, observed = objective_values(mixed_config, mixed_trials)
    scale = fit_scale(torch.from_numpy(values), torch.from_numpy(observed))
    return history_batch(encode_history(mixed_config, mixed_trials, scale))
