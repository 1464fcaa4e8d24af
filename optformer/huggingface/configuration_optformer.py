"""The configuration of a checkpoint, as transformers keeps one."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig

from optformer.data.studies.errors import CheckpointError
from optformer.model.checkpoint import FORMAT_VERSION

READABLE_FORMATS = (3, 4)
"""Formats whose weights differ in their names alone."""


class OptFormerConfig(PretrainedConfig):  # type: ignore[no-untyped-call]
    """The content of a checkpoint's `config.json`.

    Args:
        format_version: Format of the checkpoint; what is written has the newest.
        vocabulary_hash: Hash of the vocabulary it was trained with.
        architecture: Sizes, as `ModelConfig.to_dict` gives them.
        settings: Settings of `PretrainedConfig`.

    Raises:
        CheckpointError: The format is none that this class reads.
    """

    model_type = "optformer"

    def __init__(
        self,
        format_version: int = FORMAT_VERSION,
        vocabulary_hash: str = "",
        architecture: dict[str, int] | None = None,
        **settings: Any,
    ):
        if format_version not in READABLE_FORMATS:
            raise CheckpointError(
                f"the checkpoint has format {format_version!r}, this class reads "
                f"{READABLE_FORMATS}; write an older one anew with load_checkpoint and "
                "save_checkpoint"
            )
        self.format_version = FORMAT_VERSION
        self.vocabulary_hash = vocabulary_hash
        self.architecture = dict(architecture or {})
        # Numbers are embedded in single precision, so the weights are loaded so by default.
        super().__init__(**{"is_encoder_decoder": True, "dtype": "float32", **settings})

    @property
    def vocab_size(self) -> int:
        """Number of tokens V, by the name that transformers asks for."""
        return self.architecture["vocabulary_size"]
