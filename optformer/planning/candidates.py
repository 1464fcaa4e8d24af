"""Candidates: points of the space, of the model's policy, and mutations of good points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from optformer.data.studies.errors import SearchSpaceError, SpaceExhaustedError
from optformer.planning.decoding import draw_trials
from optformer.planning.levels import Array
from optformer.planning.sobol import sobol_points
from optformer.planning.space_transform import SpaceTransform
from optformer.planning.study_encoder import EncodedStudy

MAX_LISTED = 2048  # finite spaces with at most so many points are predicted whole
CLOSE = 1e-3  # a bin: a candidate nearer than this to a tried point, in every parameter, repeats it
_FINEST = 1e-6  # distance below which points are the same
_FINER = 4  # where trials have gathered, a candidate nearer than this part of their distance does
MUTATION_RATE = 0.4  # probability that a parameter is touched
MUTATION_SCALES = (0.005, 0.3)  # steps on the unit interval, log-uniform: polishing to leaping
END_RATE = 0.3  # probability that a parameter that is moved over its range goes to an end of it
SECOND_RATE = 0.35  # probability that a second parameter is moved, too
_MAX_ENUMERATED = 200_000  # finite spaces up to this size are listed when sampling repeats
_START_POINTS = 6  # a start is a Sobol sequence of 2 to this power, then again


@dataclass(frozen=True)
class Candidates:
    """Points that may be suggested.

    Attributes:
        values: Points, (N, P), as in `SpaceTransform`.
        source: What proposed each point, (N,): "start", "space", "optimum", "mutation", "axis" or
            "local".
    """

    values: Array
    source: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.values)

    def select(self, index: NDArray[np.intp] | NDArray[np.bool_] | list[int]) -> Candidates:
        """Some of the candidates, by position or mask."""
        return Candidates(self.values[index], self.source[index])


def join(*parts: Candidates) -> Candidates:
    """All candidates of several sources, one after the other."""
    return Candidates(
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.source for part in parts]),
    )


def from_space(space: SpaceTransform, count: int, rng: np.random.Generator) -> Candidates:
    """The first points of a scrambled Sobol sequence over the space (Owen 1998)."""
    return _from("space", space.from_uniform(sobol_points(count, len(space.names), rng)))


def from_policy(
    study: EncodedStudy, space: SpaceTransform, count: int, generator: torch.Generator
) -> Candidates:
    """Samples of the model's own policy."""
    return _from("optimum", draw_trials(study, space, count, generator))


def mutations(
    space: SpaceTransform,
    parents: Array,
    count: int,
    rng: np.random.Generator,
    source: str = "mutation",
    scales: tuple[float, float] = MUTATION_SCALES,
) -> Candidates:
    """Mutations of given points, each by a step of its own size.

    Args:
        space: The space.
        parents: Points that are mutated in turn, (M, P); M is 0 only if `count` is.
        count: Number of mutations N.
        rng: Source of randomness.
        source: What the candidates are marked with.
        scales: Smallest and largest standard deviation of a step, on the unit interval.
    """
    parents = parents[np.arange(count) % max(len(parents), 1)]
    scale = np.exp(rng.uniform(np.log(scales[0]), np.log(scales[1]), (count, 1)))
    return _from(source, space.mutate(parents, scale, MUTATION_RATE, rng))


def axis_moves(
    space: SpaceTransform, parents: Array, count: int, rng: np.random.Generator
) -> Candidates:
    """Given points with one parameter, sometimes two, anywhere in its range.

    With many parameters a mutation of several at once seldom helps, and a small step seldom reaches
    the end of a range or another level, where the best value often lies.

    Args:
        space: The space.
        parents: Points that are moved in turn, (M, P); M is 0 only if `count` is.
        count: Number of moves N.
        rng: Source of randomness.
    """
    parents = parents[np.arange(count) % max(len(parents), 1)]
    shape = parents.shape
    unit = rng.random(shape)
    at_end = rng.random(shape) < END_RATE
    fresh = space.from_uniform(np.where(at_end & ~space.is_choice, _last_below(unit), unit))
    touched = np.zeros(shape, dtype=bool)
    touched[np.arange(count), rng.integers(shape[1], size=count)] = True
    second = rng.random(count) < SECOND_RATE
    touched[np.flatnonzero(second), rng.integers(shape[1], size=int(second.sum()))] = True
    moved = np.where(touched | np.isnan(parents), fresh, parents)
    # A child that a changed parent switches on starts anywhere.
    switched_on = space.active(space.project(moved.copy())) & ~space.active(parents)
    return _from("axis", space.project(np.where(switched_on, fresh, moved)))


def untried(space: SpaceTransform, candidates: Candidates, tried: Array) -> Candidates:
    """Candidates that repeat neither a tried point, (T, P), nor an earlier candidate.

    Where levels lie close together, or a continuum, a candidate repeats a tried point that is
    nearer than `CLOSE` to it in every parameter. Where trials have gathered, it has to be nearer
    than a part of their distances: so a search refines, and no faster than it learns.
    """
    fresh = space.unseen(candidates.values, tried)
    if len(tried) and space.dense:
        gaps = space.gaps(candidates.values, tried)
        near = np.flatnonzero((gaps <= CLOSE).any(0))
        closeness = np.minimum(reach(space, tried, near) / _FINER, CLOSE)
        fresh &= ~(gaps[:, near] <= closeness).any(-1)
    return candidates.select(fresh)


def reach(space: SpaceTransform, tried: Array, index: NDArray[np.intp]) -> Array:
    """How close trials have gathered around some of them, (M,).

    The distance, in the parameter that differs most, within which one trial more than there are
    free parameters lies beside each, at another point; infinite with fewer trials.

    Args:
        space: The space.
        tried: Points of the trials, (T, P).
        index: Positions of M of them.
    """
    others = len(space.names) - len(space.fixed) + 1
    gaps = space.gaps(tried[index], tried)
    gaps = np.pad(np.where(gaps > 0, gaps, np.inf), ((0, 0), (0, others)), constant_values=np.inf)
    distances: Array = np.sort(gaps, axis=-1)[:, others - 1]
    return np.maximum(distances, _FINEST)


def all_untried(space: SpaceTransform, tried: Array) -> Candidates:
    """Every point of a finite space that was not tried.

    Raises:
        SearchSpaceError: The points are too many to list, or a continuum.
    """
    points = space.listed(_MAX_ENUMERATED)
    if points is None:
        raise SearchSpaceError("only a small finite space can be listed; this one is larger")
    listed = _from("space", points)
    return listed.select(space.unseen(points, tried))


def space_filling(
    space: SpaceTransform, tried: Array, seed: int, index: int, rng: np.random.Generator
) -> Candidates:
    """A space-filling trial: the next untried point of the study's own Sobol sequence.

    Args:
        space: The space.
        tried: Points that were tried, (T, P).
        seed: Seed of the study, which scrambles the sequence.
        index: Position in the sequence, the number of trials so far.
        rng: Source of randomness when all the rest of the sequence has been tried.

    Raises:
        SpaceExhaustedError: There is no untried point.
    """
    scrambling = np.random.default_rng(seed)
    unit = sobol_points(2**_START_POINTS, len(space.names), scrambling)[index % 2**_START_POINTS :]
    return untried_or_any(space, _from("start", space.from_uniform(unit)), tried, rng).select([0])


def untried_or_any(
    space: SpaceTransform, candidates: Candidates, tried: Array, rng: np.random.Generator
) -> Candidates:
    """The untried ones of the candidates, or any others if there are none; never empty.

    Raises:
        SpaceExhaustedError: There is no untried point.
    """
    fresh = untried(space, candidates, tried)
    return fresh if len(fresh) else any_untried(space, tried, rng)


def any_untried(space: SpaceTransform, tried: Array, rng: np.random.Generator) -> Candidates:
    """Untried points of the whole space, for when the usual sources only repeat tried ones.

    Raises:
        SpaceExhaustedError: There is no untried point.
    """
    if space.listed(_MAX_ENUMERATED) is not None:
        fresh = all_untried(space, tried)
        if not len(fresh):
            raise _exhausted(space, tried)
        return fresh.select(rng.permutation(len(fresh))[:MAX_LISTED])
    anywhere = from_space(space, MAX_LISTED, rng)
    fresh = untried(space, anywhere, tried)
    if not len(fresh):  # where trials are so dense that every point is close to one
        fresh = anywhere.select(space.unseen(anywhere.values, tried))
    if not len(fresh):  # where few conditions lead to what is left
        seen = set(space.keys(tried))
        left = (point for point in space.walk(rng) if space.keys(point[None])[0] not in seen)
        if (point := next(left, None)) is None:
            raise _exhausted(space, tried)
        fresh = _from("space", point[None])
    return fresh


def _exhausted(space: SpaceTransform, tried: Array) -> SpaceExhaustedError:
    """The error of a finite space whose points have all been tried."""
    points = space.listed(_MAX_ENUMERATED)
    count = len(set(space.keys(tried))) if points is None else len(points)
    what = (
        "the one point of this space has"
        if count == 1
        else f"all {count} points of this space have"
    )
    return SpaceExhaustedError(f"{what} been tried; widen the space, fix less of it, or stop here")


def _last_below(unit: Array) -> Array:
    """Either end of the unit interval: 0, or the last number below 1."""
    return np.where(unit < 0.5, 0.0, np.nextafter(1.0, 0.0))


def _from(source: str, values: Array) -> Candidates:
    return Candidates(values, np.full(len(values), source, dtype="<U8"))
