"""Which parameters matter: Optuna's evaluators, asked about a study wherever it is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import optuna
from optuna.importance import (
    BaseImportanceEvaluator,
    FanovaImportanceEvaluator,
    MeanDecreaseImpurityImportanceEvaluator,
    PedAnovaImportanceEvaluator,
    get_param_importances,
)

from optformer.data.runtime.optuna_logging import quiet_optuna
from optformer.data.studies.errors import SearchSpaceError, StudyError
from optformer.data.studies.optuna_distributions import to_distributions
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus

_EVALUATORS: dict[str, Callable[[int], BaseImportanceEvaluator]] = {
    "ped_anova": lambda seed: PedAnovaImportanceEvaluator(),
    "fanova": lambda seed: FanovaImportanceEvaluator(seed=seed),
    "mean_decrease_impurity": lambda seed: MeanDecreaseImpurityImportanceEvaluator(seed=seed),
}

EVALUATORS = tuple(_EVALUATORS)
"""Names of the evaluators."""


def evaluate_importances(
    config: StudyConfig,
    trials: Sequence[Trial],
    evaluator: str,
    metric: str | None,
    seed: int,
) -> dict[str, float]:
    """Shares of the parameters in what the metric depends on; see `Study.importances`.

    Args:
        config: The study's configuration.
        trials: Its trials.
        evaluator: A name of `EVALUATORS`.
        metric: Which metric; None is the searched one.
        seed: Seed of evaluators that draw at random.
    """
    if evaluator not in _EVALUATORS:
        raise StudyError(f"evaluator must be one of {list(EVALUATORS)}, got {evaluator!r}")
    goal = config.goals.get(metric, config.goal) if metric is not None else config.goal
    metric = config.metric_name if metric is None else metric
    rated = [trial for trial in trials if metric in config.metrics_of(trial)]
    rated = [trial for trial in rated if trial.status is TrialStatus.COMPLETED]
    if len(rated) < 2:
        raise StudyError(
            f"importances need at least two completed trials with {metric!r}, got {len(rated)}"
        )
    distributions = to_distributions(config.space)
    with quiet_optuna():
        study = optuna.create_study(direction=goal)
        for trial in rated:
            frozen = _frozen(config, trial, metric, distributions)
            if frozen is not None:
                study.add_trial(frozen)
        try:
            shares = get_param_importances(study, evaluator=_EVALUATORS[evaluator](seed % 2**32))
        except (ValueError, RuntimeError, AssertionError) as error:
            raise StudyError(f"{evaluator} cannot rate the parameters: {error}") from error
    return {name: float(shares[name]) for name in sorted(shares, key=lambda n: -shares[n])}


def _frozen(
    config: StudyConfig,
    trial: Trial,
    metric: str,
    distributions: dict[str, optuna.distributions.BaseDistribution],
) -> optuna.trial.FrozenTrial | None:
    """A trial as Optuna keeps it; None when it lies outside of the space."""
    try:
        for name, value in trial.params.items():
            config.space.validate_value(name, value)
    except SearchSpaceError:
        return None
    return optuna.trial.create_trial(
        value=config.metrics_of(trial)[metric],
        params=dict(trial.params),
        distributions={name: distributions[name] for name in trial.params},
    )
