"""Optuna's samplers behind the benchmark's ask/tell protocol.

The space is suggested define-by-run, so that a sampler sees conditions as it would in a user's
objective. Categoricals and ordinals are suggested by position: unordered, and as an integer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from optformer.data.methods.external.optuna_samplers import position
from optformer.data.methods.points import point_key
from optformer.data.runtime.optuna_logging import quiet_optuna
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Parameter, Value
from optformer.data.studies.study_config import StudyConfig

SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "cma-es": lambda seed: CmaEsSampler(seed=seed),
    "gp": lambda seed: GPSampler(seed=seed),
    "gp-1": lambda seed: GPSampler(seed=seed, n_startup_trials=1),
    "gp-3": lambda seed: GPSampler(seed=seed, n_startup_trials=3),
    "optuna-random": lambda seed: RandomSampler(seed=seed),
    # The default from Optuna 5 on; earlier ones would ignore pending trials.
    "tpe": lambda seed: TPESampler(seed=seed, constant_liar=True),
}
"""Method name to sampler with that seed; every other setting is Optuna's default."""


class OptunaRival:
    """A study of Optuna's with one of its samplers.

    Args:
        name: One of `SAMPLERS`.
        config: The study; fixed parameters are not supported.
        seed: Seed of the sampler.

    Raises:
        ConfigError: The name is unknown.
    """

    def __init__(self, name: str, config: StudyConfig, seed: int) -> None:
        if name not in SAMPLERS:
            raise ConfigError(f"unknown Optuna method {name!r}; known ones are {sorted(SAMPLERS)}")
        self._space = config.space
        self._asked: list[tuple[dict[str, Value], optuna.Trial]] = []
        with quiet_optuna():
            self._study = optuna.create_study(
                direction=config.goal, sampler=SAMPLERS[name](seed % 2**32)
            )

    def ask(self, count: int) -> list[dict[str, Value]]:
        """Suggest points; they are running trials of the study until they are told."""
        return [self._ask_one() for _ in range(count)]

    def tell(self, params: Mapping[str, Value], value: float | None) -> None:
        """Report a point's value, None when it failed; the point need not have been asked for."""
        state = TrialState.FAIL if value is None else TrialState.COMPLETE
        with quiet_optuna():
            for i, (asked, trial) in enumerate(self._asked):
                if point_key(asked) == point_key(params):
                    del self._asked[i]
                    self._study.tell(trial, value, state=state)
                    return
            self._study.add_trial(
                optuna.create_trial(
                    state=state,
                    value=value,
                    params={name: position(self._space[name], v) for name, v in params.items()},
                    distributions={name: distribution(self._space[name]) for name in params},
                )
            )

    def _ask_one(self) -> dict[str, Value]:
        with quiet_optuna():
            trial = self._study.ask()
            params: dict[str, Value] = {}
            for name, parameter in self._space.items():
                if self._space.is_active(name, params):
                    params[name] = _suggest(trial, name, parameter)
        self._asked.append((params, trial))
        return params


def distribution(parameter: Parameter) -> BaseDistribution:
    """The parameter as Optuna sees it."""
    match parameter:
        case Float():
            return FloatDistribution(
                parameter.low, _highest(parameter), log=parameter.log, step=parameter.step
            )
        case Int():
            return IntDistribution(
                parameter.low, int(_highest(parameter)), log=parameter.log, step=parameter.step
            )
        case Ordinal():
            return IntDistribution(0, parameter.num_levels - 1)
        case Categorical():
            return CategoricalDistribution(tuple(range(parameter.num_levels)))


def _suggest(trial: optuna.Trial, name: str, parameter: Parameter) -> Value:
    match parameter:
        case Float(low=low, log=log, step=step):
            return trial.suggest_float(name, low, _highest(parameter), log=log, step=step)
        case Int(low=low, log=log, step=step):
            return trial.suggest_int(name, low, int(_highest(parameter)), log=log, step=step)
        case Ordinal(choices=choices):
            return choices[trial.suggest_int(name, 0, len(choices) - 1)]
        case Categorical(choices=choices):
            positions: list[int] = list(range(len(choices)))
            return choices[trial.suggest_categorical(name, positions)]


def _highest(parameter: Float | Int) -> float:
    """The highest legal value: Optuna warns when `high` is off the step's grid."""
    return parameter.high if parameter.step is None else parameter.from_unit(1.0)
