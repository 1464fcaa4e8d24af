"""The binding of values to their parameters, and the pooling of a point.

A value's vector is multiplied by its parameter's slot vector; a point is the sum over its
parameters. All of it is linear in the features of the values, so that it folds into one matrix a
space.

Shapes use the letters of `optformer.model.tensors`; E is the encoder's width, W that of the binding
and F the number of a value's features.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from optformer.model.config import ModelConfig
from optformer.model.encoded import EncodedMetadata, PooledMetadata
from optformer.model.layers import NumberFeatures, ZeroLinear
from optformer.model.tensors import UNSET, MetadataTensors, PointTensors
from optformer.tokenization.history import ValueKind

_WIDE = 128  # choices of a parameter, from which on their vectors are looked up


class ValueBinding(nn.Module):
    """Binds values to parameters by a product, and pools the values of a point.

    Args:
        config: Sizes of the model.
        numbers: Features of a number.
    """

    def __init__(self, config: ModelConfig, numbers: NumberFeatures):
        super().__init__()
        encoder, width = config.encoder_width, config.pool_width
        self.numbers = numbers
        self.slot_embedding = nn.Embedding(config.max_parameters, width)
        self.slot_metadata = ZeroLinear(encoder, width)
        self.slot_meaning = ZeroLinear(encoder, width)
        self.slot_study = ZeroLinear(config.study_vectors * encoder, width)
        self.number_projection = nn.Linear(config.number_features, width, bias=False)
        self.choice_embedding = nn.Embedding(config.max_choices, width)
        self.choice_output = nn.Embedding(config.max_choices, width)
        self.choice_metadata = ZeroLinear(encoder, width)
        self.absent_embedding = nn.Embedding(2, width)  # inactive, missing
        self.projection = nn.Linear(width, config.width, bias=False)
        self.norm = nn.RMSNorm(config.width, eps=1e-6)

    def slots(self, index: Tensor, pooled: PooledMetadata) -> Tensor:
        """Slot vectors: which parameter it is, and what it means in such a study.

        What a parameter means is the same in every slot, so that a value can be judged by it.

        Args:
            index: Slot of each parameter, int64, (S, P).
            pooled: The metadata.

        Returns:
            Vectors, (S, P, W).
        """
        own = self.slot_embedding(index) * (1 + torch.tanh(self.slot_metadata(pooled.parameters)))
        context = 1 + self.slot_study(pooled.study.flatten(1))[:, None]  # (S, 1, W)
        vectors: Tensor = own + self.slot_meaning(pooled.parameters) * context
        return vectors

    def choices(self, metadata: MetadataTensors, pooled: PooledMetadata) -> tuple[Tensor, Tensor]:
        """Vectors of choices: as values of a point, and as values to predict.

        Returns:
            Input and output vectors by parameter and index, zero where there is no choice; each
            (S, P, K, W).
        """
        owner, index = metadata.choice_parameter, metadata.choice_index
        spaces, parameters = metadata.slots.shape
        real = owner >= 0  # (S, C)
        space, choice = real.nonzero(as_tuple=True)
        described = self.choice_metadata(pooled.choices)

        def grid(table: nn.Embedding) -> Tensor:
            vectors = table(index) + described
            empty = vectors.new_zeros(spaces, parameters, metadata.max_choices, vectors.shape[-1])
            where = space, owner[real], index[real]
            filled: Tensor = empty.index_put(where, vectors[space, choice])
            return filled

        return grid(self.choice_embedding), grid(self.choice_output)

    def pooling(self, slots: Tensor, choices: Tensor) -> Tensor:
        """Everything linear between a point's features and its vector, in one matrix a space.

        Args:
            slots: Slot vectors, (S, P, W).
            choices: Input vectors of the choices, (S, P, K, W).

        Returns:
            Matrices, (S, P * F, D).
        """
        spaces, parameters, _ = slots.shape
        shared = torch.cat([self.number_projection.weight.T, self.absent_embedding.weight])
        shared = shared.expand(spaces, parameters, -1, -1)
        bound = torch.cat([shared.to(choices.dtype), choices], 2) * slots[:, :, None, :]
        matrices: Tensor = self.projection(bound) / math.sqrt(parameters)  # (S, P, F, D)
        return matrices.flatten(1, 2)

    def features(self, points: PointTensors, max_choices: int) -> Tensor:
        """Features of each value: of a number, whether it is absent, which choice; (B, N, P, F)."""
        values, kinds = points.values, points.kinds
        absent = torch.stack([kinds == ValueKind.INACTIVE, kinds == ValueKind.MISSING], -1)
        parts = [self.numbers(values) * (kinds == ValueKind.NUMBER)[..., None], absent.float()]
        if max_choices:
            index = torch.arange(max_choices, device=values.device)
            chosen = values.long()[..., None] == index
            parts.append((chosen & (kinds == ValueKind.CHOICE)[..., None]).float())
        return torch.cat(parts, -1)

    def forward(self, metadata: EncodedMetadata, points: PointTensors) -> Tensor:
        """Vector of each point, (B, N, D)."""
        studies, count, _ = points.values.shape
        pool = self._pooled if metadata.max_choices <= _WIDE else self._looked_up
        pooled = pool(metadata, points)
        normed: Tensor = self.norm(pooled.reshape(studies, count, pooled.shape[-1]))
        return normed

    def _pooled(self, metadata: EncodedMetadata, points: PointTensors) -> Tensor:
        """Sum over the values of each point, by a product with all their features."""
        features = self.features(points, metadata.max_choices).flatten(-2)  # (B, N, P * F)
        by_space = features.reshape(metadata.spaces, -1, features.shape[-1])
        return torch.bmm(by_space.to(metadata.pooling.dtype), metadata.pooling)

    def _looked_up(self, metadata: EncodedMetadata, points: PointTensors) -> Tensor:
        """The same sum, for parameters of so many choices that most features are zero."""
        spaces, parameters = metadata.spaces, points.values.shape[-1]
        values, kinds = (
            told.reshape(spaces, -1, parameters) for told in (points.values, points.kinds)
        )
        matrices = metadata.pooling.reshape(spaces, parameters, -1, metadata.pooling.shape[-1])
        chosen = kinds == ValueKind.CHOICE
        first = matrices.shape[2] - metadata.max_choices  # of the features of a choice
        row = torch.arange(spaces * parameters, device=values.device).view(spaces, 1, parameters)
        row = row * matrices.shape[2] + torch.where(chosen, first + values.long(), 0)
        pooled = F.embedding_bag(
            row.flatten(0, 1),
            matrices.flatten(0, 2),
            mode="sum",
            per_sample_weights=chosen.flatten(0, 1).to(matrices.dtype),
        ).view(spaces, -1, matrices.shape[-1])
        others = (kinds < UNSET) & ~chosen
        if len(slots := others.flatten(0, 1).any(0).nonzero()[:, 0]):
            rest = PointTensors(values[..., slots], kinds[..., slots])
            features = self.features(rest, 0).flatten(-2).to(matrices.dtype)
            pooled = pooled + torch.bmm(features, matrices[:, slots, :first].flatten(1, 2))
        return pooled
