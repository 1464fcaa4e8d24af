"""Batches of recorded studies, each a pure function of the run's seed and the step.

A batch holds studies of as many parameters and of at least the length that was drawn, cut to it:
no trial is padding. Up to `studies_per_space` studies of one objective, of one method if it is
told, share a space: an order, names and metadata. Beside the trials after the prefix, points of
other studies of the same objective are asked about, and those that come later in the study itself:
their values are known, and nothing attends to a question. Half of them are near the incumbent.

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
    draw_asked,
    draw_pending,
    draw_positions,
    draw_prefix,
    draw_scale,
    draw_slots,
    ignore_illegal,
    metric_targets,
    partial_points,
    told_metric,
)
from optformer.training.mixtures.recorded import StudyGroup
from optformer.training.mixtures.return_conditioning import guide, scaled_outcome
from optformer.training.mixtures.text_augmentation import WORDINGS, Wordings

POOL = 512  # known points of an objective that a study's questions are chosen from
NEAREST = 4  # half of the questions are among the nearest part, one in so many, of the pool

_QUARTILES = torch.tensor([0.25, 0.5, 0.75])
_STREAM = 2  # of the run's seed; the prior has another


class RecordedStudies:
    """Draws batches of recorded studies.

    Args:
        objectives: The studies.
        prior: Length, size and questions of a batch.
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
        self.wordings = Wordings(objectives, vocabulary, seed)
        counts = [len(objective.methods) for objective in objectives]
        if not sum(counts):
            raise ConfigError("histories name folders without any study; generate some")
        self._objective = np.repeat(np.arange(len(objectives)), counts)  # of each study
        self._study = np.concatenate([np.arange(count) for count in counts])
        self._length = np.concatenate([objective.lengths for objective in objectives])
        self._parameters = np.array([o.values.shape[1] for o in objectives])[self._objective]
        self._known = [np.flatnonzero(o.metric_kinds != MetricKind.PENDING) for o in objectives]
        self._known_count = np.array([len(known) for known in self._known])[self._objective]
        self._chances = self._weights()
        methods = [method or "" for objective in objectives for method in objective.methods]
        pairs = [f"{o} {method}" for o, method in zip(self._objective, methods, strict=True)]
        # What shares a space when methods are told, and when they are not.
        self._groups = {True: np.unique(pairs, return_inverse=True)[1], False: self._objective}

    def batch(self, step: int) -> StudyBatch:
        """The batch of one step."""
        rng = np.random.default_rng([self.seed, step, _STREAM])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        first = int(rng.choice(len(self._study), p=self._chances))
        longest = min(int(self._length[first]), self.prior.max_trials)
        prefix = draw_prefix(longest - 1, self.prior.short, rng)
        length = prefix + int(rng.integers(1, min(self.prior.tail, longest - prefix) + 1))
        spare = self._known_count - length  # known points that a study does not tell, at least
        probes = min(self.prior.probes, max(0, int(spare[first])))
        fits = (self._parameters == self._parameters[first]) & (self._length >= length)
        fits &= spare >= min(probes, int(spare[first]))
        named = rng.random() < self.prior.named_algorithm
        members = self._draw(first, np.flatnonzero(fits), length + probes, named, rng)
        spaces = [self._space(int(studies[0]), named, rng) for studies in members]
        told = [
            self._tell(number, space, length, prefix, probes, rng)
            for space, studies in zip(spaces, members, strict=True)
            for number in studies.tolist()
        ]
        return self._assemble(spaces, told, prefix, length, rng, generator)

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
        chances = np.bincount(group, self._chances[fits]) * (sizes >= share)
        count = max(1, round(self.prior.tokens / each / share))
        replace = bool(count > np.count_nonzero(chances))
        picked = rng.choice(len(groups), count, replace=replace, p=chances / chances.sum())
        return [rng.choice(fits[group == one], share, replace=False) for one in picked]

    def _weights(self) -> NDArray[np.float64]:
        """Probability of each study: equal in a folder, folders by their weights."""
        studies = Counter[str]()
        for objective in self.objectives:
            studies[objective.settings.path] += int(np.count_nonzero(objective.lengths))
        folders = [objective.settings for objective in self.objectives]
        each = np.array([folder.weight / max(studies[folder.path], 1) for folder in folders])
        weights = each[self._objective] * (self._length > 0)
        chances: NDArray[np.float64] = weights / weights.sum()
        return chances

    def _space(self, number: int, named: bool, rng: np.random.Generator) -> _Space:
        """What is told of a study's objective, and of its method."""
        objective = int(self._objective[number])
        method = self.objectives[objective].methods[self._study[number]]
        return _Space(objective, int(rng.integers(WORDINGS)), method if named else None)

    def _tell(
        self,
        number: int,
        space: _Space,
        length: int,
        prefix: int,
        probes: int,
        rng: np.random.Generator,
    ) -> _Told:
        """One study, and what is asked about it, in the words of its space."""
        objective, known = self.objectives[space.objective], self._known[space.objective]
        start = int(objective.starts[self._study[number]])
        trials = np.arange(start, start + length)
        asked = _choose(objective, known, trials, prefix, probes, rng)
        rows = np.concatenate([trials, asked])
        points = EncodedPoints(objective.values[rows], objective.kinds[rows].astype(np.int64))
        return _Told(
            points=self.wordings.wording(space.objective, space.wording).tell(points),
            outcome=objective.outcome[rows],
            kinds=objective.metric_kinds[rows].astype(np.int64),
        )

    def _assemble(
        self,
        spaces: Sequence[_Space],
        told: Sequence[_Told],
        prefix: int,
        length: int,
        rng: np.random.Generator,
        generator: torch.Generator,
    ) -> StudyBatch:
        values = torch.from_numpy(np.stack([study.points.values for study in told]))
        kinds = torch.from_numpy(np.stack([study.points.kinds for study in told]))
        outcome = _in_quartiles(torch.from_numpy(np.stack([study.outcome for study in told])))
        recorded = torch.from_numpy(np.stack([study.kinds for study in told]))
        probes, parameters = values.shape[1] - length, values.shape[2]
        points = PointTensors(values[:, :length], kinds[:, :length])
        shown = draw_pending(recorded[:, :length], prefix, rng, generator)
        scale = draw_scale(outcome[:, :length], shown, prefix, generator)
        asked = torch.cat([torch.arange(length, length + probes), torch.arange(prefix, length)])
        target = metric_targets(scale, outcome[:, asked])
        rows, slots = draw_asked(prefix, length, parameters, rng)

        measured = scaled_outcome(scale, outcome)
        known = recorded != MetricKind.PENDING
        guidance = guide(
            self.policy,
            measured[:, :length],
            known[:, :length],
            measured.amax(-1),
            rows,
            rng.spawn(1)[0],
        )
        share = len(told) // len(spaces)
        metadata = metadata_batch(
            [
                # A study's own mark is told where it has a space of its own, see `PolicyConfig`.
                self.wordings.encoding(
                    space.objective, space.wording, space.algorithm, guidance.told[share * s]
                )
                for s, space in enumerate(spaces)
            ],
            [self.wordings.wording(space.objective, space.wording).legal for space in spaces],
            draw_slots(len(spaces), parameters, self.prior.random_slots, rng),
        )
        return StudyBatch(
            metadata=metadata,
            history=HistoryTensors(points, told_metric(scale, outcome[:, :length], shown), shown),
            prefix=prefix,
            metrics=Queries(
                PointTensors(values[:, asked], kinds[:, asked]),
                draw_positions(prefix, length, probes, rng),
                target.masked_fill(~known[:, asked], IGNORED),
            ),
            values=Queries(
                partial_points(points, rows, slots),
                rows,
                ignore_illegal(_value_targets(points, rows, slots), metadata.legal, slots),
            ),
            value_slots=slots,
            value_weights=guidance.weights,
        )


@dataclass(frozen=True)
class _Space:
    """What a batch tells of an objective."""

    objective: int
    wording: int
    algorithm: str | None


@dataclass(frozen=True)
class _Told:
    """A study as a batch tells it: T trials, then the points to ask about."""

    points: EncodedPoints
    outcome: NDArray[np.float64]
    kinds: NDArray[np.int64]


def _choose(
    objective: StudyGroup,
    known: NDArray[np.int64],
    trials: NDArray[np.int64],
    prefix: int,
    count: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Known points beside a study's trials, half of them near the best of its prefix."""
    own = np.searchsorted(known, [trials[0], trials[-1] + 1])
    others = len(known) - (own[1] - own[0])
    index = rng.choice(others, min(others, max(POOL, count)), replace=False)
    pool = known[np.where(index < own[0], index, index + own[1] - own[0])]
    chosen = pool[:count]
    given = objective.outcome[trials[:prefix]]
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


def _in_quartiles(outcome: torch.Tensor) -> torch.Tensor:
    """Each study's outcomes, (B, N), about their median, in distances of their quartiles.

    Before two values differ, the scale of a history is as it was drawn, and so fits no metric's
    unit. Later it is the same for both.
    """
    low, median, high = outcome.nanquantile(_QUARTILES.to(outcome), -1, keepdim=True)
    width = (high - low).nan_to_num()
    scaled: torch.Tensor = (outcome - median) / width.where(width > 0, 1.0)
    return scaled.clamp(-LARGEST, LARGEST)


def _value_targets(points: PointTensors, rows: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
    """Bin, or Q + choice, of the asked values, (B, N)."""
    value, kind = points.values[:, rows, slots], points.kinds[:, rows, slots]
    target = torch.where(kind == ValueKind.CHOICE, NUM_BINS + value.long(), quantize_tensor(value))
    absent = (kind != ValueKind.CHOICE) & (kind != ValueKind.NUMBER)
    return target.masked_fill(absent, IGNORED)
