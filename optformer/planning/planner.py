"""From a study to a suggestion: candidates, scored by the model, and chosen.

A suggestion is a pure function of the study's configuration, its history, the count and the seed.
"""

from __future__ import annotations

import math
import operator
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from optformer.data.runtime.forks import freed_by_fork
from optformer.data.runtime.threads import one_torch_thread
from optformer.data.studies.errors import ConfigError, SpaceExhaustedError, StudyError
from optformer.data.studies.parameters import Value
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.model.checkpoint import Checkpoint, load_checkpoint
from optformer.planning.acquisition import ACQUISITIONS, check_strategy
from optformer.planning.candidates import (
    MAX_LISTED,
    Candidates,
    all_untried,
    any_untried,
    axis_moves,
    from_policy,
    from_space,
    join,
    mutations,
    space_filling,
    untried,
    untried_or_any,
)
from optformer.planning.distribution import BinnedDistribution
from optformer.planning.portfolio import Portfolio
from optformer.planning.prediction import Explanation, Measured, Prediction, predictions
from optformer.planning.several_goals import goals_state, predict_goals
from optformer.planning.space_transform import SpaceTransform
from optformer.planning.state import LEAST_TRUST, PlannerState, PredictedCandidates
from optformer.planning.study_encoder import StudyEncoder

ALGORITHM = "optimum"  # told in the metadata: the policy writes where the metric is best
BatchMode = Literal["placeholder", "mean", "sample"]


class _Counts(NamedTuple):
    """How many candidates of each kind: those of the last one come in a second round."""

    space: int
    mutations: int
    axes: int
    local: int


# Four times as many candidates were no better on average, and take twice as long.
_PREDICTED = _Counts(32, 64, 64, 48)  # when the model predicts all of them
_PRESCREENED, _KEPT, _KEPT_LOCAL = _Counts(64, 192, 0, 128), 32, 24  # when it predicts those kept
_POLICY_CANDIDATES = 32  # a draw costs a query for each parameter
_POLICY_PARAMETERS = 24  # of spaces with more, there are as many fewer draws
_START_TRIALS = 3  # measured trials before which the next one is of a portfolio
_START_TRUST = 0.5  # in the metadata, from which it is
_START_CANDIDATES, _HYPOTHESES = 80, 16  # of a portfolio
_REPEATED = 4  # draws a point of a batch in a finite space, where some are equal
_PARENTS = 5  # best trials that are mutated
_LOCAL_CENTERS = 8  # best candidates that are mutated in the local round
_LOCAL_SCALES = (0.002, 0.1)  # steps of these mutations, finer than those of the first round
_SHORTLIST, _SHORTLIST_LOCAL = 32, 16  # candidates weighted with where the best may lie
_PLATEAU = 8  # ties with the best at which every second trial leaves the plateau
_ESCAPE_CANDIDATES = 64
_PENDING_PASSES = 16  # in which pending trials are told to the model, so that the cost is linear
_NEAREST = 3  # past trials named in an explanation

# Planners take turns, because the number of threads is the process's.
_TURN = freed_by_fork(threading.Lock())


@dataclass(frozen=True)
class Suggestion:
    """One proposed point.

    Attributes:
        params: Active parameters and their values.
        explanation: Why it was chosen.
    """

    params: dict[str, Value]
    explanation: Explanation


class Planner:
    """Proposes trials and predicts their metric.

    Args:
        checkpoint: The model.
        strategy: How trials are chosen, a name of `STRATEGIES`.
        batch_mode: What the model reads of pending trials, earlier members of a batch among them.
            With "mean" or "sample" it reads the mean or a sample of its own prediction, as if it
            were measured. With "placeholder" it reads that they are pending; only the policy learns
            from that, so rankings keep away by local penalization (Gonzalez et al. 2016).

    Raises:
        ConfigError: The strategy or batch mode is unknown.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        strategy: str = "ei",
        batch_mode: BatchMode = "mean",
    ):
        check_strategy(strategy)
        if batch_mode not in get_args(BatchMode):
            raise ConfigError(
                f"unknown batch mode {batch_mode!r}; known are {list(get_args(BatchMode))}"
            )
        self.checkpoint, self.strategy, self.batch_mode = checkpoint, strategy, batch_mode
        self._encoders: tuple[StudyEncoder, ...] = ()  # of the last study, one a metric

    def suggest(
        self,
        config: StudyConfig,
        history: Sequence[Trial],
        count: int,
        *,
        seed: int,
        fixed: Mapping[str, Value] | None = None,
    ) -> list[Suggestion]:
        """Propose the next trials.

        Args:
            config: The study. With several goals the expected hypervolume improvement ranks the
                candidates, with limits it is weighted by the chance to keep them; see
                `optformer.planning.several_goals`.
            history: All its trials, pending and failed ones too.
            count: How many trials; each sees the earlier ones of the call as pending.
            seed: Seed of the study; every length of the history has its own stream of it.
            fixed: Parameters held at one value for this call, beside the study's own.

        Raises:
            SpaceExhaustedError: A finite space has fewer points left.
            ConfigError: The study has several goals or limits, and the strategy or batch mode is
                for one goal only.
        """
        rng = np.random.default_rng([seed, len(history)])
        history = [trial for trial in history if not trial.interrupted]
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        chosen: list[Suggestion] = []
        with _TURN, one_torch_thread(), torch.inference_mode():
            state = self._state(config, history, {**config.fixed, **(fixed or {})}, generator)
            if self.strategy == "optimum":
                drawn = state.predict(self._draw(state, count, rng, generator))
                picks = [drawn.take([index]) for index in range(count)]
                return [_explain(state, picked, len(history)) for picked in picks]
            pool = portfolio = None
            for member in range(count):
                try:
                    if _knows_a_start(state):
                        if not portfolio:
                            portfolio = self._portfolio(state, count, seed)
                        picked = state.predict(portfolio.take())
                    elif state.history and not state.measured:
                        # Knowing no value, the model would put all of a batch in one place.
                        index = len(history) + member
                        filling = space_filling(state.space, state.tried, seed, index, rng)
                        picked = state.predict(filling)
                    elif (ties := state.ties) and rng.random() < ties / (ties + _PLATEAU):
                        picked = self._escape_plateau(state, rng, generator)
                    else:
                        if pool is None:
                            pool = self._pool(state, rng, generator)
                        picked = self._rank(state, pool, rng, generator)
                except SpaceExhaustedError:
                    if not chosen:
                        raise
                    raise _too_few(count, member) from None
                chosen.append(_explain(state, picked, len(history)))
                if member + 1 < count:
                    state = state.assume(picked, partial(self._assume, generator=generator))
        return chosen

    def predict(
        self,
        config: StudyConfig,
        history: Sequence[Trial],
        points: Sequence[Mapping[str, Value]],
    ) -> list[Prediction]:
        """Predict the metric of points, each on its own, in the metric's units and sign.

        Args:
            config: The study.
            history: All its trials; interrupted ones say nothing.
            points: Legal points of the space.

        Raises:
            StudyError: No trial has a value yet, so there is no scale to predict on.
            SearchSpaceError: A point is not legal.
        """
        if not any(trial.has_value for trial in history):
            raise StudyError("a prediction needs at least one observed trial; observe one first")
        history = [trial for trial in history if not trial.interrupted]
        space = SpaceTransform(config.space, {})
        values = space.encode([config.space.validate(point) for point in points])
        with _TURN, one_torch_thread(), torch.inference_mode():
            if config.several:
                return predict_goals(config, self._studied(config), history, space, values)
            study = self._encoder(config).encode(history)
            predicted = study.predict(space.points(values))
            tried = space.encode([trial.params for trial in history])
            measured = Measured.of(space, values, tried, config.gains(history))
            return predictions(predicted, study.scale, study.best, config, measured)

    def _encoder(self, config: StudyConfig) -> StudyEncoder:
        """The encoder of a study of one metric; that of the last call when it is the same study."""
        return self._studied(config)[0]

    def _studied(self, config: StudyConfig) -> tuple[StudyEncoder, ...]:
        """The encoders of a study, one a metric; those of the last call when it is the same one."""
        known = tuple(encoder.config for encoder in self._encoders)
        if len(known) != len(config.views) or any(map(operator.is_not, known, config.views)):
            self._encoders = tuple(
                StudyEncoder(self.checkpoint, view, ALGORITHM) for view in config.views
            )
        return self._encoders

    def _state(
        self,
        config: StudyConfig,
        history: Sequence[Trial],
        fixed: Mapping[str, Value],
        generator: torch.Generator,
    ) -> PlannerState:
        """The state of a study: settled trials are encoded, pending ones follow the batch mode."""
        space = SpaceTransform(config.space, fixed)
        settled = [trial for trial in history if trial.status is not TrialStatus.PENDING]
        pending = [trial.params for trial in history if trial.status is TrialStatus.PENDING]
        encoders = self._studied(config)
        study = encoders[0].encode(settled)
        tried = space.encode([trial.params for trial in settled])
        state = PlannerState(encoders[0], tuple(settled), space, tried, study, study)
        if config.several:
            self._check_several()
            state = goals_state(state, config, encoders[1:])
        # One by one if they are few, so that each knows what is assumed of those before it.
        points = space.encode(pending)
        together = math.ceil(len(points) / _PENDING_PASSES)
        for start in range(0, len(points), max(together, 1)):
            values = points[start : start + together]
            source = np.full(len(values), "pending")
            predicted = state.predict(Candidates(values, source))
            state = state.assume(predicted, partial(self._assume, generator=generator))
        return state

    def _check_several(self) -> None:
        """Refuse what is for one goal only."""
        if self.strategy != "ei" or self.batch_mode == "placeholder":
            raise ConfigError(
                "several goals and limits need the strategy 'ei' and the batch mode 'mean' or "
                f"'sample', got {self.strategy!r} and {self.batch_mode!r}"
            )

    def _draw(
        self, state: PlannerState, count: int, rng: np.random.Generator, generator: torch.Generator
    ) -> Candidates:
        """Independent draws of where the metric is best, all at once, none of them tried before."""
        space = state.space
        drawn = from_policy(
            state.policy, space, count * (_REPEATED if space.finite else 1), generator
        )
        fresh = drawn.select(space.unseen(drawn.values, state.tried))
        if len(fresh) < count:  # the belief is narrower than the batch
            tried = np.concatenate([state.tried, fresh.values])
            try:
                fresh = join(fresh, any_untried(space, tried, rng))
            except SpaceExhaustedError:
                if not len(fresh):
                    raise
        if len(fresh) < count:
            raise _too_few(count, len(fresh))
        return fresh.select([*range(count)])

    def _portfolio(self, state: PlannerState, count: int, seed: int) -> Portfolio:
        """Draws of the policy before any trial, of which the first trials are chosen.

        What the first trials measured is not looked at: a scale of so few values says less than
        the metadata. Each call of a study draws the same hypotheses.
        """
        space, study = state.space, state.encoder.encode([])
        generator = torch.Generator().manual_seed(seed % 2**63)
        draws = max(_affordable(_START_CANDIDATES, space), 2 * count)
        drawn = from_policy(study, space, draws, generator)
        rng = np.random.default_rng(seed)
        candidates = untried_or_any(space, drawn, state.tried, rng)
        return Portfolio(study, space, drawn.values[:_HYPOTHESES], candidates, state.tried)

    def _pool(
        self, state: PlannerState, rng: np.random.Generator, generator: torch.Generator
    ) -> Candidates:
        """Candidates of the first round, shared by all members of a batch."""
        space = state.space
        if _listed(space):
            return all_untried(space, state.tried)
        parents = state.best_points(_PARENTS)
        counts = _PRESCREENED if _prescreens(state) else _PREDICTED
        parts = [from_space(space, counts.space, rng)]
        parts.append(mutations(space, parents, counts.mutations if len(parents) else 0, rng))
        parts.append(axis_moves(space, parents, counts.axes if len(parents) else 0, rng))
        if state.early:
            share = _affordable(_POLICY_CANDIDATES, space) // len(state.policies)
            parts += [from_policy(each, space, share, generator) for each in state.policies]
        return untried(space, join(*parts), state.tried)

    def _rank(
        self,
        state: PlannerState,
        pool: Candidates,
        rng: np.random.Generator,
        generator: torch.Generator,
    ) -> PredictedCandidates:
        """The best candidate: of the pool, or of a local round around its best."""
        acquisition, space = ACQUISITIONS[self.strategy], state.space
        prescreens = _prescreens(state)
        pool = untried_or_any(space, pool, state.tried, rng)
        if prescreens:
            pool = state.prescreen(pool, _KEPT, acquisition, generator)
        predicted = state.predict(pool)
        slope = state.slope(pool, predicted.prediction)
        predicted, score = self._weigh(state, predicted, slope, _SHORTLIST, generator)
        if not _listed(space):
            best = score.topk(min(_LOCAL_CENTERS, len(score))).indices.numpy()
            centers = predicted.candidates.values[best]
            count = (_PRESCREENED if prescreens else _PREDICTED).local
            finest = min(_LOCAL_SCALES[0], state.reach_of_best)
            local = mutations(space, centers, count, rng, "local", (finest, _LOCAL_SCALES[1]))
            local = untried(space, local, state.tried)
            if prescreens:
                local = state.prescreen(local, _KEPT_LOCAL, acquisition, generator)
            if len(local):
                nearby = state.predict(local)
                nearby, nearby_score = self._weigh(
                    state, nearby, slope, _SHORTLIST_LOCAL, generator
                )
                predicted = predicted.join(nearby)
                score = torch.cat([score, nearby_score])
        return predicted.take([int(score.argmax())])

    def _weigh(
        self,
        state: PlannerState,
        predicted: PredictedCandidates,
        slope: float,
        count: int,
        generator: torch.Generator,
    ) -> tuple[PredictedCandidates, Tensor]:
        """Candidates with their scores: all, or early in a study a short list.

        The belief of where the best lies costs a query a parameter. So it is asked about the
        candidates with the highest scores, `count` of them, and about the policy's own.
        """
        score = state.score(predicted, ACQUISITIONS[self.strategy], slope, generator)
        if not state.early or state.trust < LEAST_TRUST:
            return predicted, score
        kept = torch.from_numpy(predicted.candidates.source == "optimum")
        count = min(_affordable(count, state.space), len(score))
        kept[score.topk(count).indices] = True
        index = kept.nonzero()[:, 0]
        short = predicted.take(index.tolist())
        return short, score[index] + state.optimum_prior(short.candidates)

    def _escape_plateau(
        self, state: PlannerState, rng: np.random.Generator, generator: torch.Generator
    ) -> PredictedCandidates:
        """Of points anywhere in the space, the best by a sample of each one's y.

        Trials that only equal the best say that the search stands on a plateau above others. There
        the improvement that the model expects of noise nearby outweighs the small probability that
        all is different elsewhere.
        """
        anywhere = from_space(state.space, _ESCAPE_CANDIDATES, rng)
        predicted = state.predict(untried_or_any(state.space, anywhere, state.tried, rng))
        score = ACQUISITIONS["ts"].score(predicted.prediction, state.best, generator)
        return predicted.take([int(score.argmax())])

    def _assume(
        self, prediction: BinnedDistribution, generator: torch.Generator
    ) -> list[float] | None:
        """The y to assume for pending trials, None for placeholders."""
        if self.batch_mode == "placeholder":
            return None
        if self.batch_mode == "mean":
            means: list[float] = prediction.mean.tolist()
            return means
        drawn: list[float] = prediction.sample_center(generator).tolist()
        return drawn


def _too_few(asked: int, left: int) -> SpaceExhaustedError:
    return SpaceExhaustedError(
        f"{asked} points were asked for and {left} of this space are left; ask for at most {left}"
    )


def _listed(space: SpaceTransform) -> bool:
    """Whether every point of the space is a candidate."""
    return space.listed(MAX_LISTED) is not None


def _affordable(count: int, space: SpaceTransform) -> int:
    """So many questions to the policy take no longer in a space of very many parameters."""
    return count * _POLICY_PARAMETERS // max(len(space.names), _POLICY_PARAMETERS)


def _knows_a_start(state: PlannerState) -> bool:
    """Whether the next trial is of a portfolio: few are measured, and the metadata tell a lot."""
    return (
        len(state.measured) < _START_TRIALS
        and state.trust > _START_TRUST
        and len(state.policies) == 1
    )


def _prescreens(state: PlannerState) -> bool:
    """Whether the Gaussian processes choose which candidates the model predicts.

    They know enough after some trials, but nothing of failures.
    """
    return not (state.early or state.failed or _listed(state.space))


def _explain(state: PlannerState, picked: PredictedCandidates, past: int) -> Suggestion:
    """The suggestion of a picked candidate; only the first, past trials can be its neighbours."""
    values, source = picked.candidates.values, picked.candidates.source
    prediction = state.describe(picked) if state.measured else None
    distances = state.space.distances(state.tried[:past], values)[:, 0]
    order = np.argsort(distances, kind="stable")
    nearest = tuple(state.history[i].number for i in order[:_NEAREST])
    return Suggestion(
        state.space.decode(values[0]), Explanation(prediction, nearest, str(source[0]))
    )


def load_planner(
    model: str | Path | None = None,
    *,
    strategy: str = "ei",
    batch_mode: BatchMode = "mean",
) -> Planner:
    """A planner on a checkpoint directory, or on the shipped checkpoint when none is given."""
    return Planner(load_checkpoint(model), strategy=strategy, batch_mode=batch_mode)
