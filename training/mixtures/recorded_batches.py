"""Batches of recorded studies, each a pure function of the run's seed and the step.

A batch holds studies of as many parameters and of at least the length that was drawn, cut to it:
no trial is padding. Up to `studies_per_space` studies of one objective, of one method if it is
told, share a space: an order, names and metadata. Beside the trials after the prefix, points of
other studies of the same objective are queried, and points that come later in the study itself:
their values are known, and nothing attends to a query. Half of them are near the incumbent.

Letters as in `optformer.model.tensors`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from optformer.data.corpora.emulation.emulator import LARGEST
from optformer.data.studies.errors import ConfigError
from optformer.model.tensors import HistoryTensors, PointTensors, metadata_batch
from optformer.tokenization.binning import quantize_tensor
from optformer.tokenization.history import MetricKind, ValueKind
from optformer.tokenization.history import Points as EncodedPoints
from optformer.tokenization.symbols import NUM_BINS
from optformer.tokenization.vocabulary import Vocabulary
from optformer.training.config import PolicyConfig, PriorConfig
from optformer.training.mixtures.batch import IGNORED, Queries, StudyBatch
from optformer.training.mixtures.queries import (
    draw_pending,
    draw_positions,
    draw_prefix,
    draw_scale,
    draw_slots,
    draw_value_queries,
    ignore_illegal,
    metric_targets,
    observed_y,
)
from optformer.training.mixtures.recorded import StudyGroup
from optformer.training.mixtures.return_conditioning import condition_policy, scaled_y
from optformer.training.mixtures.text_augmentation import VARIANTS, TextAugmentation

POOL = 512  # measured points of an objective that a study's queries are chosen from
NEAREST = 4  # half of the queries are among the nearest part, one in so many, of the pool

_QUARTILES = torch.tensor([0.25, 0.5, 0.75])
_STREAM = 2  # of the run's seed; the prior has another


class RecordedStudies:
    """Draws batches of recorded studies.

    Args:
        objectives: The studies.
        prior: Length, size and queries of a batch.
        policy: How the policy learns from the trials.
        vocabulary: Encodes the metadata.
        seed: Seed of the run.

    Raises:
        ConfigError: There is no study with a trial.
    """

    def __init__(
        self,
        objectives: Sequence[StudyGroup],
        prior: PriorConfig,
        policy: PolicyConfig,
        vocabulary: Vocabulary,
        seed: int,
    ):
        self.objectives, self.prior, self.policy, self.seed = objectives, prior, policy, seed
        self.augmentation = TextAugmentation(objectives, vocabulary, seed)
        counts = [len(objective.methods) for objective in objectives]
        if not sum(counts):
            raise ConfigError("histories name folders without any study; generate some")
        self._objective = np.repeat(np.arange(len(objectives)), counts)  # of each study
        self._study = np.concatenate([np.arange(count) for count in counts])
        self._length = np.concatenate([objective.lengths for objective in objectives])
        self._parameters = np.array([o.values.shape[1] for o in objectives])[self._objective]
        self._ended = [np.flatnonzero(o.metric_kinds != MetricKind.PENDING) for o in objectives]
        self._ended_count = np.array([len(ended) for ended in self._ended])[self._objective]
        self._weights = self._study_weights()
        methods = [method or "" for objective in objectives for method in objective.methods]
        pairs = [f"{o} {method}" for o, method in zip(self._objective, methods, strict=True)]
        # Studies that share a space, when methods are told and when they are not.
        self._groups = {True: np.unique(pairs, return_inverse=True)[1], False: self._objective}

    def batch(self, step: int) -> StudyBatch:
        """The batch of one step."""
        rng = np.random.default_rng([self.seed, step, _STREAM])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        first = int(rng.choice(len(self._study), p=self._weights))
        longest = min(int(self._length[first]), self.prior.max_trials)
        prefix = draw_prefix(longest - 1, self.prior.short, rng)
        length = prefix + int(rng.integers(1, min(self.prior.tail, longest - prefix) + 1))
        spare = self._ended_count - length  # ended trials outside a study, at least
        probes = min(self.prior.probes, max(0, int(spare[first])))
        fits = (self._parameters == self._parameters[first]) & (self._length >= length)
        fits &= spare >= min(probes, int(spare[first]))
        named = rng.random() < self.prior.named_algorithm
        members = self._draw(first, np.flatnonzero(fits), length + probes, named, rng)
        spaces = [self._space(int(studies[0]), named, rng) for studies in members]
        shown = [
            self._show(number, space, length, prefix, probes, rng)
            for space, studies in zip(spaces, members, strict=True)
            for number in studies.tolist()
        ]
        return self._assemble(spaces, shown, prefix, length, rng, generator)

    def _draw(
        self,
        first: int,
        fits: NDArray[np.int64],
        each: int,
        named: bool,
        rng: np.random.Generator,
    ) -> list[NDArray[np.int64]]:
        """Studies of each space; `each` is the work of one."""
        groups, group = np.unique(self._groups[named][fits], return_inverse=True)
        sizes = np.bincount(group)
        share = int(
            min(self.prior.studies_per_space, sizes[groups == self._groups[named][first]][0])
        )
        weights = np.bincount(group, self._weights[fits]) * (sizes >= share)
        count = max(1, round(self.prior.tokens / each / share))
        replace = bool(count > np.count_nonzero(weights))
        picked = rng.choice(len(groups), count, replace=replace, p=weights / weights.sum())
        return [rng.choice(fits[group == one], share, replace=False) for one in picked]

    def _study_weights(self) -> NDArray[np.float64]:
        """Probability of each study: equal in a folder, folders by their weights."""
        studies = Counter[str]()
        for objective in self.objectives:
            studies[objective.settings.path] += int(np.count_nonzero(objective.lengths))
        folders = [objective.settings for objective in self.objectives]
        each = np.array([folder.weight / max(studies[folder.path], 1) for folder in folders])
        weights = each[self._objective] * (self._length > 0)
        shares: NDArray[np.float64] = weights / weights.sum()
        return shares

    def _space(self, number: int, named: bool, rng: np.random.Generator) -> _Space:
        """How a batch describes a study's objective and method."""
        objective = int(self._objective[number])
        method = self.objectives[objective].methods[self._study[number]]
        return _Space(objective, int(rng.integers(VARIANTS)), method if named else None)

    def _show(
        self,
        number: int,
        space: _Space,
        length: int,
        prefix: int,
        probes: int,
        rng: np.random.Generator,
    ) -> _Shown:
        """One study, and the points queried beside it, in the variant of its space."""
        objective, ended = self.objectives[space.objective], self._ended[space.objective]
        start = int(objective.starts[self._study[number]])
        trials = np.arange(start, start + length)
        queried = _choose(objective, ended, trials, prefix, probes, rng)
        rows = np.concatenate([trials, queried])
        points = EncodedPoints(objective.values[rows], objective.kinds[rows].astype(np.int64))
        return _Shown(
            points=self.augmentation.variant(space.objective, space.variant).transform(points),
            gain=objective.gain[rows],
            kinds=objective.metric_kinds[rows].astype(np.int64),
        )

    def _assemble(
        self,
        spaces: Sequence[_Space],
        studies: Sequence[_Shown],
        prefix: int,
        length: int,
        rng: np.random.Generator,
        generator: torch.Generator,
    ) -> StudyBatch:
        values = torch.from_numpy(np.stack([study.points.values for study in studies]))
        kinds = torch.from_numpy(np.stack([study.points.kinds for study in studies]))
        gain = _in_quartiles(torch.from_numpy(np.stack([study.gain for study in studies])))
        recorded = torch.from_numpy(np.stack([study.kinds for study in studies]))
        probes, parameters = values.shape[1] - length, values.shape[2]
        points = PointTensors(values[:, :length], kinds[:, :length])
        kept = draw_pending(recorded[:, :length], prefix, rng, generator)
        scale = draw_scale(gain[:, :length], kept, prefix, generator)
        queried = torch.cat([torch.arange(length, length + probes), torch.arange(prefix, length)])
        target = metric_targets(scale, gain[:, queried])
        rows, slots = draw_value_queries(prefix, length, parameters, rng)

        y = scaled_y(scale, gain)
        observed = recorded != MetricKind.PENDING
        conditioning = condition_policy(
            self.policy,
            y[:, :length],
            observed[:, :length],
            y.amax(-1),
            rows,
            rng.spawn(1)[0],
        )
        share = len(studies) // len(spaces)
        metadata = metadata_batch(
            [
                # A study tells its own return where it has a space of its own, see `PolicyConfig`.
                self.augmentation.encoding(
                    space.objective,
                    space.variant,
                    space.algorithm,
                    conditioning.metadata[share * s],
                )
                for s, space in enumerate(spaces)
            ],
            [self.augmentation.variant(space.objective, space.variant).legal for space in spaces],
            draw_slots(len(spaces), parameters, self.prior.random_slots, rng),
        )
        return StudyBatch(
            metadata=metadata,
            history=HistoryTensors(points, observed_y(scale, gain[:, :length], kept), kept),
            prefix=prefix,
            metrics=Queries(
                PointTensors(values[:, queried], kinds[:, queried]),
                draw_positions(prefix, length, probes, rng),
                target.masked_fill(~observed[:, queried], IGNORED),
            ),
            values=Queries(
                points.partial(rows, slots),
                rows,
                ignore_illegal(_value_targets(points, rows, slots), metadata.legal, slots),
            ),
            value_slots=slots,
            value_weights=conditioning.weights,
        )


@dataclass(frozen=True)
class _Space:
    """How a batch describes an objective: which variant, and the method if it is told."""

    objective: int
    variant: int
    algorithm: str | None


@dataclass(frozen=True)
class _Shown:
    """A study as a batch shows it: T trials, then the points queried beside them."""

    points: EncodedPoints
    gain: NDArray[np.float64]
    kinds: NDArray[np.int64]


def _choose(
    objective: StudyGroup,
    ended: NDArray[np.int64],
    trials: NDArray[np.int64],
    prefix: int,
    count: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Ended trials outside a study, half of them near the best of its prefix."""
    own = np.searchsorted(ended, [trials[0], trials[-1] + 1])
    others = len(ended) - (own[1] - own[0])
    index = rng.choice(others, min(others, max(POOL, count)), replace=False)
    pool = ended[np.where(index < own[0], index, index + own[1] - own[0])]
    chosen = pool[:count]
    given = objective.gain[trials[:prefix]]
    if not np.isnan(given).all():
        gap = _distances(objective, pool, int(trials[np.nanargmax(given)]))
        nearest = np.argsort(gap, kind="stable")[: max(count // 2, len(pool) // NEAREST)]
        near = rng.permutation(nearest)[: count // 2]
        chosen = np.concatenate([pool[near], np.delete(pool, near)[: count - len(near)]])
    return rng.permutation(chosen)


def _distances(objective: StudyGroup, rows: NDArray[np.int64], centre: int) -> NDArray[np.float32]:
    """Squared distance of points to one point; 1 for each choice or kind that differs."""
    kinds = objective.kinds[rows]
    gap = objective.values[rows] - objective.values[centre]
    number = (kinds == ValueKind.NUMBER) & (kinds == objective.kinds[centre])
    differs = (kinds != objective.kinds[centre]) | (gap != 0)
    total: NDArray[np.float32] = np.where(number, gap**2, differs).sum(-1, dtype=np.float32)
    return total


def _in_quartiles(gain: torch.Tensor) -> torch.Tensor:
    """Each study's gains, (B, N), about their median, in distances of their quartiles.

    Before two values differ, the scale of a history is as it was drawn, and so fits no metric's
    unit. Later it is the same for both.
    """
    low, median, high = gain.nanquantile(_QUARTILES.to(gain), -1, keepdim=True)
    width = (high - low).nan_to_num()
    scaled: torch.Tensor = (gain - median) / width.where(width > 0, 1.0)
    return scaled.clamp(-LARGEST, LARGEST)


def _value_targets(points: PointTensors, rows: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
    """Bin, or Q + choice, of the queried values, (B, N)."""
    value, kind = points.values[:, rows, slots], points.kinds[:, rows, slots]
    target = torch.where(kind == ValueKind.CHOICE, NUM_BINS + value.long(), quantize_tensor(value))
    absent = (kind != ValueKind.CHOICE) & (kind != ValueKind.NUMBER)
    return target.masked_fill(absent, IGNORED)
