"""From a study to a suggestion: candidates, scored by the model, and chosen.

A suggestion is a pure function of the study's configuration, its history, the count and the seed.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from optformer.data.runtime.threads import one_torch_thread
from optformer.data.studies.errors import ConfigError, SpaceExhaustedError, StudyError
from optformer.data.studies.parameters import Value
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.model.checkpoint import Checkpoint, load_checkpoint
from optformer.planning.acquisition import (
    ACQUISITIONS,
    SCREENS,
    acquisition,
    failure_penalty,
    moments,
    thompson_sample,
)
from optformer.planning.candidates import (
    MAX_LISTED,
    Candidates,
    all_untried,
    anything_new,
    from_policy,
    from_space,
    join,
    near,
    space_filling,
    untried,
    untried_or_new,
)
from optformer.planning.prediction import Explanation, Prediction, predictions
from optformer.planning.space_transform import SpaceTransform
from optformer.planning.state import EARLY, PlannerState, Scored
from optformer.planning.study_encoder import StudyEncoder

STRATEGIES = (*ACQUISITIONS, "policy")
ALGORITHM = "gp ei"  # named in the metadata: what the policy imitates, and how trials are chosen
BatchMode = Literal["placeholder", "mean", "sample"]

LOCAL_CENTRES = 8
POLICY_CANDIDATES = 8
LOCAL_SCALES = (0.002, 0.1)
PLATEAU = 8  # trials that only equal the best, after which every second one looks elsewhere
ELSEWHERE = 64  # candidates there
PARENTS = 5  # best trials that are mutated
NEAREST = 3  # past trials named in an explanation

_TURN = threading.Lock()  # planners take turns, because the number of threads is the process's


class _Counts(NamedTuple):
    """How many candidates come from the space, from mutations, and in the local round."""

    space: int
    mutations: int
    local: int


_ALL_ASKED = _Counts(32, 64, 48)  # the model is asked about all of them
_SCREENED, _KEPT, _KEPT_LOCAL = _Counts(64, 192, 128), 32, 24  # about the most promising ones


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
        strategy: "ei", "pi", "ucb" or "ts" rank candidates; "policy" imitates without ranking.
        batch_mode: What the model is told of pending trials, earlier members of a batch among them:
            its own prediction as if it were measured (its "mean" or a "sample"), which moves a
            ranking elsewhere; or the pending "placeholder", from which only a policy learns, so
            that a ranking keeps away by local penalization (Gonzalez et al. 2016).

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
        if strategy not in STRATEGIES:
            raise ConfigError(f"unknown strategy {strategy!r}; known are {sorted(STRATEGIES)}")
        if batch_mode not in get_args(BatchMode):
            raise ConfigError(
                f"unknown batch mode {batch_mode!r}; known are {list(get_args(BatchMode))}"
            )
        self.checkpoint, self.strategy, self.batch_mode = checkpoint, strategy, batch_mode
        self._last_encoder: StudyEncoder | None = None

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
            config: The study.
            history: All its trials, pending and failed ones too.
            count: How many trials; each sees the earlier ones of the call as pending.
            seed: Seed of the study; every length of the history has its own stream of it.
            fixed: Parameters held at one value for this call, beside the study's own.

        Raises:
            SpaceExhaustedError: A finite space has fewer points left.
        """
        rng = np.random.default_rng([seed, len(history)])
        history = [trial for trial in history if not trial.interrupted]
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        chosen: list[Suggestion] = []
        with _TURN, one_torch_thread(), torch.inference_mode():
            state = self._state(config, history, {**config.fixed, **(fixed or {})}, generator)
            pool = None
            for member in range(count):
                try:
                    if self.strategy == "policy":
                        picked = state.ask(self._imitate(state, generator))
                    elif state.history and not state.measured:
                        # Knowing no value, the model would put all of a batch in one place.
                        place = len(history) + member
                        picked = state.ask(
                            space_filling(state.space, state.tried, seed, place, rng)
                        )
                    elif (ties := state.ties) and rng.random() < ties / (ties + PLATEAU):
                        picked = self._escape_plateau(state, rng, generator)
                    else:
                        if pool is None:
                            pool = self._pool(state, rng, generator)
                        picked = self._ranked(state, pool, rng, generator)
                except SpaceExhaustedError:
                    if not chosen:
                        raise
                    raise SpaceExhaustedError(
                        f"{count} points were asked for and {member} of this space are left; "
                        f"ask for at most {member}"
                    ) from None
                chosen.append(_explain(state, picked, len(history)))
                if member + 1 < count:
                    state = state.with_pending(picked, self._assumed(picked.logits, generator))
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
            study = self._encoder(config).encode(history)
            logits = study.metric_logits(space.points(values))
            return predictions(logits, study.scale, study.best, config.sign)

    def _encoder(self, config: StudyConfig) -> StudyEncoder:
        """The study's encoder, that of the last call when it is the same study."""
        if self._last_encoder is None or self._last_encoder.config is not config:
            self._last_encoder = StudyEncoder(self.checkpoint, config, ALGORITHM)
        return self._last_encoder

    def _state(
        self,
        config: StudyConfig,
        history: Sequence[Trial],
        fixed: Mapping[str, Value],
        generator: torch.Generator,
    ) -> PlannerState:
        """The study, with its pending trials told the way of the batch mode."""
        space = SpaceTransform(config.space, fixed)
        settled = [trial for trial in history if trial.status is not TrialStatus.PENDING]
        pending = [trial.params for trial in history if trial.status is TrialStatus.PENDING]
        encoder = self._encoder(config)
        study = encoder.encode(settled)
        tried = space.encode([trial.params for trial in settled])
        state = PlannerState(encoder, tuple(settled), space, tried, study, study)
        for values in space.encode(pending):
            asked = state.ask(Candidates(values[None], np.array(["pending"])))
            state = state.with_pending(asked, self._assumed(asked.logits, generator))
        return state

    def _imitate(self, state: PlannerState, generator: torch.Generator) -> Candidates:
        """One sample of the policy; in a finite space, one that was not tried."""
        if not state.space.finite:
            return from_policy(state.policy, state.space, 1, generator)
        fresh = from_policy(state.policy, state.space, 16, generator)
        fresh = untried(state.space, fresh, state.tried)
        if not len(fresh):
            rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
            fresh = anything_new(state.space, state.tried, rng)
        return fresh.select([0])

    def _pool(
        self, state: PlannerState, rng: np.random.Generator, generator: torch.Generator
    ) -> Candidates:
        """The first round's candidates, shared by all members of a batch."""
        space = state.space
        if _listed(space):
            return all_untried(space, state.tried)
        measured = [i for i, trial in enumerate(state.history) if trial.has_value]
        values = [state.encoder.config.sign * (state.history[i].value or 0.0) for i in measured]
        best = np.argsort(-np.array(values), kind="stable")[:PARENTS]
        parents = space.project(state.tried[measured][best])
        counts = _SCREENED if _screens(state) else _ALL_ASKED
        parts = [from_space(space, counts.space, rng)]
        parts.append(near(space, parents, counts.mutations if len(parents) else 0, rng))
        if len(state.history) < EARLY:
            parts.append(from_policy(state.policy, space, POLICY_CANDIDATES, generator))
        return untried(space, join(*parts), state.tried)

    def _ranked(
        self,
        state: PlannerState,
        pool: Candidates,
        rng: np.random.Generator,
        generator: torch.Generator,
    ) -> Scored:
        """The best candidate: of the pool, or of a local round around its best."""
        rank, space, best = acquisition(self.strategy), state.space, state.ranking.best
        screen = SCREENS[self.strategy] if _screens(state) else None
        pool = untried_or_new(space, pool, state.tried, rng)
        if screen:
            pool = state.screened(pool, _KEPT, screen, generator)
        asked = state.ask(pool)
        slope = state.slope(asked)

        def scored(answered: Scored) -> Tensor:
            score = rank(answered.logits, best, generator)
            score = score + state.preference(answered.candidates, slope)
            return score + failure_penalty(answered.logits) if state.failed else score

        score = scored(asked)
        if not _listed(space):
            centres = pool.values[score.topk(min(LOCAL_CENTRES, len(pool))).indices.numpy()]
            count = (_SCREENED if screen else _ALL_ASKED).local
            local = near(space, centres, count, rng, "local", LOCAL_SCALES)
            local = untried(space, local, state.tried)
            if screen:
                local = state.screened(local, _KEPT_LOCAL, screen, generator)
            if len(local):
                answered = state.ask(local)
                asked = asked.join(answered)
                score = torch.cat([score, scored(answered)])
        return asked.select(int(score.argmax()))

    def _escape_plateau(
        self, state: PlannerState, rng: np.random.Generator, generator: torch.Generator
    ) -> Scored:
        """Of points anywhere in the space, the best by a sample of each one's value.

        Trials that only equal the best say that the search stands on a plateau above others, where
        the little that the model expects of noise nearby outweighs the little chance that all is
        different elsewhere.
        """
        anywhere = from_space(state.space, ELSEWHERE, rng)
        asked = state.ask(untried_or_new(state.space, anywhere, state.tried, rng))
        value = thompson_sample(asked.logits, state.ranking.best, generator)
        return asked.select(int(value.argmax()))

    def _assumed(self, logits: Tensor, generator: torch.Generator) -> float | None:
        """The scaled value a pending trial is told to have, None for the placeholder."""
        if self.batch_mode == "placeholder":
            return None
        if self.batch_mode == "mean":
            return float(moments(logits)[0])
        chances = logits[0, :-1].softmax(-1)
        drawn = float(torch.multinomial(chances, 1, generator=generator))
        return (drawn + 0.5) / chances.shape[-1]


def _listed(space: SpaceTransform) -> bool:
    """Whether every point of the space is a candidate."""
    return space.size is not None and space.size <= MAX_LISTED


def _screens(state: PlannerState) -> bool:
    """Whether the processes choose which candidates the model is asked about.

    They know enough after some trials, but nothing of failures.
    """
    return len(state.history) >= EARLY and not state.failed and not _listed(state.space)


def _explain(state: PlannerState, picked: Scored, past: int) -> Suggestion:
    """The suggestion of a picked candidate; only the first, past trials can be its neighbours."""
    values, source = picked.candidates.values, picked.candidates.source
    prediction = None
    if state.measured:
        study, sign = state.ranking, state.encoder.config.sign
        prediction = predictions(picked.logits, study.scale, study.best, sign)[0]
    distances = state.space.distances(state.tried[:past], values)[:, 0]
    order = np.argsort(distances, kind="stable")
    nearest = tuple(state.history[i].number for i in order[:NEAREST])
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
