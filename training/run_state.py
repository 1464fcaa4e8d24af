"""The state a run resumes from: one file, replaced whole."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from optformer.data.runtime.files import write_atomically
from optformer.data.studies.errors import CheckpointError, ConfigError
from optformer.model.state_keys import rename
from optformer.tokenization.vocabulary import Vocabulary
from optformer.training.config import TrainingConfig

STATE = "state.pt"


def write_state(directory: Path, state: Mapping[str, Any]) -> None:
    """Write the state in place of the previous one.

    Raises:
        CheckpointError: It cannot be written; the previous state, if there is one, is whole.
    """
    try:
        for left in directory.glob(f".{STATE}.*"):
            left.unlink()  # by a process that was killed
        with write_atomically(directory / STATE) as fresh:
            torch.save(state, fresh)
    except (OSError, RuntimeError) as error:
        free = shutil.disk_usage(directory).free / 1e6
        raise CheckpointError(
            f"cannot write {directory / STATE}, {free:.0f} MB are free on its disk: {error}; "
            "what was written before is whole: make room, and resume"
        ) from error


def read_state(directory: Path, config: TrainingConfig, vocabulary: Vocabulary) -> dict[str, Any]:
    """Read the state of a run of this configuration, to the CPU.

    A setting that the state does not know, because it is older than the setting, had the default.

    Args:
        directory: The run's.
        config: What the run must have been started with.
        vocabulary: The vocabulary that the run must have been started with.

    Raises:
        CheckpointError: There is no state, or it belongs to another configuration or vocabulary.
    """
    path = directory / STATE
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        raise CheckpointError(
            f"cannot resume from {path}: it is missing or damaged ({type(error).__name__}); "
            "start again, with --weights from the folder's checkpoint if it has one"
        ) from error
    if not isinstance(state, dict) or "config" not in state:
        raise CheckpointError(f"cannot resume from {path}: it holds no state of a run")
    try:
        begun = TrainingConfig.from_dict(state["config"]).to_dict()
    except ConfigError as error:
        raise CheckpointError(
            f"{path} was written with a configuration that this release cannot read: {error}"
        ) from error
    changed = sorted(name for name, value in config.to_dict().items() if begun[name] != value)
    if changed:
        raise CheckpointError(f"{path} belongs to another configuration: {changed} differ")
    known = state.get("vocabulary_hash", vocabulary.hash)
    if known != vocabulary.hash:
        raise CheckpointError(
            f"vocabulary_hash of {path} is {known!r}, this run's vocabulary has "
            f"{vocabulary.hash!r}; resume with the vocabulary the run was started with"
        )
    if "format_version" not in state:  # written before weights were renamed
        state |= {part: rename(state[part]) for part in ("weights", "average")}
    return state
