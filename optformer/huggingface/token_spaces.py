"""Search spaces, recovered from the tokens of their metadata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optformer.data.studies.errors import TokenizationError
from optformer.model.encoded import EncodedMetadata
from optformer.model.network import OptFormerModel
from optformer.model.tensors import metadata_batch, to_device
from optformer.planning.space_transform import SpaceTransform
from optformer.tokenization import symbols as sym
from optformer.tokenization.binning import bin_center, quantize
from optformer.tokenization.history import ValueKind
from optformer.tokenization.legality import legal_values
from optformer.tokenization.metadata import encode_metadata, metadata_from_text
from optformer.tokenization.vocabulary import Vocabulary

NOT_FORCED = -1
"""Instead of the token of a parameter that is not fixed."""

_INACTIVE, _MISSING = sym.SYMBOL_IDS[sym.INACTIVE], sym.SYMBOL_IDS[sym.MISSING]
_PAD = sym.SYMBOL_IDS[sym.PAD]


class TokenSpace:
    """A search space, recovered from the tokens of its metadata.

    Attributes:
        encoding: The metadata, with the parameter and choice of each token.
        legal: Bins and choices of each slot, bool, (P, Q + max_choices).
        values: Number that each bin stands for in each slot, float32, (P, Q).
        forced: Token of each slot that the study fixes, NOT_FORCED for none, int64, (P,).
        readable: Tokens that may stand in each slot, bool, (P, V).

    Args:
        ids: Token ids of the metadata.
        vocabulary: The vocabulary of the ids.

    Raises:
        TokenizationError: The ids are not the metadata of a study.
    """

    def __init__(self, ids: Sequence[int], vocabulary: Vocabulary):
        config, algorithm = metadata_from_text(vocabulary.decode(ids))
        self.encoding = encode_metadata(config, vocabulary, algorithm=algorithm)
        if self.encoding.ids.tolist() != list(ids):
            raise TokenizationError(
                "the metadata is cut into other tokens than this vocabulary gives; encode the "
                "study with the tokenizer of the checkpoint"
            )
        self.legal = legal_values(config.space)
        self._space = SpaceTransform(config.space, {})
        self._conditional = any(parameter.when for parameter in config.space.values())
        parameters = len(config.space)
        centers = bin_center(np.arange(sym.NUM_BINS))
        self.values = np.stack(
            [centers if own is None else own.nearest(centers) for own in self._space.levels]
        ).astype(np.float32)
        self.forced = np.full(parameters, NOT_FORCED)
        for slot, value in SpaceTransform(config.space, config.fixed).fixed.items():
            if self._space.is_choice[slot]:
                self.forced[slot] = sym.CHOICES.start + int(value)
            else:
                self.forced[slot] = sym.BINS.start + quantize(value)
                self.values[slot, quantize(value)] = value
        self.readable = np.zeros((parameters, vocabulary.size), dtype=bool)
        self.readable[:, [_INACTIVE, _MISSING, _PAD]] = True
        self.readable[~self._space.is_choice, sym.BINS.start : sym.BINS.stop] = True
        self.readable[:, sym.CHOICES.start : sym.CHOICES.stop] = self.legal[:, sym.NUM_BINS :]

    def active(self, values: NDArray[np.float32], kinds: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which parameters take part, given those before them, (..., P)."""
        if not self._conditional:
            return np.ones(values.shape, dtype=bool)
        rows = values.reshape(-1, values.shape[-1]).astype(np.float64)
        legal = self._space.project(rows)
        # A parameter that depends on a missing value is inactive.
        legal[kinds.reshape(rows.shape) == ValueKind.MISSING] = np.nan
        return self._space.active(legal).reshape(values.shape)


@lru_cache(maxsize=256)
def _token_space(ids: tuple[int, ...], vocabulary: Vocabulary) -> TokenSpace:
    return TokenSpace(ids, vocabulary)


@dataclass(frozen=True)
class TokenSpaces:
    """S spaces with the same number of parameters, encoded by the model.

    Attributes:
        studies: Number of the study that each space belongs to, (S,).
        spaces: The spaces.
        metadata: Their metadata, encoded.
        values: Number of each bin, float32, (S, P, Q).
        forced: Fixed tokens, int64, (S, P).
        readable: Tokens that may stand in each slot, bool, (S, P, V).
    """

    studies: tuple[int, ...]
    spaces: tuple[TokenSpace, ...]
    metadata: EncodedMetadata
    values: Tensor
    forced: Tensor
    readable: Tensor

    @property
    def parameters(self) -> int:
        """Number of parameters P."""
        return self.values.shape[1]

    def members(self, study: Tensor) -> tuple[Tensor, Tensor]:
        """Which rows of trials have these spaces.

        Args:
            study: Number of the study each row belongs to, int64, (B,).

        Returns:
            The R rows, and the space of each, int64, each (R,).
        """
        belongs = study[:, None] == torch.tensor(self.studies, device=study.device)  # (B, S)
        rows = belongs.any(1).nonzero()[:, 0]
        return rows, belongs[rows].long().argmax(1)


def read_metadata(
    model: OptFormerModel, rows: Sequence[Sequence[int]], vocabulary: Vocabulary
) -> list[TokenSpaces]:
    """Read the metadata of several studies.

    Args:
        model: The network.
        rows: Token ids of each study's metadata, without padding.
        vocabulary: The vocabulary of the ids.

    Returns:
        The spaces, those with the same number of parameters together.

    Raises:
        TokenizationError: A row is not the metadata of a study.
    """
    spaces = [_token_space(tuple(row), vocabulary) for row in rows]
    device = model.tokens.star.device
    groups = []
    for parameters in sorted({len(space.forced) for space in spaces}):
        studies = tuple(i for i, space in enumerate(spaces) if len(space.forced) == parameters)
        group = tuple(spaces[i] for i in studies)
        metadata = metadata_batch([s.encoding for s in group], [s.legal for s in group])

        def stacked(name: str, group: tuple[TokenSpace, ...] = group) -> Tensor:
            arrays = [getattr(space, name) for space in group]
            return torch.from_numpy(np.stack(arrays)).to(device)

        groups.append(
            TokenSpaces(
                studies=studies,
                spaces=group,
                metadata=model.encode_metadata(to_device(metadata, device)),
                values=stacked("values"),
                forced=stacked("forced"),
                readable=stacked("readable"),
            )
        )
    return groups
