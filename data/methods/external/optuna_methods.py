"""Optuna's samplers as search methods.

A sampler is asked define-by-run, so that it sees conditions as in a user's objective. Categoricals
and ordinals go by position: unordered, and as an integer. Fixed values are not suggested at all.
Every setting that is not named here is Optuna's default.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, TPESampler
from optuna.trial import TrialState

from optformer.data.methods.external.library import LibraryMethod
from optformer.data.runtime.optuna_logging import quiet_optuna
from optformer.data.studies.optuna_distributions import to_numeric_distribution
from optformer.data.studies.parameters import Categorical, Int, Ordinal, Parameter, Value
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus


class OptunaMethod(LibraryMethod):
    """A study of Optuna's with one of its samplers.

    Args:
        config: The study.
        sampler: Makes the sampler with a seed.
    """

    def __init__(self, config: StudyConfig, sampler: Callable[[int], BaseSampler]) -> None:
        super().__init__(config)
        self._sampler = sampler
        self._distributions = {
            name: to_distribution(parameter)
            for name, parameter in config.space.items()
            if name not in config.fixed
        }

    def _start(self, seed: int, history: Sequence[Trial]) -> None:
        with quiet_optuna():
            sampler = self._sampler(seed % 2**32)
            self._study = optuna.create_study(direction=self._config.goal, sampler=sampler)

    def _tell(self, number: int, trial: Trial, is_new: bool) -> None:
        states = {TrialStatus.PENDING: TrialState.RUNNING, TrialStatus.FAILED: TrialState.FAIL}
        state = states.get(trial.status, TrialState.COMPLETE)
        space = self._config.space
        names = [name for name in trial.params if name in self._distributions]
        with quiet_optuna():
            if not is_new:
                self._study.tell(number, trial.value, state=state)
                return
            self._study.add_trial(
                optuna.create_trial(
                    state=state,
                    value=trial.value,
                    params={name: _position(space[name], trial.params[name]) for name in names},
                    distributions={name: self._distributions[name] for name in names},
                )
            )

    def _ask(self, number: int) -> dict[str, Value]:
        space, fixed = self._config.space, self._config.fixed
        params: dict[str, Value] = {}
        with quiet_optuna():
            trial = self._study.ask()
            for name, parameter in space.items():
                if not space.is_active(name, params):
                    continue
                if name in fixed:
                    params[name] = fixed[name]
                else:
                    value = _suggest(trial, name, self._distributions[name])
                    params[name] = _from_optuna(parameter, value)
        return params


def tpe(config: StudyConfig) -> OptunaMethod:
    """Optuna's TPESampler: draws where good trials are denser than the rest; constant liar.

    Source: Bergstra et al. 2011, "Algorithms for hyper-parameter optimization".
    """
    # The constant liar is the default from Optuna 5 on; earlier ones would ignore pending trials.
    return OptunaMethod(config, lambda seed: TPESampler(seed=seed, constant_liar=True))


def gp(config: StudyConfig, *, start_trials: int = 10) -> OptunaMethod:
    """Optuna's GPSampler: expected improvement of a Gaussian process after 10 random trials.

    Source: Snoek et al. 2012, "Practical Bayesian optimization of machine learning algorithms".
    """
    return OptunaMethod(config, lambda seed: GPSampler(seed=seed, n_startup_trials=start_trials))


gp_1 = partial(gp, start_trials=1)
gp_3 = partial(gp, start_trials=3)


def cma_es(config: StudyConfig) -> OptunaMethod:
    """Optuna's CmaEsSampler: an evolution strategy with a learned covariance.

    Source: Hansen and Ostermeier 2001, "Completely derandomized self-adaptation in evolution
    strategies".
    """
    return OptunaMethod(config, lambda seed: CmaEsSampler(seed=seed))


def to_distribution(parameter: Parameter) -> BaseDistribution:
    """The parameter as a sampler sees it."""
    match parameter:
        case Ordinal():
            return IntDistribution(0, parameter.num_levels - 1)
        case Categorical():
            return CategoricalDistribution(tuple(range(parameter.num_levels)))
        case Int(num_levels=None):  # the Gaussian process would list every level
            return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
    return to_numeric_distribution(parameter)


def _position(parameter: Parameter, value: Value) -> Value:
    """A value as Optuna is told it: that of a list by its place."""
    return parameter.index(value) if isinstance(parameter, Categorical | Ordinal) else value


def _from_optuna(parameter: Parameter, value: Value) -> Value:
    if isinstance(parameter, Categorical | Ordinal):
        return parameter.choices[value]
    if isinstance(parameter, Int):
        return parameter.from_unit(parameter.to_unit(value))
    return parameter.validate(value)


def _suggest(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> Value:
    match distribution:
        case FloatDistribution(low=low, high=high, log=log, step=step):
            return trial.suggest_float(name, low, high, log=log, step=step)
        case IntDistribution(low=low, high=high, log=log, step=step):
            return trial.suggest_int(name, low, high, log=log, step=step)
        case CategoricalDistribution(choices=choices):
            return trial.suggest_categorical(name, choices)
