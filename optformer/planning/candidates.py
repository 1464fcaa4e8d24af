"""Where candidates come from: the space, the model's policy, the neighbourhood of the best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import qmc

from optformer.data.studies.errors import SpaceExhaustedError
from optformer.planning.decoding import draw_trials
from optformer.planning.space_transform import Array, SpaceTransform
from optformer.planning.study_encoder import EncodedStudy

MAX_LISTED = 2048  # spaces with at most so many points are searched whole
CLOSE = 1e-3  # a candidate nearer than this to a tried point, in every parameter, is a repeat
_MAX_ENUMERATED = 200_000  # finite spaces up to this size are listed when sampling repeats
MUTATION_RATE = 0.4  # chance that a parameter is touched
MUTATION_SCALES = (0.005, 0.3)  # steps of mutations, log-uniform


@dataclass(frozen=True)
class Candidates:
    """Points to rank.

    Attributes:
        values: (N, P), as in `SpaceTransform`.
        source: Who proposed each: "start", "space", "policy", "mutation" or "local".
    """

    values: Array
    source: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.values)

    def select(self, index: NDArray[np.intp] | NDArray[np.bool_] | list[int]) -> Candidates:
        """Some of the candidates."""
        return Candidates(self.values[index], self.source[index])


def join(*parts: Candidates) -> Candidates:
    """All candidates of several sources."""
    return Candidates(
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.source for part in parts]),
    )


def from_space(space: SpaceTransform, count: int, rng: np.random.Generator) -> Candidates:
    """A scrambled Sobol sequence over the space."""
    sampler = qmc.Sobol(len(space.names), rng=rng)
    unit = sampler.random_base2(max(int(np.ceil(np.log2(count))), 0))[:count]
    return _from("space", space.from_uniform(unit))


def from_policy(
    study: EncodedStudy, space: SpaceTransform, count: int, generator: torch.Generator
) -> Candidates:
    """Samples of the model's own policy."""
    values, _ = draw_trials(study, space, count, generator)
    return _from("policy", values)


def near(
    space: SpaceTransform,
    centres: Array,
    count: int,
    rng: np.random.Generator,
    source: str = "mutation",
    scales: tuple[float, float] = MUTATION_SCALES,
) -> Candidates:
    """Mutations of given points, each by a step of its own size."""
    parents = centres[np.arange(count) % max(len(centres), 1)]
    scale = np.exp(rng.uniform(np.log(scales[0]), np.log(scales[1]), (count, 1)))
    return _from(source, space.mutate(parents, scale, MUTATION_RATE, rng))


def untried(space: SpaceTransform, candidates: Candidates, tried: Array) -> Candidates:
    """Candidates that repeat neither a tried point nor an earlier candidate."""
    fresh = space.unseen(candidates.values, tried)
    if len(tried) and not space.finite:
        close = np.ones((len(candidates), len(tried)), dtype=bool)
        for place, past in zip(candidates.values.T, tried.T, strict=True):
            close &= np.abs(place[:, None] - past) <= CLOSE
        fresh &= ~close.any(-1)
    return candidates.select(fresh)


def all_untried(space: SpaceTransform, tried: Array) -> Candidates:
    """Every point of a finite space that was not tried."""
    points = _from("space", space.all_points())
    return untried(space, points, tried)


def space_filling(
    space: SpaceTransform, tried: Array, seed: int, index: int, rng: np.random.Generator
) -> Candidates:
    """A space-filling trial: the next untried point of the study's own Sobol sequence."""
    sampler = qmc.Sobol(len(space.names), rng=np.random.default_rng(seed))
    unit = sampler.random_base2(6)[index % 64 :]
    return untried_or_new(space, _from("start", space.from_uniform(unit)), tried, rng).select([0])


def untried_or_new(
    space: SpaceTransform, candidates: Candidates, tried: Array, rng: np.random.Generator
) -> Candidates:
    """Those of the candidates that are untried, or else any that are; never none.

    Raises:
        SpaceExhaustedError: There is no untried point.
    """
    fresh = untried(space, candidates, tried)
    return fresh if len(fresh) else anything_new(space, tried, rng)


def anything_new(space: SpaceTransform, tried: Array, rng: np.random.Generator) -> Candidates:
    """Candidates anywhere, when the usual sources only repeat what was tried.

    Raises:
        SpaceExhaustedError: There is no untried point.
    """
    if space.size is not None and space.size <= _MAX_ENUMERATED:
        fresh = all_untried(space, tried)
        if not len(fresh):
            raise SpaceExhaustedError(
                f"all {len(space.all_points())} points of this space have been tried; "
                "widen the space, fix less of it, or stop here"
            )
        return fresh.select(rng.permutation(len(fresh))[:MAX_LISTED])
    anywhere = from_space(space, MAX_LISTED, rng)
    fresh = untried(space, anywhere, tried)
    # Where trials stand so densely that all are near one, near ones have to do.
    return fresh if len(fresh) else anywhere


def _from(source: str, values: Array) -> Candidates:
    return Candidates(values, np.full(len(values), source, dtype="<U8"))
