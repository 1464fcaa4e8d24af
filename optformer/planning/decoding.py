"""Draw trials from the model's policy, parameter by parameter, with the history encoded once.

A trial is written as tokens: a bin or a choice for each parameter that is active and not fixed. A
parameter costs one query over the encoded history. (Other ways to decode, such as beam search, are
those of the transformers model.)
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optformer.model.tensors import UNSET, points_batch
from optformer.planning.space_transform import Array, SpaceTransform
from optformer.planning.study_encoder import EncodedStudy
from optformer.tokenization.binning import quantize
from optformer.tokenization.history import Points, ValueKind
from optformer.tokenization.symbols import NUM_BINS

UNIFORM_SHARE = 0.1  # of each parameter's probability, in the prior of where the best lies


@torch.no_grad()
def draw_trials(
    study: EncodedStudy, space: SpaceTransform, count: int, generator: torch.Generator
) -> Array:
    """Draw independent trials from the policy; numbers are uniform inside the drawn bin.

    Args:
        study: The model, conditioned on the study's trials.
        space: Space of the study, with what is fixed.
        count: Number of trials N.
        generator: Source of randomness.

    Returns:
        Legal points, (N, P), as in `SpaceTransform`; some may be equal.
    """
    values = np.zeros((count, len(space.names)))
    kinds = np.full(values.shape, UNSET, dtype=np.int64)
    for slot in range(len(space.names)):
        active = space.active(values)[:, slot]
        rows = np.flatnonzero(active)
        if slot not in space.fixed and len(rows):
            token = _draw(_probabilities(study, values[rows], kinds[rows], slot), generator)
            inside = torch.rand(len(rows), generator=generator).double()
            number = (token + inside) / NUM_BINS
            choice = (token - NUM_BINS).double()
            values[rows, slot] = torch.where(token >= NUM_BINS, choice, number).numpy()
        values[:, slot] = np.where(active, space.project(values)[:, slot], 0.0)
        kind = ValueKind.CHOICE if space.is_choice[slot] else ValueKind.NUMBER
        kinds[:, slot] = np.where(active, kind, ValueKind.INACTIVE)
    return values


@torch.no_grad()
def log_prior(study: EncodedStudy, space: SpaceTransform, values: Array) -> Tensor:
    """How much likelier points are under the policy than under uniform draws, (N,).

    The logarithm of the ratio, a sum over the parameters that are active and not fixed. A share of
    `UNIFORM_SHARE` of each parameter's probability is spread evenly, so that no value is ruled out.

    Args:
        study: The model, conditioned on the study's trials.
        space: Space of the study, with what is fixed.
        values: Points, (N, P), as in `SpaceTransform`.
    """
    kinds = space.kinds(values)
    bins = torch.from_numpy(quantize(np.clip(values, 0.0, 1.0)))
    tokens = torch.where(
        torch.from_numpy(space.is_choice), NUM_BINS + torch.from_numpy(values).long(), bins
    )
    total = torch.zeros(len(values), dtype=torch.float64)
    for slot in range(len(space.names)):
        rows = np.flatnonzero(kinds[:, slot] != ValueKind.INACTIVE)
        if slot in space.fixed or not len(rows):
            continue
        known = np.arange(len(space.names)) < slot
        partial = np.where(known, values[rows], 0.0), np.where(known, kinds[rows], UNSET)
        probabilities = _probabilities(study, *partial, slot)
        legal = (probabilities > 0).sum(-1)
        found = probabilities.gather(1, tokens[rows, slot][:, None])[:, 0] * legal
        total[rows] += torch.log((1 - UNIFORM_SHARE) * found + UNIFORM_SHARE)
    return total.float()


def _probabilities(
    study: EncodedStudy, values: Array, kinds: NDArray[np.int64], slot: int
) -> Tensor:
    """Probabilities of the bins and choices of one parameter, float64, (N, Q + K)."""
    # Trials that are equal so far are one query; at the first parameter all are.
    _, first, same = np.unique(values[:, :slot], axis=0, return_index=True, return_inverse=True)
    points = points_batch(Points(values[first].astype(np.float32), kinds[first]))
    slots = torch.full((len(first),), slot)
    logits = study.model.value_logits(study.metadata, study.encoded, points, slots)[0]
    return logits.double().softmax(-1)[same.reshape(-1)]


def _draw(probabilities: Tensor, generator: torch.Generator) -> Tensor:
    """One token a row, (N,), where the cumulative probability passes a uniform number."""
    cumulative = probabilities.cumsum(-1)
    uniform = torch.rand(len(probabilities), 1, generator=generator, dtype=torch.float64)
    # Times the last sum, which need not be 1 exactly.
    return torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True)[:, 0]
