"""Configuration of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from optformer.data.studies.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes of an `OptFormerModel`.

    Attributes:
        vocabulary_size: Number of tokens V the metadata encoder reads.
        num_bins: Bins Q of a number or metric.
        max_choices: Choices of a categorical parameter.
        max_parameters: Parameters of a space; also the number of slot vectors.
        width: Width D of the decoder.
        layers: Decoder layers.
        heads: Attention heads H of the decoder; divides `width`.
        feedforward: Hidden width of a gated feed-forward block.
        pool_width: Width of the product that binds values to parameters.
        encoder_width: Width of the metadata encoder.
        encoder_layers: Layers of the metadata encoder.
        encoder_heads: Attention heads of the metadata encoder; divides `encoder_width`.
        encoder_feedforward: Hidden width of its feed-forward blocks.
        study_vectors: Vectors that summarise the whole metadata.
        frequencies: Sine and cosine frequencies a number is embedded with.
        distance_buckets: Buckets of the relative distance between trials or tokens.
        max_distance: Distance from which all distances share the last bucket.
        trained_length: Longest history seen in training; longer ones are thinned.

    Raises:
        ConfigError: A size is not positive, or heads do not divide their width.
    """

    vocabulary_size: int
    num_bins: int = 1000
    max_choices: int = 256
    max_parameters: int = 64
    width: int = 192
    layers: int = 6
    heads: int = 6
    feedforward: int = 384
    pool_width: int = 512
    encoder_width: int = 96
    encoder_layers: int = 2
    encoder_heads: int = 4
    encoder_feedforward: int = 192
    study_vectors: int = 4
    frequencies: int = 32
    distance_buckets: int = 32
    max_distance: int = 128
    trained_length: int = 128

    def __post_init__(self) -> None:
        for field in fields(self):
            size = getattr(self, field.name)
            if not isinstance(size, int) or size < 1:
                raise ConfigError(f"{field.name} must be a whole number above 0, got {size!r}")
        for width, heads in (("width", "heads"), ("encoder_width", "encoder_heads")):
            if getattr(self, width) % getattr(self, heads):
                raise ConfigError(
                    f"{heads}={getattr(self, heads)} must divide {width}={getattr(self, width)}"
                )

    @property
    def number_features(self) -> int:
        """Features of an embedded number: itself, its square, sines and cosines."""
        return 2 + 2 * self.frequencies

    @property
    def least_weights(self) -> int:
        """A number of weights that a model of these sizes surely has; every size counts."""
        width, encoder, pool = self.width, self.encoder_width, self.pool_width
        return (
            self.layers * width * (4 * width + 3 * self.feedforward)
            + self.encoder_layers * encoder * (4 * encoder + 3 * self.encoder_feedforward)
            + self.vocabulary_size * encoder
            + (self.max_parameters + 2 * self.max_choices) * pool
            + (self.num_bins + self.number_features) * width
            + self.study_vectors * encoder
            + self.distance_buckets * self.heads
        )

    @classmethod
    def named(cls, size: str, vocabulary_size: int) -> ModelConfig:
        """A configuration by its name: `tiny`, `small` or `base`."""
        if size not in SIZES:
            raise ConfigError(f"unknown model size {size!r}; known are {sorted(SIZES)}")
        return cls(vocabulary_size=vocabulary_size, **SIZES[size])

    def to_dict(self) -> dict[str, int]:
        """All fields as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """Build a configuration from plain values, refusing unknown names."""
        unknown = values.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise ConfigError(f"unknown model setting {min(unknown)!r}")
        if "vocabulary_size" not in values:
            raise ConfigError("vocabulary_size is missing from the model's settings")
        return cls(**values)


SIZES: dict[str, dict[str, int]] = {
    "tiny": {
        "width": 32,
        "layers": 2,
        "heads": 2,
        "feedforward": 64,
        "pool_width": 64,
        "encoder_width": 16,
        "encoder_layers": 1,
        "encoder_heads": 2,
        "encoder_feedforward": 32,
    },
    "small": {},
    "base": {
        "width": 288,
        "layers": 8,
        "heads": 8,
        "feedforward": 576,
        "pool_width": 768,
        "encoder_width": 128,
        "encoder_feedforward": 256,
    },
}
