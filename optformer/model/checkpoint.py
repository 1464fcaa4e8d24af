"""Checkpoints: a directory with weights, configuration, vocabulary and the record of the run."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from optformer.data.runtime.bounded_files import read_json
from optformer.data.runtime.threads import one_torch_thread
from optformer.data.studies.errors import CheckpointError, ConfigError
from optformer.model.config import ModelConfig
from optformer.model.network import OptFormerModel
from optformer.model.state_keys import rename
from optformer.tokenization.vocabulary import Vocabulary

FORMAT_VERSION = 4
"""Format 1 has no weights for Gaussian processes, format 2 none for what a parameter means in any
slot, format 3 other names for the same weights. This release loads them all."""

WEIGHTS_ADDED_IN = {
    2: ("tokens.gp_trial.weight", "tokens.gp_query.weight", "metric_head.gp_gate.weight"),
    3: ("binding.slot_meaning.weight", "binding.slot_study.weight"),
}
"""Weights that came with a format; at zero they leave the predictions of an older model alone."""

RENAMED_IN = 4
"""The first format whose weights have the names of today's modules."""

SHIPPED = Path(__file__).parents[1] / "checkpoints" / "small"

WEIGHTS, CONFIG, RUN, CARD = "model.safetensors", "config.json", "run.json", "README.md"

JSON_BYTES = 16_000_000
"""Most bytes of a JSON file in a checkpoint; those of the shipped one have 54 thousand."""

RUN_CHECKPOINT_DIR = "checkpoint"
"""Name of a training run's checkpoint in the run's directory."""


@dataclass(frozen=True)
class Checkpoint:
    """A model with everything needed to use it.

    Attributes:
        model: The network, in evaluation mode.
        vocabulary: What its ids mean.
        run: The record of its training: configuration, versions, data, measurements.
    """

    model: OptFormerModel
    vocabulary: Vocabulary
    run: Mapping[str, Any]


def load_checkpoint(path: str | Path | None = None) -> Checkpoint:
    """Load a checkpoint directory, or the shipped one when no path is given.

    Args:
        path: The checkpoint, or the directory of the training run that it came from.

    Raises:
        CheckpointError: A file is missing or unreadable, the format or architecture is unknown, or
            the weights were trained with another vocabulary.
    """
    directory = (Path(path) if path is not None else SHIPPED).resolve()
    if not directory.is_dir():
        raise CheckpointError(
            f"no checkpoint at {directory}: expected a directory with {WEIGHTS}, {CONFIG}, "
            f"{RUN} and the vocabulary"
        )
    if (directory / RUN_CHECKPOINT_DIR).is_dir():
        directory = directory / RUN_CHECKPOINT_DIR
    files = [file for file in sorted(directory.iterdir()) if file.exists()]  # a link may dangle
    stamps = ((file.name, file.stat().st_mtime_ns) for file in files)
    with one_torch_thread():
        return _load(directory, tuple(stamps))


@lru_cache(maxsize=4)
def _load(directory: Path, stamps: tuple[tuple[str, int], ...]) -> Checkpoint:
    del stamps  # only so that a checkpoint which was replaced is read again
    described = _read_json(directory / CONFIG)
    run = _read_json(directory / RUN)
    version = described.get("format_version")
    if (
        not isinstance(version, int)
        or not 1 <= version <= FORMAT_VERSION
        or described.get("model_type") != "optformer"
    ):
        raise CheckpointError(
            f"{directory / CONFIG} describes {described.get('model_type')!r} in format "
            f"{version!r}; this release reads 'optformer' in formats 1 to {FORMAT_VERSION}"
        )
    vocabulary = Vocabulary.load(directory)
    if vocabulary.hash != described.get("vocabulary_hash"):
        raise CheckpointError(
            f"{directory}: the weights were trained with vocabulary "
            f"{described.get('vocabulary_hash')!r}, but the directory holds {vocabulary.hash!r}; "
            "restore the vocabulary files the checkpoint was saved with"
        )
    architecture = described.get("architecture")
    if not isinstance(architecture, dict):
        raise CheckpointError(f"{directory / CONFIG} has no mapping 'architecture'")
    try:
        config = ModelConfig.from_dict(architecture)
    except ConfigError as error:
        raise CheckpointError(f"{directory / CONFIG}: unknown architecture: {error}") from error
    try:
        if not (directory / WEIGHTS).is_file():  # a pipe would wait for ever
            raise OSError("it is missing, or no regular file")
        stored = load_file(directory / WEIGHTS)
        _check_weights(stored, config)
        # The weights that a new model draws are replaced: nobody's random numbers go into them.
        with torch.random.fork_rng(devices=[]):
            model = OptFormerModel(config)
        weights = upgrade(stored, version, model)
        model.load_state_dict({name: weight.float() for name, weight in weights.items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise CheckpointError(f"{directory / WEIGHTS} cannot be read: {error}") from error
    return Checkpoint(model.eval().requires_grad_(False), vocabulary, run)


def _check_weights(weights: Mapping[str, Tensor], config: ModelConfig) -> None:
    """Refuse weights that are no finite floats, and too few for the architecture.

    Raises:
        SafetensorError: What is wrong.
    """
    for name, weight in weights.items():
        if not weight.is_floating_point():
            raise SafetensorError(f"weight {name} must be of floats, got {weight.dtype}")
        if not weight.isfinite().all():
            raise SafetensorError(f"weight {name} must be finite, but some of it is not")
    # Before a model is built, which takes memory as the configuration says.
    held, needed = sum(weight.numel() for weight in weights.values()), config.least_weights
    if held < needed:
        raise SafetensorError(f"the architecture has at least {needed} weights, got {held}")


def save_checkpoint(
    directory: str | Path,
    model: OptFormerModel,
    vocabulary: Vocabulary,
    run: Mapping[str, Any],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a checkpoint: to a temporary directory beside the target first, then renamed.

    Args:
        directory: Where it goes; an older checkpoint there is replaced whole.
        model: The network.
        vocabulary: The vocabulary it was trained with.
        run: The record of its training.
        dtype: Type the weights are stored in.

    Raises:
        CheckpointError: The directory cannot be written; what was there stays.
    """
    target = Path(directory)
    weights: dict[str, Tensor] = {
        name: weight.detach().to("cpu", dtype).contiguous()
        for name, weight in model.state_dict().items()
    }
    described = {
        "format_version": FORMAT_VERSION,
        "model_type": "optformer",
        "vocabulary_hash": vocabulary.hash,
        "architecture": model.config.to_dict(),
    }
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for left in target.parent.glob(f".saving-{target.name}-*"):
            shutil.rmtree(left)  # by a process that was killed
        prefix = f".saving-{target.name}-"
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=prefix) as scratch:
            fresh = Path(scratch) / "checkpoint"
            fresh.mkdir()
            save_file(weights, fresh / WEIGHTS)
            (fresh / CONFIG).write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
            (fresh / RUN).write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
            # Written for the owner only; as readable as the rest.
            shutil.copymode(fresh / CONFIG, fresh / WEIGHTS)
            vocabulary.save(fresh)
            replaced = Path(scratch) / "replaced"
            if target.exists():
                os.rename(target, replaced)
            try:
                os.rename(fresh, target)
            except OSError:
                if replaced.exists():
                    os.rename(replaced, target)
                raise
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot write the checkpoint {target}: {error}") from error


def upgrade(
    weights: Mapping[str, Tensor], version: int, model: OptFormerModel
) -> dict[str, Tensor]:
    """Turn the weights of any format into those of this one.

    Args:
        weights: The weights of a checkpoint, by name.
        version: The checkpoint's format.
        model: A model of the same sizes, which gives the shapes of weights that came later.

    Returns:
        Weights by today's names; zeros for those that came later.

    Raises:
        CheckpointError: There are weights that came with a later format.
    """
    named = rename(weights) if version < RENAMED_IN else dict(weights)
    state = model.state_dict()
    later = [name for first, names in WEIGHTS_ADDED_IN.items() if version < first for name in names]
    if early := sorted(named.keys() & set(later)):
        raise CheckpointError(f"format {version} has no weight {early[0]}: it is of a later format")
    return named | {name: torch.zeros_like(state[name]) for name in later}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path, limit=JSON_BYTES)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} must hold a JSON object")
    return content
