"""Does the policy search as well as the methods it imitates, and in the same way?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from tqdm import tqdm

from optformer.data.corpora.synthetic.histories import METHODS as SYNTHETIC
from optformer.data.methods import METHODS, SearchMethod, create
from optformer.data.methods.registry import algorithm_of
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Value
from optformer.data.studies.trials import Trial
from optformer.model.checkpoint import Checkpoint
from optformer.planning.decoding import draw_trials
from optformer.planning.space_transform import SpaceTransform
from optformer.planning.study_encoder import StudyEncoder
from optformer.training.bootstrap import Array, Estimate, mean, ratio
from optformer.training.evaluation.synthetic_tasks import (
    SyntheticTask,
    draw_task,
    regrets,
    search,
)

TEACHERS = ("random", "regularized-evolution", "gp-ei")

_Make = Callable[[SyntheticTask], SearchMethod]

_BASELINE = "random"
_TRAINED = {name.replace(" ", "-"): name for name in SYNTHETIC}  # registered name to trained one


@dataclass(frozen=True)
class ImitationScore:
    """One teacher, the policy that imitates it, and random search on the same tasks.

    Regret is (top - best so far) / (top - median), top and median being those of 1,000 random
    points, at most 1 and maybe below 0. A step is the distance of a trial from the incumbent before
    it: root of the mean over the parameters of the squared difference on the unit interval, 1 for
    another choice and for a parameter that only one of both has.

    Attributes:
        teacher: Registered name of the method.
        learned: Whether its histories were among the checkpoint's training data.
        tasks: Synthetic functions without noise, never seen in training.
        seeds: Searches of each on every task.
        trials: Trials of each search.
        regret_random: Final regret of random search.
        regret_teacher: Final regret of the teacher.
        regret_policy: Final regret of the policy, given the teacher's name.
        gap_share: (policy - teacher) / (random - teacher) of the final regrets; 0 is as good as the
            teacher and 1 as random search. None when teacher and random search do not differ: the
            interval of the difference holds 0.
        step_random: Mean step of random search.
        step_teacher: Mean step of the teacher.
        step_difference: Mean step of the policy less the teacher's.
        regret_curves: Searcher (`random`, `teacher`, `policy`) to mean regret after each trial.
        step_curves: Searcher to mean step of each trial but the first.
    """

    teacher: str
    learned: bool
    tasks: int
    seeds: int
    trials: int
    regret_random: Estimate
    regret_teacher: Estimate
    regret_policy: Estimate
    gap_share: Estimate | None
    step_random: Estimate
    step_teacher: Estimate
    step_difference: Estimate
    regret_curves: Mapping[str, tuple[float, ...]]
    step_curves: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class _Searches:
    """Regrets (K, S, T) and steps (K, S, T - 1) of one searcher."""

    regret: Array
    step: Array


def imitation_scores(
    checkpoint: Checkpoint,
    *,
    teachers: Sequence[str] = TEACHERS,
    tasks: int = 30,
    seeds: int = 20,
    trials: int = 40,
    seed: int = 2024,
    progress: bool = False,
) -> list[ImitationScore]:
    """Let random search, each teacher and the policy search the same synthetic functions.

    Args:
        checkpoint: Whose policy is measured.
        teachers: Registered search methods.
        tasks: Functions K, at least 2; intervals are over them.
        seeds: Searches S of each searcher on each.
        trials: Trials T of each search, at least 2.
        seed: Seed of tasks and searches.
        progress: Show a progress bar on standard error.

    Raises:
        ConfigError: A teacher is no registered method, or a number is out of range.
    """
    METHODS.check(teachers)
    if tasks < 2 or seeds < 1 or trials < 2:
        raise ConfigError(
            "tasks and trials must be at least 2 and seeds at least 1, "
            f"got {tasks}, {trials} and {seeds}"
        )
    drawn = [draw_task(seed, number, trials) for number in range(tasks)]
    learned = checkpoint.run.get("data", {}).get("methods", ())
    with tqdm(total=tasks * (1 + 2 * len(teachers)), unit="task", disable=not progress) as bar:

        def searches(name: str, stream: int, make: _Make) -> _Searches:
            bar.set_description(name)
            regret, step = np.empty((tasks, seeds, trials)), np.empty((tasks, seeds, trials - 1))
            for k, task in enumerate(drawn):
                method = make(task)
                for s in range(seeds):
                    history = search(task, method, trials, [seed, stream, k, s])
                    regret[k, s], step[k, s] = regrets(task, history), _steps(task, history)
                bar.update()
            return _Searches(regret, step)

        baseline = searches(_BASELINE, 0, partial(_method, _BASELINE))
        scores = []
        for teacher in teachers:
            trained = _TRAINED.get(teacher, algorithm_of(teacher))
            taught = searches(teacher, 1, partial(_method, teacher))
            policy = searches(f"policy as {teacher}", 2, partial(_policy, checkpoint, trained))
            scores.append(_score(teacher, trained in learned, baseline, taught, policy))
    return scores


def _method(name: str, task: SyntheticTask) -> SearchMethod:
    return create(name, task.config)


def _policy(checkpoint: Checkpoint, algorithm: str, task: SyntheticTask) -> SearchMethod:
    return PolicySearch(StudyEncoder(checkpoint, task.config, algorithm), task.space)


class PolicySearch:
    """The policy as a search method: one sample for each trial, from the first one on.

    Args:
        encoder: Encodes the study, whose metadata may name a method to imitate.
        space: The study's space.
    """

    def __init__(self, encoder: StudyEncoder, space: SpaceTransform) -> None:
        self._encoder = encoder
        self._space = space

    def suggest(
        self, history: Sequence[Trial], count: int, rng: np.random.Generator
    ) -> list[dict[str, Value]]:
        """See `SearchMethod.suggest`."""
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        study = self._encoder.encode(history)
        values = draw_trials(study, self._space, count, generator)
        return [self._space.decode(point) for point in values]


def _steps(task: SyntheticTask, history: Sequence[Trial]) -> Array:
    """Distance of each trial but the first from the incumbent, NaN while there is none."""
    values = task.space.encode([trial.params for trial in history])
    active = task.space.active(values)
    gap = np.abs(values[:, None] - values[None]) ** 2  # (T, T, P)
    other = (values[:, None] != values[None]) & task.space.is_choice
    gap = np.where(other | (active[:, None] != active[None]), 1.0, gap)
    distance = np.sqrt(gap.mean(-1))
    steps = [
        np.nan if best is None else distance[number, best]
        for number, best in enumerate(_incumbents(history))
    ]
    return np.array(steps[1:], dtype=np.float64)


def _incumbents(history: Sequence[Trial]) -> Iterator[int | None]:
    """Number of the best trial before each trial."""
    best: int | None = None
    top = -np.inf
    for number, trial in enumerate(history):
        yield best
        if trial.value is not None and trial.value > top:
            best, top = number, trial.value


def _score(
    teacher: str, learned: bool, baseline: _Searches, taught: _Searches, policy: _Searches
) -> ImitationScore:
    by_name = {"random": baseline, "teacher": taught, "policy": policy}
    tasks, seeds, trials = baseline.regret.shape
    regret = {name: found.regret[:, :, -1].mean(1) for name, found in by_name.items()}  # (K,)
    step = {name: np.nanmean(found.step, axis=(1, 2)) for name, found in by_name.items()}
    gap = regret["random"] - regret["teacher"]
    distinct = mean(gap).low > 0 or mean(gap).high < 0
    return ImitationScore(
        teacher=teacher,
        learned=learned,
        tasks=tasks,
        seeds=seeds,
        trials=trials,
        regret_random=mean(regret["random"]),
        regret_teacher=mean(regret["teacher"]),
        regret_policy=mean(regret["policy"]),
        gap_share=ratio(regret["policy"] - regret["teacher"], gap) if distinct else None,
        step_random=mean(step["random"]),
        step_teacher=mean(step["teacher"]),
        step_difference=mean(step["policy"] - step["teacher"]),
        regret_curves={n: tuple(f.regret.mean((0, 1)).tolist()) for n, f in by_name.items()},
        step_curves={n: tuple(np.nanmean(f.step, (0, 1)).tolist()) for n, f in by_name.items()},
    )
