"""Metadata and histories as the model keeps them: encoded once, queried often.

Shapes use the letters of `optformer.model.tensors`; E is the width of the encoder, W of binding.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from torch import Tensor

from optformer.model.gp_mixture import GPMixture
from optformer.model.tensors import PointTensors


@dataclass(frozen=True)
class PooledMetadata:
    """Metadata tokens, pooled by what they describe.

    Attributes:
        parameters: Mean over the tokens of each parameter, (S, P, E).
        choices: Mean over the tokens of each choice, (S, C, E).
        study: Summary of all tokens, (S, study_vectors, E).
    """

    parameters: Tensor
    choices: Tensor
    study: Tensor


@dataclass(frozen=True)
class EncodedMetadata:
    """Encoded metadata of S spaces, for use by B studies.

    Attributes:
        tokens: Vectors the decoder attends to: parameters, choices, study; (B, M, D).
        mask: Which of them are real, bool, (B, M).
        slots: Slot vectors, (S, P, W).
        pooling: Maps the features of a point to its vector, (S, P * F, D).
        distance_weights: Weight of each parameter in each head's squared distance, (S, P, H).
        choices: Output vectors of the choices, zero where there is none, (S, P, K, W).
        legal: Bins and choices each slot may take, bool, (S, P, Q + max_choices).
    """

    tokens: Tensor
    mask: Tensor
    slots: Tensor
    pooling: Tensor
    distance_weights: Tensor
    choices: Tensor
    legal: Tensor

    @property
    def max_choices(self) -> int:
        """Largest number of choices K of a parameter in these spaces."""
        return self.choices.shape[2]

    @property
    def spaces(self) -> int:
        """Number of spaces S."""
        return self.slots.shape[0]

    def expand(self, studies: int) -> EncodedMetadata:
        """Repeat what is kept for each study, so that B studies share S spaces."""
        times = studies // self.spaces
        return replace(
            self,
            tokens=self.tokens.repeat_interleave(times, 0),
            mask=self.mask.repeat_interleave(times, 0),
        )

    def select(self, spaces: Tensor) -> EncodedMetadata:
        """The metadata of some spaces, by index, int64, (R,)."""
        chosen = {field.name: getattr(self, field.name)[spaces] for field in fields(self)}
        return EncodedMetadata(**chosen)

    def gather(self, table: Tensor, slot: Tensor, studies: int) -> Tensor:
        """Entries of N slots for B studies, from a table by space and slot.

        Args:
            table: `slots`, `choices` or `legal`, (S, P, ...).
            slot: The slots, int64, (N,).
            studies: Number of studies B.

        Returns:
            Entries, (B, N, ...).
        """
        return table[:, slot].repeat_interleave(studies // self.spaces, 0)


@dataclass(frozen=True)
class KVCache:
    """Keys and values of the decoder's layers.

    Attributes:
        points: Points of the T trials.
        keys: Keys of metadata and metric tokens, one (B, H, M + T, D / H) a layer.
        values: Values of metadata and metric tokens, shaped as the keys.
    """

    points: PointTensors
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    @property
    def length(self) -> int:
        """Number of trials T."""
        return self.points.values.shape[1]


@dataclass(frozen=True)
class EncodedHistory:
    """An encoded history of T trials.

    Attributes:
        cache: Keys and values of the decoder's layers.
        gp: Gaussian processes fitted to the trials that see each other both ways.
    """

    cache: KVCache
    gp: GPMixture

    @property
    def length(self) -> int:
        """Number of trials T."""
        return self.cache.length
