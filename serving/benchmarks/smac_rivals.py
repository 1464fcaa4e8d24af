"""SMAC's random forest behind the benchmark's ask/tell protocol.

Source: Lindauer et al. 2022, "SMAC3". Parameters are called by their position, because ConfigSpace
does not take every name; categoricals go in by position, ordinals and step grids as integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ConfigSpace import (
    AndConjunction,
    CategoricalHyperparameter,
    Configuration,
    ConfigurationSpace,
    InCondition,
    UniformFloatHyperparameter,
    UniformIntegerHyperparameter,
)
from ConfigSpace.hyperparameters import Hyperparameter
from smac import HyperparameterOptimizationFacade, Scenario
from smac.runhistory.dataclasses import TrialInfo, TrialValue
from smac.runhistory.enumerations import StatusType

from optformer.data.methods.points import point_key
from optformer.data.studies.parameters import (
    Categorical,
    Float,
    Int,
    Numeric,
    Ordinal,
    Parameter,
    Value,
)
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig

BUDGET = 50
"""Trials that SMAC is told to expect; a quarter of them is its Sobol start."""

_START_TRIALS = BUDGET // 4


class SmacRival:
    """SMAC's facade for hyperparameters, with its defaults and a deterministic objective.

    Points told before the first `ask` count in its start. A failed trial is told as crashed with
    the worst value so far, because SMAC's forest takes no infinite one; until there is a value it
    counts as running.

    Args:
        config: The study; fixed parameters are not supported.
        seed: Seed of all its random choices.
    """

    def __init__(self, config: StudyConfig, seed: int):
        self._config = config
        self._seed = seed % 2**31
        self._space = _Space(config.space)
        self._folder = TemporaryDirectory()  # SMAC insists on writing its settings somewhere
        self._facade: HyperparameterOptimizationFacade | None = None
        self._given: list[tuple[Mapping[str, Value], float | None]] = []
        self._asked: list[tuple[dict[str, Value], TrialInfo]] = []
        self._failed: list[TrialInfo] = []
        self._worst: float | None = None

    def ask(self, count: int) -> list[dict[str, Value]]:
        """Suggest points; they are running trials until they are told."""
        if self._facade is None:
            self._facade = self._start()
        points = []
        for _ in range(count):
            trial = self._facade.ask()
            point = self._space.decode(trial.config)
            self._asked.append((point, trial))
            points.append(point)
        return points

    def tell(self, params: Mapping[str, Value], value: float | None) -> None:
        """Report a point's value, None when it failed; the point need not have been asked for."""
        if self._facade is None:
            self._given.append((params, value))
            return
        for i, (asked, trial) in enumerate(self._asked):
            if point_key(asked) == point_key(params):
                del self._asked[i]
                self._tell(self._facade, trial, value)
                return
        self._tell(self._facade, self._trial(params), value)

    def _start(self) -> HyperparameterOptimizationFacade:
        scenario = Scenario(
            self._space.configurations,
            output_directory=Path(self._folder.name),
            deterministic=True,
            n_trials=BUDGET,
            seed=self._seed,
        )
        design = HyperparameterOptimizationFacade.get_initial_design(
            scenario, n_configs=max(1, _START_TRIALS - len(self._given)), max_ratio=1.0
        )
        facade = HyperparameterOptimizationFacade(
            scenario, initial_design=design, logging_level=False, overwrite=True
        )
        for params, value in self._given:
            self._tell(facade, self._trial(params), value)
        return facade

    def _tell(
        self, facade: HyperparameterOptimizationFacade, trial: TrialInfo, value: float | None
    ) -> None:
        if value is None:
            self._failed.append(trial)
        else:
            cost = -self._config.sign * value
            self._worst = cost if self._worst is None else max(cost, self._worst)
            facade.tell(trial, TrialValue(cost=cost), save=False)
        while self._failed and self._worst is not None:
            crash = TrialValue(cost=self._worst, status=StatusType.CRASHED)
            facade.tell(self._failed.pop(), crash, save=False)

    def _trial(self, params: Mapping[str, Value]) -> TrialInfo:
        return TrialInfo(config=self._space.encode(params), seed=0)


class _Space:
    """A search space as ConfigSpace sees it."""

    def __init__(self, space: SearchSpace):
        self._space = space
        self._names = {name: f"p{i}" for i, name in enumerate(space)}
        self.configurations = ConfigurationSpace()
        for name, parameter in space.items():
            self.configurations.add(_hyperparameter(self._names[name], parameter))
        for name, parameter in space.items():
            conditions = [
                InCondition(
                    self.configurations[self._names[name]],
                    self.configurations[self._names[parent]],
                    [_encoded(space[parent], value) for value in values],
                )
                for parent, values in (parameter.when or {}).items()
            ]
            if len(conditions) > 1:
                self.configurations.add(AndConjunction(*conditions))
            elif conditions:
                self.configurations.add(conditions[0])

    def encode(self, params: Mapping[str, Value]) -> Configuration:
        """A legal point as a configuration."""
        values = {self._names[name]: _encoded(self._space[name], v) for name, v in params.items()}
        return Configuration(self.configurations, values=values)

    def decode(self, configuration: Configuration) -> dict[str, Value]:
        """A configuration as a legal point."""
        values = dict(configuration)
        return {
            name: _decoded(self._space[name], values[short])
            for name, short in self._names.items()
            if short in values
        }


def _hyperparameter(name: str, parameter: Parameter) -> Hyperparameter[Any, Any]:
    levels = parameter.num_levels
    if isinstance(parameter, Categorical) or levels == 1:
        return CategoricalHyperparameter(name, list(range(levels or 1)))
    if levels is not None and _by_position(parameter):
        return UniformIntegerHyperparameter(name, 0, levels - 1)
    if isinstance(parameter, Int):
        return UniformIntegerHyperparameter(name, parameter.low, parameter.high, log=parameter.log)
    return UniformFloatHyperparameter(name, 0.0, 1.0)


def _encoded(parameter: Parameter, value: Value) -> int | float:
    if isinstance(parameter, Categorical) or _by_position(parameter):
        return parameter.grid().index(parameter.validate(value))
    return parameter.validate(value) if isinstance(parameter, Int) else parameter.to_unit(value)


def _decoded(parameter: Parameter, value: float) -> Value:
    if isinstance(parameter, Categorical) or _by_position(parameter):
        return parameter.grid()[int(value)]
    return int(value) if isinstance(parameter, Int) else parameter.from_unit(float(value))


def _by_position(parameter: Numeric) -> bool:
    """Whether values go in as their positions in the parameter's grid."""
    match parameter:
        case Ordinal():
            return True
        case Float():
            return parameter.num_levels is not None
        case Int():
            return parameter.step > 1 and parameter.num_levels is not None
