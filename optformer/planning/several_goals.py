"""Several goals, and limits, with one model.

The model reads the same trials once with each metric: with its name, its goal and its own scale. It
gives one predictive distribution a metric, taken as independent of each other.

- Several goals: candidates are ranked by their expected hypervolume improvement (Emmerich et al.
  2006, "Single- and multiobjective evolutionary optimization assisted by Gaussian random field
  metamodels"). The part of the goals' space that no trial dominates is cut into boxes; in each the
  improvement is a product over the goals, so the expectation is exact.
- Limits: times the chance to keep them (Gardner et al. 2014, "Bayesian optimization with inequality
  constraints"). One goal with limits is expected improvement over the best trial that keeps them,
  times that chance. Before any trial keeps them the chance alone ranks.
- Failures: every metric predicts the same failure, so the mean of what they say counts once.

A study says it by its configuration: `StudyConfig.further_goals` and `StudyConfig.limits`; its
trials hold the first goal as `value` and all metrics by name as `metrics`. Optuna's constraints,
whose value must be at most 0, are metrics with the limit "<= 0": of `constraints_func` returning
`(c0, c1)` a trial's metrics are `{"c0": ..., "c1": ...}`, and the limits `{"c0": "<= 0", "c1":
"<= 0"}`. A trial without a metric, such as one whose constraint was never computed, is left out of
what the model reads of that metric; it keeps no limit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optformer.data.studies.pareto import nondominated, nondominated_boxes
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.planning.acquisition import Acquisition
from optformer.planning.candidates import Candidates
from optformer.planning.distribution import BinnedDistribution, PredictiveDistribution
from optformer.planning.penalties import failure_penalty
from optformer.planning.prediction import Measured, Prediction, predictions
from optformer.planning.space_transform import Array, SpaceTransform
from optformer.planning.state import PlannerState, PredictedCandidates
from optformer.planning.study_encoder import EncodedStudy, StudyEncoder

_MARGIN = 0.1  # of what the values span, from the worst one to the reference point
_LEAST_SPAN = 0.05  # of y, where all values of a goal are equal
_FRONT_PARENTS = 16  # trials of the front that are mutated, at most
_TINY = 1e-300  # keeps logarithms finite, in double precision


class _LimitOnY(NamedTuple):
    """A limit in the model's scale.

    Attributes:
        view: Position of the metric among the views.
        bound: y of the bound.
        at_least: Whether y must be at least the bound; at most otherwise.
    """

    view: int
    bound: float
    at_least: bool

    def log_kept(self, prediction: PredictiveDistribution) -> Tensor:
        """Logarithm of the probability that the limit is kept, (N,)."""
        if self.at_least:
            return prediction.log_at_least(self.bound)
        return prediction.log_at_most(self.bound)


@dataclass(frozen=True, kw_only=True)
class GoalsState(PlannerState):
    """The state of a study with several goals or limits: of its first goal, and of all metrics.

    Attributes:
        study: The whole study.
        states: The state of each metric, in the order of `study.views`; the first one again.
        assumed: Assumed y of each pending trial, one a metric.
    """

    study: StudyConfig
    states: tuple[PlannerState, ...]
    assumed: tuple[tuple[float, ...], ...] = ()

    @property
    def ties(self) -> int:
        """0: a plateau is one of a single goal."""
        return 0

    @property
    def policies(self) -> tuple[EncodedStudy, ...]:
        """Those of the goals."""
        return tuple(state.policy for state in self._goals)

    @property
    def trust(self) -> float:
        """The most of the goals."""
        return max(state.trust for state in self._goals)

    def predict(self, candidates: Candidates) -> PredictedCandidates:
        """Predict every metric of candidates with the model."""
        points = self.space.points(candidates.values)
        first, *further = (state.ranking.predict(points) for state in self.states)
        return PredictedCandidates(candidates, first, tuple(further))

    def describe(self, picked: PredictedCandidates) -> Prediction:
        """The prediction of the first candidate in the user's units, of every metric."""
        studies = [state.ranking for state in self.states]
        every, values = [picked.prediction, *picked.further], picked.candidates.values
        seen = self.space, values, self.tried
        return _joined(self.study, self.history, studies, every, seen)[0]

    def best_points(self, count: int) -> Array:
        """Points of the front, then of what only the front dominates and so on, (N, P).

        Trials that keep the limits come before those that do not, which follow by how far they are
        beyond them. More than `count` of the front, at most 16, are taken evenly along it.
        """
        y, kept, index = self._measured
        order: list[int] = []
        rest = np.flatnonzero(kept)
        while len(rest) and len(order) < count:
            gains = y[rest][:, : len(self._goals)]
            front = rest[nondominated(gains)]
            front = front[np.argsort(-y[front, 0], kind="stable")]
            if not order and len(front) > _FRONT_PARENTS:
                front = front[np.linspace(0, len(front) - 1, _FRONT_PARENTS).round().astype(int)]
            order += front.tolist()
            rest = np.setdiff1d(rest, front)
        beyond = np.zeros(len(y))
        for limit in self._limits:
            off = limit.bound - y[:, limit.view]
            beyond += np.clip(off if limit.at_least else -off, 0, None)
        violating = np.flatnonzero(~kept)
        order += violating[np.argsort(beyond[violating], kind="stable")].tolist()
        most = max(count, min(len(order), _FRONT_PARENTS) if kept.any() else count)
        return self.space.project(self.tried[index[order[:most]]])

    def score(
        self,
        predicted: PredictedCandidates,
        acquisition: Acquisition,
        slope: float,
        generator: torch.Generator,
    ) -> Tensor:
        """See `PlannerState.score`; always by the expected hypervolume improvement."""
        del acquisition, generator
        every = [predicted.prediction, *predicted.further]
        score = self._log_score(every) + self.preference(predicted.candidates, slope)
        if self.failed:
            score = score + torch.stack([failure_penalty(each) for each in every]).mean(0)
        return score

    def score_by_gp(
        self, candidates: Candidates, acquisition: Acquisition, generator: torch.Generator
    ) -> Tensor:
        """See `PlannerState.score_by_gp`."""
        del acquisition, generator
        every = [state.predict_by_gp(candidates) for state in self.states]
        return self._log_score(every) + self.preference(candidates, 0.0)

    def preference(self, candidates: Candidates, slope: float) -> Tensor | float:
        """The mean of the goals'."""
        goals = self._goals
        return sum(state.preference(candidates, slope) for state in goals) / len(goals)

    def optimum_prior(self, candidates: Candidates) -> Tensor:
        """The mean of the goals'."""
        return torch.stack([state.optimum_prior(candidates) for state in self._goals]).mean(0)

    def assume(
        self,
        pending: PredictedCandidates,
        values: Callable[[BinnedDistribution], Sequence[float] | None],
    ) -> GoalsState:
        """The state with more pending trials, with a y of each metric."""
        states, assumed = [], []
        for state, each in zip(self.states, [pending.prediction, *pending.further], strict=True):
            ys = values(each)
            if ys is None:
                raise ValueError("several goals need values to assume for pending trials")
            states.append(state.with_pending(PredictedCandidates(pending.candidates, each), ys))
            assumed.append(ys)
        return replace(
            self,
            history=states[0].history,
            tried=states[0].tried,
            policy=states[0].policy,
            ranking=states[0].ranking,
            states=tuple(states),
            assumed=(*self.assumed, *zip(*assumed, strict=True)),
        )

    @property
    def _goals(self) -> tuple[PlannerState, ...]:
        return self.states[: len(self.study.goals)]

    @cached_property
    def _limits(self) -> tuple[_LimitOnY, ...]:
        """The limits on metrics of which a value is known: others have no scale yet."""
        studies = [state.ranking for state in self.states]
        return tuple(_limits_on_y(self.study, self.history, studies).values())

    @cached_property
    def _measured(self) -> tuple[Array, NDArray[np.bool_], NDArray[np.intp]]:
        """Trials with all metrics: y (n, V), which keep the limits, positions in the history."""
        names = [view.metric_name for view in self.study.views]
        metrics = [self.study.metrics_of(trial) for trial in self.history]
        index = np.array(
            [i for i, each in enumerate(metrics) if all(name in each for name in names)],
            dtype=np.intp,
        )
        kept = np.array([self.study.keeps_limits(self.history[i]) for i in index], dtype=bool)
        columns = [
            _to_y(view, state.ranking, [metrics[i][view.metric_name] for i in index])
            for view, state in zip(self.study.views, self.states, strict=True)
        ]
        return np.stack(columns, axis=-1), kept, index

    @cached_property
    def _boxes(self) -> tuple[Tensor, Tensor] | None:
        """What is left to gain above a reference point; None before a trial keeps the limits."""
        y, kept, _ = self._measured
        goals = len(self._goals)
        if not len(y):
            lower, upper = nondominated_boxes(np.zeros((0, goals)), np.zeros(goals))
            return torch.from_numpy(lower), torch.from_numpy(upper)
        if not kept.any():
            return None
        assumed = np.array(self.assumed).reshape(-1, len(self.states))
        within = np.ones(len(assumed), dtype=bool)
        for limit in self._limits:
            off = limit.bound - assumed[:, limit.view]
            within &= (off if limit.at_least else -off) <= 0
        known = y[kept][:, :goals]
        low, high = known.min(0), known.max(0)
        reference = low - _MARGIN * np.maximum(high - low, _LEAST_SPAN)
        for limit in self._limits:
            if limit.view < goals and limit.at_least:
                reference[limit.view] = max(reference[limit.view], limit.bound)
        gains = np.concatenate([known, assumed[within][:, :goals]])
        lower, upper = nondominated_boxes(gains, reference)
        for limit in self._limits:
            if limit.view < goals and not limit.at_least:  # nothing is gained beyond it
                upper[:, limit.view] = upper[:, limit.view].clip(max=limit.bound)
        return torch.from_numpy(lower), torch.from_numpy(upper)

    def _log_score(self, every: Sequence[PredictiveDistribution]) -> Tensor:
        """Logarithm of the expected hypervolume improvement, times the chances, (N,)."""
        score = torch.stack([prediction.log_feasible for prediction in every]).mean(0).double()
        goals = len(self._goals)
        for limit in self._limits:
            # Nothing below the reference point is a gain: there the limit is in the improvement.
            if self._boxes is None or limit.view >= goals or not limit.at_least:
                score = score + limit.log_kept(every[limit.view])
        if self._boxes is not None:
            score = score + log_improvement(every[:goals], *self._boxes)
        return score.float()


def goals_state(
    first: PlannerState, study: StudyConfig, encoders: Sequence[StudyEncoder]
) -> GoalsState:
    """The state of a study with several goals or limits.

    Args:
        first: The state of its first goal, without pending trials.
        study: The whole study.
        encoders: Encoders of the other views, in their order.
    """
    states = [first]
    for encoder in encoders:
        history = study.view_history(encoder.config, first.history)
        encoded = encoder.encode(history)
        tried = first.space.encode([trial.params for trial in history])
        states.append(PlannerState(encoder, tuple(history), first.space, tried, encoded, encoded))
    return GoalsState(
        first.encoder,
        first.history,
        first.space,
        first.tried,
        first.policy,
        first.ranking,
        study=study,
        states=tuple(states),
    )


def predict_goals(
    study: StudyConfig,
    encoders: Sequence[StudyEncoder],
    history: Sequence[Trial],
    space: SpaceTransform,
    values: Array,
) -> list[Prediction]:
    """Predict every metric of points.

    Args:
        study: The whole study.
        encoders: Encoders of its views, in their order.
        history: Its trials.
        space: Its space.
        values: Points, (N, P), as in `SpaceTransform`.
    """
    first, *rest = encoders
    studies = [first.encode(history)]
    studies += [each.encode(study.view_history(each.config, history)) for each in rest]
    points = space.points(values)
    seen = space, values, space.encode([trial.params for trial in history])
    return _joined(study, history, studies, [each.predict(points) for each in studies], seen)


def log_improvement(
    goals: Sequence[PredictiveDistribution], lower: Tensor, upper: Tensor
) -> Tensor:
    """Logarithm of the expected hypervolume improvement of candidates that do not fail, (N,).

    Args:
        goals: The predictions of M independent goals, each of N candidates.
        lower: Lower corners of disjoint boxes of what is not dominated, float64, (K, M).
        upper: Upper corners, maybe infinite, (K, M).
    """
    volume: Tensor | float = 1.0
    for goal, low, high in zip(goals, lower.T, upper.T, strict=True):
        levels, index = torch.unique(torch.cat([low, high]), return_inverse=True)
        finite = levels[levels.isfinite()]
        excess = torch.nn.functional.pad(goal.excess(finite), (0, len(levels) - len(finite)))
        inside = excess[:, index[: len(low)]] - excess[:, index[len(low) :]]
        volume = volume * inside.clamp(min=0)
    return torch.log(torch.as_tensor(volume).sum(-1) + _TINY)


def _to_y(view: StudyConfig, study: EncodedStudy, values: Sequence[float]) -> Array:
    """Values of a metric in the model's scale, float64."""
    gains = torch.tensor(values, dtype=torch.double) * view.sign
    return study.scale.to_unit(gains).double().numpy()


def _limits_on_y(
    study: StudyConfig, history: Sequence[Trial], studies: Sequence[EncodedStudy]
) -> dict[str, _LimitOnY]:
    """The limits by the metric's name, of metrics of which a value is known."""
    known = {name for trial in history for name in study.metrics_of(trial)}
    limits = {}
    for position, (view, encoded) in enumerate(zip(study.views, studies, strict=True)):
        limit = study.limits.get(view.metric_name)
        if limit is not None and view.metric_name in known:
            bound = float(_to_y(view, encoded, [limit.bound])[0])
            limits[view.metric_name] = _LimitOnY(position, bound, limit.sign == view.sign)
    return limits


def _joined(
    study: StudyConfig,
    history: Sequence[Trial],
    studies: Sequence[EncodedStudy],
    every: Sequence[BinnedDistribution],
    seen: tuple[SpaceTransform, Array, Array],
) -> list[Prediction]:
    """Predictions in the user's units, of every metric of N points.

    `seen` has the space, the points and the points of the history, as `Measured` takes them.
    """
    count = len(every[0].logits)
    limits = _limits_on_y(study, history, studies)
    keeping = [study.metrics_of(trial) for trial in history if study.keeps_limits(trial)]
    metrics: dict[str, list[Prediction]] = {}
    chance = torch.ones(count, dtype=torch.double)
    for view, encoded, prediction in zip(study.views, studies, every, strict=True):
        name, best = view.metric_name, encoded.best
        if kept := [known[name] for known in keeping if name in known]:
            best = torch.tensor(_to_y(view, encoded, kept).max()).float()
        values = [study.metrics_of(trial).get(name) for trial in history]
        gains = [None if value is None else view.sign * value for value in values]
        measured = Measured.of(*seen, gains)
        each = predictions(prediction, encoded.scale, best, view, measured)
        if name in limits:
            keep = limits[name].log_kept(prediction).exp()
            chance *= keep
            each = [
                replace(one, probability_of_keeping=float(p))
                for one, p in zip(each, keep, strict=True)
            ]
        metrics[name] = each
    return [
        replace(
            metrics[study.metric_name][i],
            expected_improvement=metrics[study.metric_name][i].expected_improvement
            * float(chance[i]),
            probability_of_keeping=float(chance[i]),
            metrics={name: each[i] for name, each in metrics.items()},
        )
        for i in range(count)
    ]
