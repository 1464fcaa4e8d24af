"""A study as the planner sees it: told of its pending trials, and asked about candidates."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from optformer.data.studies.trials import Trial, TrialStatus
from optformer.planning.acquisition import Screen, local_penalty, moments, steepest_slope
from optformer.planning.candidates import Candidates, join
from optformer.planning.space_transform import Array, SpaceTransform
from optformer.planning.study_encoder import EncodedStudy, StudyEncoder

SLOPE_CANDIDATES = 256  # compared with each other
EARLY = 20  # trials; later a prior says nothing, nor the policy what mutations do not find
CENTER_PRIOR_WEIGHT = (
    2.0  # weight of the prior that the best lies inside unknown ranges, before any trial
)
FAMILIAR = 0.2  # metadata_signal that halves it


@dataclass(frozen=True)
class Scored:
    """Candidates with the model's answer, logits over bins and `failed`, (N, Q + 1)."""

    candidates: Candidates
    logits: Tensor

    def join(self, other: Scored) -> Scored:
        """These candidates, then others."""
        return Scored(
            join(self.candidates, other.candidates), torch.cat([self.logits, other.logits])
        )

    def select(self, index: int) -> Scored:
        """One of the candidates."""
        return Scored(self.candidates.select([index]), self.logits[[index]])


@dataclass(frozen=True)
class PlannerState:
    """A study, with its pending trials told in one way or another.

    Attributes:
        encoder: Encodes histories of the study.
        history: Its trials; earlier members of a batch are pending ones at the end.
        space: Its space, with what is fixed.
        tried: Values of the trials, (T, P).
        policy: What proposes candidates.
        ranking: What scores them.
        avoided: Pending trials that the ranking does not read, as it predicted them.
    """

    encoder: StudyEncoder
    history: tuple[Trial, ...]
    space: SpaceTransform
    tried: Array
    policy: EncodedStudy
    ranking: EncodedStudy
    avoided: Scored | None = None

    @property
    def measured(self) -> bool:
        """Whether any trial has a value."""
        return any(trial.has_value for trial in self.history)

    @property
    def failed(self) -> bool:
        """Whether any trial has failed."""
        return any(trial.status is TrialStatus.FAILED for trial in self.history)

    @property
    def ties(self) -> int:
        """How many more points than one have the best value, 0 while all values are equal."""
        values = {trial.value for trial in self.history if trial.value is not None}
        if len(values) < 2:
            return 0
        best = max(values) if self.encoder.config.sign > 0 else min(values)
        points = {tuple(t.params.items()) for t in self.history if t.value == best}
        return len(points) - 1

    def ask(self, candidates: Candidates) -> Scored:
        """What the ranking predicts of candidates."""
        points = self.space.points(candidates.values)
        return Scored(candidates, self.ranking.metric_logits(points))

    def center_prior(self, candidates: Candidates) -> Tensor | float:
        """What keeps the first trials inside their ranges, (N,), at most 0.

        Knowing next to nothing, a ranking goes where it is least certain, which is at the ends, and
        seldom right: who chose the ranges put them around what is good. The score is weighted by a
        prior of where the best lies that fades with measured trials (Hvarfner et al. 2022,
        "piBO"), and is weaker the more the metadata tell.
        """
        measured = sum(trial.has_value for trial in self.history)
        if measured >= EARLY:
            return 0.0
        weight = (
            CENTER_PRIOR_WEIGHT
            / (1 + measured)
            / (1 + (self.encoder.metadata_signal / FAMILIAR) ** 4)
        )
        return torch.from_numpy(weight * self.space.centrality(candidates.values)).float()

    def with_pending(self, pending: Scored, assumed: float | None) -> PlannerState:
        """The state with one more pending trial in its history.

        Args:
            pending: The trial.
            assumed: Scaled value that the model is told it has; when absent, only the policy is
                told of it, with a placeholder.
        """
        values = pending.candidates.values
        number = 1 + max((trial.number for trial in self.history), default=-1)
        trial = Trial(number=number, params=self.space.decode(values[0]))
        told = self.policy.condition_on(self.space.points(values), assumed)
        state = replace(
            self,
            history=(*self.history, trial),
            tried=np.concatenate([self.tried, values]),
            policy=told,
        )
        if assumed is None:
            return replace(state, avoided=_joined(self.avoided, pending))
        return replace(state, ranking=told)

    def screened(
        self, candidates: Candidates, count: int, screen: Screen, generator: torch.Generator
    ) -> Candidates:
        """The candidates that the processes alone rank highest, in their order.

        Args:
            candidates: All of them.
            count: How many to keep.
            screen: Ranks means and deviations.
            generator: Its source of randomness.
        """
        expected = self.ranking.expected(self.space.points(candidates.values))
        mean, deviation = (part[0] for part in expected.moments())
        score = screen(mean, deviation, self.ranking.best, generator)
        slope = 0.0 if self.avoided is None else _steepest(self.space, candidates, mean)
        score = score + self.preference(candidates, slope)
        kept = score.topk(min(count, len(candidates))).indices.sort().values
        return candidates.select(kept.numpy())

    def slope(self, asked: Scored) -> float:
        """The steepest predicted mean between candidates, 0 when nothing is avoided."""
        if self.avoided is None:
            return 0.0
        return _steepest(self.space, asked.candidates, moments(asked.logits)[0])

    def preference(self, candidates: Candidates, slope: float) -> Tensor | float:
        """What is added to the scores of candidates, (N,).

        Args:
            candidates: All of them.
            slope: Of the predicted mean, see `slope`.
        """
        return self.center_prior(candidates) + self.penalty(candidates, slope)

    def penalty(self, candidates: Candidates, slope: float) -> Tensor | float:
        """What keeps candidates away from the avoided trials, (N,)."""
        if self.avoided is None:
            return 0.0
        pending = self.avoided
        gap = self.space.distances(candidates.values, pending.candidates.values)
        return local_penalty(pending.logits, gap, self.ranking.best, slope)


def _steepest(space: SpaceTransform, candidates: Candidates, mean: Tensor) -> float:
    some = slice(None, None, math.ceil(len(candidates) / SLOPE_CANDIDATES))
    values = candidates.values[some]
    return steepest_slope(mean[some], space.distances(values, values))


def _joined(first: Scored | None, second: Scored) -> Scored:
    return second if first is None else first.join(second)
