"""What a sampler reads of an Optuna study: its space, its trials and its words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from optformer.data.studies.errors import SearchSpaceError
from optformer.data.studies.inferred_conditions import infer_conditions
from optformer.data.studies.optuna_distributions import from_distributions, to_distributions
from optformer.data.studies.parameters import Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import Goal, StudyConfig
from optformer.data.studies.trials import Trial
from optformer.serving.study.optuna_goals import foreign_metrics, goal_of
from optformer.serving.study.optuna_studies import read_metadata
from optformer.serving.study.optuna_trials import RECORD, read_outcome
from optformer.serving.study.trial_store import StudyRecord

PLAN = "optformer:plan"
"""System attribute of a trial: the values chosen for it, which it asks for one by one."""


def whole(study: Study) -> Study:
    """The study itself, of the one bracket of it that samplers see beside a `HyperbandPruner`."""
    inner = getattr(study, "_study", study)
    return inner if isinstance(inner, Study) else study


def values_of(trial: FrozenTrial) -> dict[str, Value]:
    """What a trial tries, as far as that is known: asked for, enqueued, or planned for it."""
    if trial.state.is_finished():
        return trial.params
    enqueued = trial.system_attrs.get("fixed_params", {})
    return {**trial.system_attrs.get(PLAN, {}), **enqueued, **trial.params}


def infer_space(
    distributions: Mapping[str, BaseDistribution],
    trials: Sequence[FrozenTrial],
    current: Mapping[str, Value],
) -> SearchSpace:
    """The space of some parameters, with the conditions that the trials follow.

    Args:
        distributions: The parameters.
        trials: The other trials of the study.
        current: What the trial in question tries; it may try more.

    Raises:
        SearchSpaceError: A distribution cannot be read; the message names the parameter.
    """
    entire = [trial.params for trial in trials if trial.state is TrialState.COMPLETE]
    cut = [values_of(trial) for trial in trials if trial.state is not TrialState.COMPLETE]
    return infer_conditions(from_distributions(distributions), entire, [*cut, current])


def declared_space(
    distributions: Mapping[str, BaseDistribution], declared: SearchSpace
) -> SearchSpace:
    """The space of some parameters, as it was declared where it was.

    A parameter that is asked for with another distribution than declared keeps its condition and
    description; one that was not declared has neither.

    Raises:
        SearchSpaceError: A distribution cannot be read, or contradicts a declared condition; the
            message names the parameter.
    """
    parameters = dict(from_distributions(distributions))
    written = to_distributions(declared)
    for name in parameters.keys() & declared.keys():
        known = declared[name]
        when = {parent: v for parent, v in (known.when or {}).items() if parent in parameters}
        parameter = known if distributions[name] == written[name] else parameters[name]
        parameters[name] = replace(parameter, when=when or None, description=known.description)
    return SearchSpace(parameters)


def recorded_space(study: Study) -> SearchSpace | None:
    """The space of a study that `create_study` has made, None of any other."""
    described = study.user_attrs.get(RECORD)
    return None if described is None else StudyRecord.from_dict(described).config.space


def read_words(study: Study) -> dict[str, str]:
    """The words that a study comes with."""
    described = study.user_attrs.get(RECORD)
    if described is None:
        return read_metadata(study)
    return dict(StudyRecord.from_dict(described).config.metadata)


def read_goals(study: Study) -> dict[str, Goal]:
    """The goals of a study by the names of its metrics."""
    goals = [goal_of(direction) for direction in study.directions]
    unnamed = ["value"] if len(goals) == 1 else [f"value {i}" for i in range(len(goals))]
    return dict(zip(study.metric_names or unnamed, goals, strict=True))


def read_trials(trials: Sequence[FrozenTrial], config: StudyConfig) -> list[Trial]:
    """Trials in the words of a study, without those that say nothing about its space."""
    history = []
    for frozen in trials:
        params = legal_values(config.space, values_of(frozen))
        if params:
            status, value, reason = read_outcome(frozen)
            metrics = _metrics(config, frozen) if config.several and value is not None else {}
            history.append(Trial(frozen.number, params, status, value, reason, metrics))
    return history


def _metrics(config: StudyConfig, frozen: FrozenTrial) -> dict[str, float]:
    found = foreign_metrics(config, frozen)
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}


def legal_values(space: SearchSpace, values: Mapping[str, Value]) -> dict[str, Value]:
    """The values that lie in a space; Optuna takes others, too, and only warns."""
    legal: dict[str, Value] = {}
    for name, parameter in space.items():
        if name in values and space.is_active(name, legal):
            with suppress(SearchSpaceError):
                legal[name] = parameter.validate(values[name])
    return legal
