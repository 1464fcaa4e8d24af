"""Generate trials with the model's policy, parameter by parameter, the history encoded once.

A trial is written as tokens: a bin or a choice for each parameter that is active and not fixed. A
parameter costs one query over the cached history. Fixed and inactive parameters are not asked for
and add nothing to a trial's log-probability.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optformer.data.studies.errors import ConfigError
from optformer.model.tensors import UNSET, points_batch
from optformer.planning.space_transform import Array, SpaceTransform
from optformer.planning.study_encoder import EncodedStudy
from optformer.tokenization.history import Points, ValueKind
from optformer.tokenization.symbols import NUM_BINS

Method = Literal["sample", "nucleus", "beam", "greedy"]


def generate_trials(
    study: EncodedStudy,
    space: SpaceTransform,
    *,
    count: int,
    method: Method,
    temperature: float = 1.0,
    top_p: float = 0.9,
    beams: int = 4,
    generator: torch.Generator,
) -> list[tuple[Array, float]]:
    """Generate whole trials.

    Args:
        study: The model with the study's history.
        space: Its space, with what is fixed.
        count: How many trials.
        method: "sample" draws from the policy, "nucleus" from its likeliest tokens only (Holtzman
            et al. 2020); drawn trials are independent and may repeat. "beam" gives the best trials
            that a beam search finds, best first, and "greedy" the likeliest token of each
            parameter.
        temperature: Divides the logits of drawn tokens, above 0.
        top_p: Probability that the tokens "nucleus" draws from sum up to, in (0, 1].
        beams: Partial trials that "beam" keeps, at least `count`.
        generator: Source of randomness; "beam" and "greedy" take nothing from it.

    Returns:
        Values of each trial, (P,), as in `SpaceTransform`, with the log-probability of its tokens
        under the policy itself: temperature 1, nothing left out. A beam search in a small space may
        give fewer than `count`.

    Raises:
        ConfigError: The method is unknown, or a number is out of range.
    """
    if method not in get_args(Method):
        raise ConfigError(f"unknown method {method!r}; known are {sorted(get_args(Method))}")
    if count < 1:
        raise ConfigError(f"count must be at least 1, got {count}")
    if method == "greedy" and count > 1:
        raise ConfigError(f"'greedy' gives one trial, got count {count}; use 'beam' for several")
    if method == "beam" and beams < count:
        raise ConfigError(f"beams must be at least count={count}, got {beams}")
    if method in ("sample", "nucleus"):
        share = top_p if method == "nucleus" else 1.0
        values, scores = draw_trials(
            study, space, count, generator, temperature=temperature, top_p=share
        )
    else:
        values, scores = search_trials(study, space, beams if method == "beam" else 1)
    return list(zip(values[:count], scores[:count].tolist(), strict=True))


@torch.no_grad()
def draw_trials(
    study: EncodedStudy,
    space: SpaceTransform,
    count: int,
    generator: torch.Generator,
    *,
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> tuple[Array, Array]:
    """Draw trials from the policy; numbers are uniform inside the drawn bin.

    Args:
        study: The model with the study's history.
        space: Its space, with what is fixed.
        count: How many trials N.
        generator: Source of randomness.
        temperature: Divides the logits, above 0.
        top_p: Probability that the likeliest tokens, which are drawn from, sum up to, in (0, 1].

    Returns:
        Values (N, P) and log-probabilities (N,).

    Raises:
        ConfigError: The temperature or `top_p` is out of range.
    """
    if not temperature > 0:
        raise ConfigError(f"temperature must be above 0, got {temperature}")
    if not 0 < top_p <= 1:
        raise ConfigError(f"top_p must be in (0, 1], got {top_p}")
    values, kinds, scores = _empty(space, count)
    for slot in range(len(space.names)):
        active = space.active(values)[:, slot]
        rows = np.flatnonzero(active)
        if slot not in space.fixed and len(rows):
            logs = _log_chances(study, values[rows], kinds[rows], slot)
            chances = _likeliest((logs / temperature).softmax(-1), top_p)
            token = _draw(chances, generator)
            inside = torch.rand(len(rows), generator=generator).double()
            values[rows, slot] = _numbers(token[:, 0], inside)
            scores[rows] += logs.gather(1, token)[:, 0].numpy()
        _settle(space, values, kinds, slot, active)
    return values, scores


@torch.no_grad()
def search_trials(study: EncodedStudy, space: SpaceTransform, beams: int) -> tuple[Array, Array]:
    """Find likely trials by beam search; numbers are the legal ones nearest to the bins' centres.

    Args:
        study: The model with the study's history.
        space: Its space, with what is fixed.
        beams: Partial trials kept at each parameter; all of them make the search exhaustive.

    Returns:
        Values (N, P) and log-probabilities (N,) of at most `beams` different trials, best first.

    Raises:
        ConfigError: There is no beam.
    """
    if beams < 1:
        raise ConfigError(f"beams must be at least 1, got {beams}")
    values, kinds, scores = _empty(space, 1)
    for slot in range(len(space.names)):
        active = space.active(values)[:, slot]
        rows = np.flatnonzero(active)
        if slot not in space.fixed and len(rows):
            logs = _log_chances(study, values[rows], kinds[rows], slot)
            total = torch.full((len(values), logs.shape[1]), -torch.inf, dtype=torch.float64)
            total[:, 0] = 0.0  # an inactive parameter leaves one way to go on
            total[rows] = logs
            total += torch.from_numpy(scores)[:, None]
            best = total.flatten().topk(min(beams, int(total.isfinite().sum())))
            parent = (best.indices // total.shape[1]).numpy()
            token = best.indices % total.shape[1]
            values, kinds, active = values[parent], kinds[parent], active[parent]
            values[:, slot] = _numbers(token, torch.full((len(token),), 0.5).double())
            scores = best.values.numpy()
        _settle(space, values, kinds, slot, active)
    return values, scores


def _empty(space: SpaceTransform, count: int) -> tuple[Array, NDArray[np.int64], Array]:
    """Values, kinds and log-probabilities of trials of which nothing is chosen."""
    shape = (count, len(space.names))
    return np.zeros(shape), np.full(shape, UNSET, dtype=np.int64), np.zeros(count)


def _log_chances(study: EncodedStudy, values: Array, kinds: NDArray[np.int64], slot: int) -> Tensor:
    """Log-probabilities of the bins and choices of one parameter, float64, (N, Q + K)."""
    # Trials that are equal so far are asked once; at the first parameter all are.
    _, first, same = np.unique(values[:, :slot], axis=0, return_index=True, return_inverse=True)
    points = points_batch(Points(values[first].astype(np.float32), kinds[first]))
    asked = torch.full((len(first),), slot)
    logits = study.model.value_logits(study.metadata, study.encoded, points, asked)[0]
    return logits.double().log_softmax(-1)[same.reshape(-1)]


def _draw(chances: Tensor, generator: torch.Generator) -> Tensor:
    """One token a row, (N, 1), by inverting the sums of its chances, which need not be 1."""
    sums = chances.cumsum(-1)
    place = torch.rand(len(chances), 1, generator=generator, dtype=chances.dtype) * sums[:, -1:]
    return torch.searchsorted(sums, place, right=True)


def _likeliest(chances: Tensor, top_p: float) -> Tensor:
    """Chances with all but the likeliest tokens that sum up to `top_p` set to zero, (N, V)."""
    if top_p == 1.0:
        return chances
    ordered, index = chances.sort(-1, descending=True)
    before = ordered.cumsum(-1) - ordered
    return torch.zeros_like(chances).scatter(-1, index, ordered * (before < top_p))


def _numbers(token: Tensor, inside: Tensor) -> Array:
    """What tokens stand for, (N,): a number at a place inside its bin, or a choice's index."""
    number = (token + inside) / NUM_BINS
    numbers: Array = torch.where(token >= NUM_BINS, (token - NUM_BINS).double(), number).numpy()
    return numbers


def _settle(
    space: SpaceTransform,
    values: Array,
    kinds: NDArray[np.int64],
    slot: int,
    active: NDArray[np.bool_],
) -> None:
    """Round a parameter just chosen to the nearest legal value, and note its kind."""
    values[:, slot] = np.where(active, space.project(values)[:, slot], 0.0)
    kind = ValueKind.CHOICE if space.is_choice[slot] else ValueKind.NUMBER
    kinds[:, slot] = np.where(active, kind, ValueKind.INACTIVE)
