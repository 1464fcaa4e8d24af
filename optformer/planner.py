"""From a study to a suggestion: candidates, scored by the model, and chosen.

A suggestion is a pure function of the study's configuration, its history, the count and the seed.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from optformer.acquisition import (
    ACQUISITIONS,
    acquisition,
    local_penalty,
    moments,
    steepest_slope,
)
from optformer.candidates import (
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
)
from optformer.checkpoint import Checkpoint, load_checkpoint
from optformer.data.errors import ConfigError, StudyError
from optformer.data.parameters import Value
from optformer.data.studies import StudyConfig
from optformer.data.trials import Trial, TrialStatus
from optformer.encoded_space import Array, EncodedSpace
from optformer.prediction import Explanation, Prediction, predictions
from optformer.scoring import StudyModel, read_study
from optformer.zoom import zoom

STRATEGIES = (*ACQUISITIONS, "policy")
ALGORITHM = "gp ei"  # named in the metadata: what the policy imitates, and how trials are chosen
BatchMode = Literal["placeholder", "mean", "sample"]

SPACE_CANDIDATES, MUTATION_CANDIDATES, POLICY_CANDIDATES = 32, 96, 32
LOCAL_CANDIDATES, LOCAL_CENTRES = 64, 8
LOCAL_SCALES = (0.002, 0.1)
PARENTS = 5  # best trials that are mutated
SLOPE_CANDIDATES = 256  # compared with each other
ZOOM_FROM, ZOOM_EVERY = 20, 2  # trials before the first look from near, and from one to the next
NEAREST = 3  # past trials named in an explanation

_TURN = threading.Lock()


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
            SpaceExhaustedError: Every point of a finite space has been tried.
        """
        rng = np.random.default_rng([seed, len(history)])
        history = [trial for trial in history if not trial.interrupted]
        space = EncodedSpace(config.space, {**config.fixed, **(fixed or {})})
        tried = space.encode([trial.params for trial in history])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        measured = any(trial.has_value for trial in history)
        chosen: list[Suggestion] = []
        with _one_thread(), torch.inference_mode():
            study = self._read(space, config, history, generator)
            pool = None
            for member in range(count):
                if self.strategy == "policy":
                    proposed = self._imitate(study.policy, space, tried, generator)
                    picked = _ask(study.ranking, space, proposed)
                elif len(tried) and not measured:
                    # Knowing no value, the model would put all of a batch in one place.
                    filling = space_filling(space, tried, seed, len(history) + member, rng)
                    picked = _ask(study.ranking, space, filling)
                else:
                    near_best = None
                    if len(tried) >= ZOOM_FROM and (len(tried) - ZOOM_FROM) % ZOOM_EVERY == 0:
                        told = [*history, *_pending(history, chosen)]
                        near_best = self._near_best(space, config, told, rng, generator)
                    if near_best is not None:
                        picked = _ask(study.ranking, space, near_best)
                    else:
                        if pool is None:
                            pool = self._pool(
                                study.policy, space, config, history, tried, rng, generator
                            )
                        picked = self._ranked(study, space, pool, tried, rng, generator)
                chosen.append(_explain(study.ranking, space, config, history, picked))
                tried = np.concatenate([tried, picked.candidates.values])
                if member + 1 < count:
                    study = self._tell(study, space, picked, generator)
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
        space = EncodedSpace(config.space, {})
        values = space.encode([config.space.validate(point) for point in points])
        with _one_thread(), torch.inference_mode():
            study = read_study(self.checkpoint, config, history, ALGORITHM)
            logits = study.metric_logits(space.points(values))
            return predictions(logits, study.scale, study.best, config.sign)

    def _read(
        self,
        space: EncodedSpace,
        config: StudyConfig,
        history: Sequence[Trial],
        generator: torch.Generator,
    ) -> _Study:
        """The study, with its pending trials told the way of the batch mode."""
        pending = [trial.params for trial in history if trial.status is TrialStatus.PENDING]
        settled = [trial for trial in history if trial.status is not TrialStatus.PENDING]
        measured = read_study(self.checkpoint, config, settled, ALGORITHM)
        study = _Study(space, measured, measured)
        if pending and self.batch_mode == "placeholder":
            told = read_study(self.checkpoint, config, history, ALGORITHM)
            points = Candidates(space.encode(pending), np.full(len(pending), "pending"))
            return replace(study, policy=told, avoided=_ask(measured, space, points))
        for values in space.encode(pending):
            asked = _ask(study.ranking, space, Candidates(values[None], np.array(["pending"])))
            study = self._tell(study, space, asked, generator)
        return study

    def _tell(
        self, study: _Study, space: EncodedSpace, pending: _Scored, generator: torch.Generator
    ) -> _Study:
        """The study with one more pending trial."""
        points = space.points(pending.candidates.values)
        if self.batch_mode == "placeholder":
            told = study.policy.append(points, None)
            avoided = pending if study.avoided is None else study.avoided.join(pending)
            return replace(study, policy=told, avoided=avoided)
        told = study.policy.append(points, self._assumed(pending.logits, generator))
        return replace(study, policy=told, ranking=told)

    def _near_best(
        self,
        space: EncodedSpace,
        config: StudyConfig,
        history: Sequence[Trial],
        rng: np.random.Generator,
        generator: torch.Generator,
    ) -> Candidates | None:
        """What the model would try if the neighbourhood of the best were the whole study."""
        fixed = space.fixed_values
        zoomed = zoom(config, history, fixed)
        if zoomed is None:
            return None
        config, inside = zoomed
        box = EncodedSpace(config.space, fixed)
        tried = box.encode([trial.params for trial in inside])
        study = self._read(box, config, inside, generator)
        pool = self._pool(study.policy, box, config, inside, tried, rng, generator)
        picked = self._ranked(study, box, pool, tried, rng, generator).candidates
        return Candidates(space.encode([box.decode(picked.values[0])]), picked.source)

    def _imitate(
        self, study: StudyModel, space: EncodedSpace, tried: Array, generator: torch.Generator
    ) -> Candidates:
        """One sample of the policy; in a finite space, one that was not tried."""
        if not space.finite:
            return from_policy(study, space, 1, generator)
        fresh = untried(space, from_policy(study, space, 16, generator), tried)
        if not len(fresh):
            rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
            fresh = anything_new(space, tried, rng)
        return fresh.select([0])

    def _pool(
        self,
        study: StudyModel,
        space: EncodedSpace,
        config: StudyConfig,
        history: Sequence[Trial],
        tried: Array,
        rng: np.random.Generator,
        generator: torch.Generator,
    ) -> Candidates:
        """The first round's candidates, shared by all members of a batch."""
        if space.size is not None and space.size <= MAX_LISTED:
            return all_untried(space, tried)
        values = np.array([config.sign * t.value for t in history if t.value is not None])
        measured = tried[[i for i, t in enumerate(history) if t.has_value]]
        best = space.legal(measured[np.argsort(-values, kind="stable")[:PARENTS]])
        pool = join(
            from_space(space, SPACE_CANDIDATES, rng),
            near(space, best, MUTATION_CANDIDATES if len(best) else 0, rng),
            from_policy(study, space, POLICY_CANDIDATES, generator),
        )
        return untried(space, pool, tried)

    def _ranked(
        self,
        study: _Study,
        space: EncodedSpace,
        pool: Candidates,
        tried: Array,
        rng: np.random.Generator,
        generator: torch.Generator,
    ) -> _Scored:
        """The best candidate: of the pool, or of a local round around its best."""
        rank = acquisition(self.strategy)
        pool = untried(space, pool, tried)
        if not len(pool):
            pool = anything_new(space, tried, rng)
        asked = _ask(study.ranking, space, pool)
        slope = study.slope(asked)
        score = rank(asked.logits, study.ranking.best, generator) + study.penalty(asked, slope)
        if space.size is None or space.size > MAX_LISTED:
            centres = pool.values[score.topk(min(LOCAL_CENTRES, len(pool))).indices.numpy()]
            local = near(space, centres, LOCAL_CANDIDATES, rng, "local", LOCAL_SCALES)
            local = untried(space, local, tried)
            if len(local):
                answered = _ask(study.ranking, space, local)
                asked = asked.join(answered)
                more = rank(answered.logits, study.ranking.best, generator)
                score = torch.cat([score, more + study.penalty(answered, slope)])
        return asked.select(int(score.argmax()))

    def _assumed(self, logits: Tensor, generator: torch.Generator) -> float:
        """The scaled value a pending trial is told to have."""
        if self.batch_mode == "mean":
            return float(moments(logits)[0])
        chances = logits[0, :-1].softmax(-1)
        drawn = float(torch.multinomial(chances, 1, generator=generator))
        return (drawn + 0.5) / chances.shape[-1]


@dataclass(frozen=True)
class _Scored:
    """Candidates with the model's answer, logits over bins and `failed`, (N, Q + 1)."""

    candidates: Candidates
    logits: Tensor

    def join(self, other: _Scored) -> _Scored:
        return _Scored(
            join(self.candidates, other.candidates), torch.cat([self.logits, other.logits])
        )

    def select(self, index: int) -> _Scored:
        return _Scored(self.candidates.select([index]), self.logits[[index]])


@dataclass(frozen=True)
class _Study:
    """A study with its pending trials.

    Attributes:
        space: Its space.
        policy: What proposes candidates; reads the pending trials.
        ranking: What scores them; reads the pending trials that have an assumed value.
        avoided: Pending trials that it does not read, as it predicted them.
    """

    space: EncodedSpace
    policy: StudyModel
    ranking: StudyModel
    avoided: _Scored | None = None

    def slope(self, asked: _Scored) -> float:
        """The steepest predicted mean between candidates, 0 when nothing is avoided."""
        if self.avoided is None:
            return 0.0
        some = slice(None, None, math.ceil(len(asked.candidates) / SLOPE_CANDIDATES))
        values = asked.candidates.values[some]
        return steepest_slope(asked.logits[some], self.space.distances(values, values))

    def penalty(self, asked: _Scored, slope: float) -> Tensor | float:
        """What keeps candidates away from the avoided trials, (N,)."""
        if self.avoided is None:
            return 0.0
        pending = self.avoided
        gap = self.space.distances(asked.candidates.values, pending.candidates.values)
        return local_penalty(pending.logits, gap, self.ranking.best, slope)


def _ask(study: StudyModel, space: EncodedSpace, candidates: Candidates) -> _Scored:
    return _Scored(candidates, study.metric_logits(space.points(candidates.values)))


def _explain(
    study: StudyModel,
    space: EncodedSpace,
    config: StudyConfig,
    history: Sequence[Trial],
    picked: _Scored,
) -> Suggestion:
    values, source = picked.candidates.values, picked.candidates.source
    prediction = None
    if any(trial.has_value for trial in history):
        prediction = predictions(picked.logits, study.scale, study.best, config.sign)[0]
    past = space.encode([trial.params for trial in history])
    order = np.argsort(space.distances(past, values)[:, 0], kind="stable")
    nearest = tuple(history[i].number for i in order[:NEAREST])
    return Suggestion(space.decode(values[0]), Explanation(prediction, nearest, str(source[0])))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread of torch: the matrices are small, and jobs being tuned fill the other cores.

    Several threads wait for each other at every operation, on a busy machine for seconds. The
    setting is the process's, so planners take turns.
    """
    with _TURN:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def load_planner(
    model: str | Path | None = None,
    *,
    strategy: str = "ei",
    batch_mode: BatchMode = "mean",
) -> Planner:
    """A planner on a checkpoint directory, or on the shipped checkpoint when none is given."""
    return Planner(load_checkpoint(model), strategy=strategy, batch_mode=batch_mode)


def _pending(history: Sequence[Trial], chosen: Sequence[Suggestion]) -> list[Trial]:
    """Earlier members of a batch as pending trials."""
    first = 1 + max((trial.number for trial in history), default=-1)
    return [Trial(number=first + i, params=member.params) for i, member in enumerate(chosen)]
