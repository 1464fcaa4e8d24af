"""SMAC's random forest as a search method.

Source: Lindauer et al. 2022, "SMAC3". Parameters are called by their position, because ConfigSpace
does not take every name; categoricals go in by position, ordinals and step grids as integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

from optformer.data.methods.external.library import LibraryMethod, refuse_fixed
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
from optformer.data.studies.trials import Trial, TrialStatus

BUDGET = 50
"""Trials that SMAC is told to expect; a quarter of them is its Sobol start."""

_START_TRIALS = BUDGET // 4


class Smac(LibraryMethod):
    """SMAC's facade for hyperparameters, with its defaults and a deterministic objective.

    Trials of the history at its start count in SMAC's own start. A failed trial is told as crashed
    with the worst value so far, because SMAC's forest takes no infinite one; until there is a value
    it counts as running.

    Args:
        config: The study.

    Raises:
        ConfigError: The study holds parameters fixed.
    """

    def __init__(self, config: StudyConfig):
        refuse_fixed("smac", config)
        super().__init__(config)
        self._space = _ConfigSpace(config.space)
        self._folder = TemporaryDirectory()  # SMAC insists on writing its settings somewhere

    def _start(self, seed: int, history: Sequence[Trial]) -> None:
        self._asked: dict[int, TrialInfo] = {}
        self._failed: list[TrialInfo] = []
        self._worst: float | None = None
        scenario = Scenario(
            self._space.configurations,
            output_directory=Path(self._folder.name),
            deterministic=True,
            n_trials=BUDGET,
            seed=seed % 2**31,
        )
        given = sum(trial.status is not TrialStatus.PENDING for trial in history)
        design = HyperparameterOptimizationFacade.get_initial_design(
            scenario, n_configs=max(1, _START_TRIALS - given), max_ratio=1.0
        )
        self._facade = HyperparameterOptimizationFacade(
            scenario, initial_design=design, logging_level=False, overwrite=True
        )

    def _tell(self, number: int, trial: Trial, is_new: bool) -> None:
        if trial.status is TrialStatus.PENDING:
            return
        asked = self._asked.pop(number, None)
        told = asked or TrialInfo(config=self._space.encode(trial.params), seed=0)
        if trial.value is None:
            self._failed.append(told)
        else:
            cost = -self._config.sign * trial.value
            self._worst = cost if self._worst is None else max(cost, self._worst)
            self._facade.tell(told, TrialValue(cost=cost), save=False)
        while self._failed and self._worst is not None:
            crash = TrialValue(cost=self._worst, status=StatusType.CRASHED)
            self._facade.tell(self._failed.pop(), crash, save=False)

    def _ask(self, number: int) -> dict[str, Value]:
        self._asked[number] = self._facade.ask()
        return self._space.decode(self._asked[number].config)


class _ConfigSpace:
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
