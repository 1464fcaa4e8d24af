"""What the planner knows of a study: its trials, pending ones among them, and the model on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from optformer.data.studies.trials import Trial, TrialStatus
from optformer.planning.acquisition import Acquisition
from optformer.planning.candidates import Candidates, join, reach
from optformer.planning.decoding import log_prior
from optformer.planning.distribution import (
    BinnedDistribution,
    NormalDistribution,
    PredictiveDistribution,
)
from optformer.planning.penalties import (
    center_prior,
    failure_penalty,
    local_penalty,
    metadata_trust,
    steepest_slope,
)
from optformer.planning.prediction import Measured, Prediction, predictions
from optformer.planning.space_transform import Array, SpaceTransform
from optformer.planning.study_encoder import EncodedStudy, StudyEncoder

# Trials. After them the center prior has faded, the policy proposes nothing that mutations do not
# find, and the Gaussian processes pre-screen as well as the model ranks.
EARLY = 20
OPTIMUM_WEIGHT = 1.0  # of that belief, before any trial
LEAST_TRUST = 0.02  # below it the belief is not asked for: a query for each parameter
_SLOPE_CANDIDATES = 256  # compared with each other for the steepest slope; the cost is quadratic


@dataclass(frozen=True)
class PredictedCandidates:
    """Candidates with the model's prediction of each.

    Attributes:
        candidates: The candidates.
        prediction: What is predicted of the metric; of the first one where there are several.
        further: What is predicted of each further metric.
    """

    candidates: Candidates
    prediction: BinnedDistribution
    further: tuple[BinnedDistribution, ...] = ()

    def join(self, later: PredictedCandidates) -> PredictedCandidates:
        """These candidates, then others."""
        return PredictedCandidates(
            join(self.candidates, later.candidates),
            BinnedDistribution.join([self.prediction, later.prediction]),
            tuple(map(BinnedDistribution.join, zip(self.further, later.further, strict=True))),
        )

    def take(self, index: list[int]) -> PredictedCandidates:
        """Some of the candidates, by position."""
        further = tuple(prediction.select(index) for prediction in self.further)
        return PredictedCandidates(
            self.candidates.select(index), self.prediction.select(index), further
        )


@dataclass(frozen=True)
class PlannerState:
    """A study in the course of a suggestion.

    A pending trial either has an assumed y, on which both `policy` and `ranking` are conditioned,
    or it is a placeholder to `policy`, unknown to `ranking`, and avoided.

    Attributes:
        encoder: Encodes histories of the study.
        history: Trials of the study; earlier members of a batch are pending ones at the end.
        space: Space of the study, with what is fixed.
        tried: Points of the trials, (T, P), as in `SpaceTransform`.
        policy: Conditioned study that proposes candidates.
        ranking: Conditioned study that predicts candidates.
        avoided: Pending trials that candidates keep away from, with the prediction of each.
    """

    encoder: StudyEncoder
    history: tuple[Trial, ...]
    space: SpaceTransform
    tried: Array
    policy: EncodedStudy
    ranking: EncodedStudy
    avoided: PredictedCandidates | None = None

    @property
    def early(self) -> bool:
        """Whether there are few trials yet."""
        return len(self.history) < EARLY

    @cached_property
    def measured(self) -> list[int]:
        """Positions in the history of trials with a value."""
        return [i for i, trial in enumerate(self.history) if trial.has_value]

    @property
    def failed(self) -> bool:
        """Whether any trial has failed."""
        return any(trial.status is TrialStatus.FAILED for trial in self.history)

    @property
    def best(self) -> Tensor:
        """Best y so far, scalar."""
        return self.ranking.best

    @property
    def ties(self) -> int:
        """How many more points than one have the best value, 0 while all values are equal."""
        values = {trial.value for trial in self.history if trial.value is not None}
        if len(values) < 2:
            return 0
        best = max(values) if self.encoder.config.sign > 0 else min(values)
        points = {tuple(t.params.items()) for t in self.history if t.value == best}
        return len(points) - 1

    def best_points(self, count: int) -> Array:
        """Points of the best trials, best first, (at most `count`, P)."""
        measured = self.measured
        sign = self.encoder.config.sign
        gains = [sign * (self.history[i].value or 0.0) for i in measured]
        best = np.argsort(-np.array(gains), kind="stable")[:count]
        return self.space.with_fixed(self.tried[measured][best])

    @property
    def reach_of_best(self) -> float:
        """How close trials have gathered around the best one, see `reach`; infinite without one."""
        measured = self.measured
        if not measured:
            return math.inf
        sign = self.encoder.config.sign
        best = max(measured, key=lambda i: sign * (self.history[i].value or 0.0))
        return float(reach(self.space, self.tried, np.array([best]))[0])

    @property
    def policies(self) -> tuple[EncodedStudy, ...]:
        """Conditioned studies that propose candidates."""
        return (self.policy,)

    def predict(self, candidates: Candidates) -> PredictedCandidates:
        """Predict candidates with the model."""
        points = self.space.points(candidates.values)
        return PredictedCandidates(candidates, self.ranking.predict(points))

    def describe(self, picked: PredictedCandidates) -> Prediction:
        """The prediction of the first candidate in the user's units."""
        study, config = self.ranking, self.encoder.config
        gains, points = config.gains(self.history), picked.candidates.values
        measured = Measured.of(self.space, points, self.tried, gains)
        return predictions(picked.prediction, study.scale, study.best, config, measured)[0]

    def prescreen(
        self,
        candidates: Candidates,
        count: int,
        acquisition: Acquisition,
        generator: torch.Generator,
    ) -> Candidates:
        """Keep the candidates that the Gaussian processes alone rank highest, in their order.

        Args:
            candidates: All candidates.
            count: How many to keep.
            acquisition: Ranks them.
            generator: Source of the acquisition's randomness.
        """
        score = self.score_by_gp(candidates, acquisition, generator)
        kept = score.topk(min(count, len(candidates))).indices.sort().values
        return candidates.select(kept.numpy())

    def score_by_gp(
        self, candidates: Candidates, acquisition: Acquisition, generator: torch.Generator
    ) -> Tensor:
        """Score candidates by the Gaussian processes alone, larger is better, (N,)."""
        prediction = self.predict_by_gp(candidates)
        score = acquisition.score(prediction, self.best, generator)
        return score + self.preference(candidates, self.slope(candidates, prediction))

    def predict_by_gp(self, candidates: Candidates) -> NormalDistribution:
        """Predict candidates with the Gaussian processes alone."""
        return self.ranking.predict_by_gp(self.space.points(candidates.values))

    def score(
        self,
        predicted: PredictedCandidates,
        acquisition: Acquisition,
        slope: float,
        generator: torch.Generator,
    ) -> Tensor:
        """Score predicted candidates, larger is better, (N,).

        Args:
            predicted: The candidates.
            acquisition: Ranks them.
            slope: Steepest slope of y, see `slope`.
            generator: Source of the acquisition's randomness.
        """
        score = acquisition.score(predicted.prediction, self.best, generator)
        score = score + self.preference(predicted.candidates, slope)
        return score + failure_penalty(predicted.prediction) if self.failed else score

    @property
    def trust(self) -> float:
        """How far the model's belief of where the best lies is trusted, in [0, 1]."""
        return metadata_trust(self.encoder.metadata_signal)

    def optimum_prior(self, candidates: Candidates) -> Tensor:
        """What the belief of where the best lies adds to scores, (N,).

        It fades as trials are measured (Hvarfner et al. 2022, "piBO: Augmenting acquisition
        functions with user beliefs for Bayesian optimization").

        Args:
            candidates: All candidates.
        """
        weight = self.trust * OPTIMUM_WEIGHT / (1 + len(self.measured))
        return weight * log_prior(self.policy, self.space, candidates.values)

    def preference(self, candidates: Candidates, slope: float) -> Tensor | float:
        """What is added to scores whatever is predicted, (N,).

        Args:
            candidates: All candidates.
            slope: Steepest slope of y, see `slope`.
        """
        total: Tensor | float = 0.0
        measured = len(self.measured)
        if measured < EARLY:
            total = center_prior(self.space, candidates.values, measured)
            total = total * (1 - self.trust)
        if self.avoided is not None:
            apart = self.space.distances(candidates.values, self.avoided.candidates.values)
            total = total + local_penalty(self.avoided.prediction, apart, self.best, slope)
        return total

    def slope(self, candidates: Candidates, prediction: PredictiveDistribution) -> float:
        """Steepest slope of the means predicted for candidates; 0 when no trial is avoided."""
        if self.avoided is None:
            return 0.0
        some = slice(None, None, math.ceil(len(candidates) / _SLOPE_CANDIDATES))
        values = candidates.values[some]
        return steepest_slope(prediction.mean[some], self.space.distances(values, values))

    def assume(
        self,
        pending: PredictedCandidates,
        values: Callable[[BinnedDistribution], Sequence[float] | None],
    ) -> PlannerState:
        """The state with more pending trials, whose y follow from their predictions.

        Args:
            pending: The trials.
            values: Predictions of points to the y to assume for them; None for placeholders.
        """
        return self.with_pending(pending, values(pending.prediction))

    def with_pending(
        self, pending: PredictedCandidates, ys: Sequence[float] | None
    ) -> PlannerState:
        """The state with more pending trials.

        Args:
            pending: The trials.
            ys: Values to assume for them; None for placeholders.
        """
        values = pending.candidates.values
        number = 1 + max((trial.number for trial in self.history), default=-1)
        points = map(self.space.decode, values)
        trials = [Trial(number=number + i, params=point) for i, point in enumerate(points)]
        conditioned = self.policy.condition_on(self.space.points(values), ys)
        state = replace(
            self,
            history=(*self.history, *trials),
            tried=np.concatenate([self.tried, values]),
            policy=conditioned,
        )
        if ys is not None:
            return replace(state, ranking=conditioned)
        avoided = pending if self.avoided is None else self.avoided.join(pending)
        return replace(state, avoided=avoided)
