"""What is known about a study that Optuna wrote: read from its trials, or said by its user."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

from optuna import Study
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from optformer.data.studies.errors import OptFormerWarning, SearchSpaceError, StudyError
from optformer.data.studies.inferred_conditions import infer_conditions
from optformer.data.studies.optuna_distributions import (
    from_distributions,
    to_distributions,
    union_of_distributions,
)
from optformer.data.studies.parameters import Categorical, Ordinal
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import Goal, StudyConfig
from optformer.serving.study import optuna_goals
from optformer.serving.study.trial_store import StudyRecord

_UNNAMED = "no-name-"  # how the names begin that Optuna makes up


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a user says about a study that Optuna wrote, where its trials do not say it well.

    Attributes:
        space: What is searched.
        metric: Name of the objective.
        goal: Its direction.
        metadata: Text about the task, besides the study's user attributes.
    """

    space: SearchSpace | None = None
    metric: str | None = None
    goal: Goal | None = None
    metadata: Mapping[str, str] | None = None

    def given(self) -> list[str]:
        """Names of what is said."""
        return [field.name for field in fields(self) if getattr(self, field.name) is not None]


def read_record(
    study: Study, trials: Sequence[FrozenTrial], description: Description
) -> tuple[StudyRecord, dict[str, BaseDistribution]]:
    """What is known about a study, and how its parameters are to be written.

    Args:
        study: The study.
        trials: Its trials.
        description: What its user says about it.

    Raises:
        StudyError: Its space is not known.
        SearchSpaceError: Its trials contradict each other, or the space that was given.
    """
    name = study.study_name
    found = union_of_distributions(trial.distributions for trial in trials)
    if description.space is not None:
        space, distributions = description.space, _as_stored(description.space, found)
    elif found:
        space, distributions = _read_space(name, found, trials), found
    else:
        raise StudyError(
            f"study {name!r} has neither an OptFormer configuration nor a trial with parameters, "
            "so its search space is unknown; give load_study its space="
        )
    (metric, goal), *further = _aims(study, description)
    config = StudyConfig(
        space=space,
        metric=metric,
        goal=goal,
        further_goals=dict(further),
        limits=optuna_goals.foreign_limits(trials),
        metadata={**read_metadata(study), **(description.metadata or {})},
    )
    return StudyRecord(config=config, seed=zlib.crc32(name.encode())), distributions


def read_metadata(study: Study) -> dict[str, str]:
    """The words that a study comes with.

    Its name stands for the task. User attributes are read where they are text, numbers or truth
    values.
    """
    words: dict[str, Any] = {}
    if not study.study_name.startswith(_UNNAMED):
        words["task"] = study.study_name
    words.update(study.user_attrs)
    return {key: str(text) for key, text in words.items() if isinstance(text, str | int | float)}


def _aims(study: Study, description: Description) -> list[tuple[str, Goal]]:
    """Metrics and their goals."""
    goals = [optuna_goals.goal_of(direction) for direction in study.directions]
    unnamed = ["value"] if len(goals) == 1 else [f"value {i}" for i in range(len(goals))]
    names = [
        name if name.strip() else otherwise
        for name, otherwise in zip(study.metric_names or unnamed, unnamed, strict=True)
    ]
    aims = list(zip(names, goals, strict=True))
    said = [name for name in ("metric", "goal") if name in description.given()]
    if len(aims) > 1 and said:
        raise StudyError(
            f"study {study.study_name!r} has several objectives, {aims}; leave out {said[0]}="
        )
    if said:
        aims = [(description.metric or aims[0][0], description.goal or aims[0][1])]
    return aims


def _read_space(
    name: str, distributions: Mapping[str, BaseDistribution], trials: Sequence[FrozenTrial]
) -> SearchSpace:
    """The space of some parameters, with the conditions that trials follow."""
    whole = [trial.params for trial in trials if trial.state is TrialState.COMPLETE]
    cut = [trial.params for trial in trials if trial.state is not TrialState.COMPLETE]
    space = from_distributions(distributions)
    inferred = infer_conditions(space, whole, cut)
    space = SearchSpace(
        {
            parameter: inferred[parameter] if _is_told(inferred, parameter, whole) else plain
            for parameter, plain in space.items()
        }
    )
    odd = [
        parameter
        for parameter in space
        if space[parameter].when is None and any(parameter not in point for point in whole)
    ]
    if odd:
        warnings.warn(
            f"{odd} of study {name!r} are missing from some of its trials, and no condition "
            "explains which; every trial will have them. load_study(space=...) can say it better",
            OptFormerWarning,
            stacklevel=6,
        )
    return space


def _is_told(space: SearchSpace, parameter: str, points: Sequence[Mapping[str, Any]]) -> bool:
    """Whether enough points follow a condition for it not to be chance."""
    present = [parameter in point for point in points]
    fewer = min(sum(present), len(present) - sum(present))
    parents = list(space[parameter].when or ())
    if len(parents) == 1 and isinstance(space[parents[0]], Categorical | Ordinal):
        return fewer >= 2
    # Numbers agree by chance with much, and so with what appeared or vanished under way.
    return fewer >= 5 and sum(a != b for a, b in pairwise(present)) > 1


def _as_stored(
    space: SearchSpace, found: Mapping[str, BaseDistribution]
) -> dict[str, BaseDistribution]:
    """How the parameters of a space are written beside trials that have some of them."""
    return {
        name: _fitting(name, own, found.get(name, own))
        for name, own in to_distributions(space).items()
    }


def _fitting(name: str, own: BaseDistribution, stored: BaseDistribution) -> BaseDistribution:
    """A distribution of the stored kind that holds the values of another one, too."""
    if own == stored:
        return stored
    if isinstance(own, CategoricalDistribution) and isinstance(stored, CategoricalDistribution):
        known = [(type(choice), choice) for choice in stored.choices]
        if all((type(choice), choice) in known for choice in own.choices):
            return stored
    elif isinstance(stored, FloatDistribution | IntDistribution):
        whole = isinstance(stored, IntDistribution)
        numbers = _numbers(own)
        if numbers and all(isinstance(number, int) or not whole for number in numbers):
            low, high = min(stored.low, *numbers), max(stored.high, *numbers)
            with suppress(ValueError):  # Optuna keeps a logarithmic one so, and that has no zero
                return type(stored)(low, high, log=stored.log)
    raise SearchSpaceError(
        f"parameter {name!r} cannot be {own}: Optuna has stored it as {stored}, and takes no other "
        "kind, scale or choices in the same study; search it in a new one"
    )


def _numbers(distribution: BaseDistribution) -> list[Any]:
    """The least and the greatest value, or all choices; none where one is no number."""
    if isinstance(distribution, FloatDistribution | IntDistribution):
        return [distribution.low, distribution.high]
    choices = list(getattr(distribution, "choices", ()))
    numeric = all(isinstance(c, int | float) and not isinstance(c, bool) for c in choices)
    return choices if numeric else []
