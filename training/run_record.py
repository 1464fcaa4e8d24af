"""The record of a run, which lies beside its weights: how they were made, and from what."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from optformer._version import __version__
from optformer.model.checkpoint import RUN_CHECKPOINT_DIR, SHIPPED
from optformer.training.config import TrainingConfig
from optformer.training.mixtures.tables import describe_table

_RUN = ("date", "device", "from", "data", "config", "steps", "trials", "seconds")


def record_run(
    config: TrainingConfig,
    *,
    methods: Sequence[str],
    device: torch.device,
    vocabulary_hash: str,
    parameters: int,
    progress: Mapping[str, float],
    earlier: Sequence[Mapping[str, Any]],
    start: str | None,
) -> dict[str, Any]:
    """What a reader of the weights needs to know, as plain values.

    Args:
        config: The run.
        methods: Search methods that the policy learns from.
        device: Where it trains.
        vocabulary_hash: Vocabulary of the metadata.
        parameters: Number of the model's weights.
        progress: `steps`, `trials` and `seconds` so far.
        earlier: Runs behind the weights that this one started from, see `past_runs`.
        start: Name of those weights; None for random ones.
    """
    return {
        "optformer_version": __version__,
        "torch_version": torch.__version__,
        "python_version": platform.python_version(),
        "device": str(device),
        "date": datetime.now(UTC).date().isoformat(),
        "vocabulary_hash": vocabulary_hash,
        "parameters": parameters,
        "data": {
            "synthetic prior": "drawn on the fly, see optformer.data.corpora.synthetic",
            "tables": [describe_table(table) for table in config.tables],
            "histories": [source.path for source in config.histories],
            "methods": list(methods),
            "tasks": [f"logs/{Path(table.path).stem}*" for table in config.tables],
        },
        **({"from": start} if start else {}),
        **({"earlier": list(earlier)} if earlier else {}),
        "config": config.to_dict(),
        **progress,
    }


def checkpoint_name(checkpoint: str | Path) -> str:
    """A checkpoint in a word or two: the folder of its run."""
    path = Path(checkpoint).resolve()
    if path == SHIPPED.resolve():
        return "the shipped weights"
    return path.parent.name if path.name == RUN_CHECKPOINT_DIR else path.name


def past_runs(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The runs behind a checkpoint's weights, the first one first.

    Each has its `date`, `device`, `data`, `config`, `steps`, `trials` and `seconds`, and `from`,
    the weights that it started from, as far as its release recorded them.
    """
    last = {key: record[key] for key in _RUN if key in record}
    return [*map(dict, record.get("earlier", ())), last]
