"""Prefixes, scales and queries of a batch, shared by synthetic and recorded studies.

The prefix is given, and the objective's scale is fitted to it; the trials after it are queried.
Letters as in `optformer.model.tensors`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from optformer.tokenization.history import MetricKind
from optformer.tokenization.objective_scale import ObjectiveScale, fit_scale
from optformer.tokenization.symbols import MAX_PARAMETERS, NUM_BINS
from optformer.training.mixtures.batch import IGNORED

MIDDLE = 0.625  # of the prefixes that are not very short, 16 to 56 trials


def draw_prefix(longest: int, short: float, rng: np.random.Generator) -> int:
    """A share of the prefixes is very short; most others are 16 to 56, the rest of any length."""
    kind = rng.random()
    if kind < short:
        return int(rng.integers(0, min(5, longest) + 1))
    if kind < short + MIDDLE * (1 - short):
        return int(rng.integers(min(16, longest), min(56, longest) + 1))
    return int(rng.integers(min(3, longest), longest + 1))


def draw_pending(
    kinds: Tensor, prefix: int, rng: np.random.Generator, generator: torch.Generator
) -> Tensor:
    """The kinds, (B, T), with some of the last and a few random trials turned pending."""
    studies, length = kinds.shape
    draw = torch.rand(studies, length, generator=generator, device=kinds.device)
    number = torch.arange(length, device=kinds.device)
    pending = torch.zeros_like(draw, dtype=torch.bool)
    if rng.random() < 0.3:
        last = int(rng.integers(1, 17))
        pending |= (number >= prefix - last) & (number < prefix) & (number > 0)
    if rng.random() < 0.2:
        pending |= draw < 0.05
    # After the prefix: whole studies either know the results, or wait for all of them.
    waiting = torch.rand(studies, 1, generator=generator, device=kinds.device) < 0.5
    pending |= waiting & (number >= prefix)
    return torch.where(pending, int(MetricKind.PENDING), kinds)


def draw_scale(
    gain: Tensor, kinds: Tensor, prefix: int, generator: torch.Generator
) -> ObjectiveScale:
    """The scale of the prefix, jittered; random where it says nothing about the spread."""
    studies = gain.shape[0]

    def normal() -> Tensor:
        return torch.randn(studies, 1, generator=generator, device=gain.device)

    measured = kinds[:, :prefix] == MetricKind.VALUE
    scale = fit_scale(gain[:, :prefix].nan_to_num(), measured, torch.exp(0.7 * normal()))
    anchor = torch.where(measured.any(-1, keepdim=True), 0.02, 0.15)
    return ObjectiveScale(
        scale.median,
        scale.spread,
        scale.slope * torch.exp(0.05 * normal()),
        scale.offset + anchor * normal(),
    )


def observed_y(scale: ObjectiveScale, gain: Tensor, kinds: Tensor) -> Tensor:
    """Scaled values of the trials that a history shows with one, else 0, float32, (B, T)."""
    unit = scale.to_unit(gain.nan_to_num()).float()
    return torch.where(kinds == MetricKind.VALUE, unit, torch.zeros_like(unit))


def metric_targets(scale: ObjectiveScale, gain: Tensor) -> Tensor:
    """Bin of each gain, or Q where it failed, (B, N)."""
    return torch.where(gain.isnan(), NUM_BINS, gain_bins(scale, gain.nan_to_num()))


def gain_bins(scale: ObjectiveScale, gain: Tensor) -> Tensor:
    """Bins of gains, int64; the end bins take what lies beyond."""
    return (scale.to_unit(gain) * NUM_BINS).long().clamp(max=NUM_BINS - 1)


def draw_positions(prefix: int, length: int, probes: int, rng: np.random.Generator) -> Tensor:
    """Number of trials that each metric query sees: probes, then the trials after the prefix."""
    position = torch.from_numpy(np.sort(rng.integers(prefix, length + 1, probes)))
    # Half of the probes are queried right after the prefix.
    position[rng.random(len(position)) < 0.5] = prefix
    # The trials after the prefix are queried as well: points that a method has selected.
    return torch.cat([position, torch.arange(prefix, length)])


def draw_value_queries(
    prefix: int, length: int, parameters: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Trial and parameter of each value query: all of one or two trials after the prefix."""
    trials = prefix + rng.permutation(length - prefix)[: max(1, 8 // max(parameters, 1))]
    trials = np.sort(trials[:2])
    slots = torch.arange(parameters).repeat(len(trials))
    return torch.from_numpy(np.repeat(trials, parameters)), slots


def draw_optimum_positions(
    prefix: int, length: int, count: int, rng: np.random.Generator
) -> Tensor:
    """Number of trials that each query for the optimum sees: the prefix, or some after it."""
    position = np.sort(rng.integers(prefix, length + 1, count))
    position[rng.random(count) < 0.7] = prefix
    return torch.from_numpy(np.sort(position))


def draw_slots(
    spaces: int, parameters: int, share: float, rng: np.random.Generator
) -> np.ndarray | None:
    """Random slot vectors in a share of the batches, (S, P), so that all are trained."""
    if rng.random() >= share:
        return None
    return np.stack([np.sort(rng.permutation(MAX_PARAMETERS)[:parameters]) for _ in range(spaces)])


def ignore_illegal(target: Tensor, legal: Tensor, slots: Tensor) -> Tensor:
    """Drop the targets that have no token: a number between two logarithmic integers."""
    studies = target.shape[0] // legal.shape[0]
    mask = legal.to(target.device)[:, slots].repeat_interleave(studies, 0)  # (B, N, Q + K)
    possible = torch.gather(mask, -1, target.clamp(min=0)[..., None])[..., 0]
    return target.masked_fill(~possible, IGNORED)
