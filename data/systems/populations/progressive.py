"""Progressive learning: input size and regularization grow from stage to stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from optformer.data.methods.base import MethodFactory
from optformer.data.methods.random_search import RandomSearch
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Categorical, Numeric, Parameter, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.data.systems.populations.base import (
    PopulationResult,
    Report,
    TrainableFactory,
    check_at_least,
    rng_of,
)
from optformer.data.systems.populations.fixed import train_through
from optformer.data.systems.populations.members import Record
from optformer.data.systems.populations.workers import SessionWorkers, start_workers

GROWS = ("image_size", "dropout", "augmentation", "mixup")
"""What grows unless told otherwise: input size and three kinds of regularization."""


class ProgressiveLearning:
    """Progressive learning: stages with growing input size and regularization, weights carried on.

    Training is cut into stages of equal length. Each growing hyperparameter runs from a small value
    in the first stage to a large one in the last, evenly on its own scale; the others stay as they
    are. These end points are what is searched: `end_points` gives the space for any study, and
    `run` searches it with a search method, one member a point. Trials carry `interval`, the stage.
    Only what the last stage reaches is a result.

    Source: US20220245928A1; Tan and Le 2021, "EfficientNetV2: Smaller Models and Faster Training".

    Args:
        population: Members, each with end points of its own, at least 1.
        stages: Number of stages, at least 2.
        stage_steps: Steps of a stage, at least 1.
        grows: Names of the hyperparameters that grow.
        method: Makes the search method that proposes end points.

    Raises:
        ConfigError: A setting is out of range.
    """

    def __init__(
        self,
        population: int = 10,
        stages: int = 4,
        stage_steps: int = 100,
        grows: Sequence[str] = GROWS,
        method: MethodFactory = RandomSearch,
    ):
        check_at_least(1, population=population, stage_steps=stage_steps)
        check_at_least(2, stages=stages)
        self._population = population
        self._stages = stages
        self._stage_steps = stage_steps
        self._grows = tuple(grows)
        self._method = method

    def run(
        self,
        make: TrainableFactory,
        seed: int,
        *,
        workers: int = 0,
        report: Report | None = None,
    ) -> PopulationResult:
        """See `PopulationRun.run`; members train one after the other, whatever the workers."""
        config = make().config
        searched = self.end_points(config)
        method = self._method(searched)
        record = Record(config, report)
        history: list[Trial] = []
        with start_workers(make, workers) as pool:
            for index in range(self._population):
                point = method.suggest(history, 1, rng_of(seed, index))[0]
                last = self._train(pool, record, config, point, seed, index)
                whole = Trial(index, point)
                history.append(
                    whole.fail(last.reason or "no value")
                    if last.value is None
                    else whole.finish(last.value)
                )
        return record.result()

    def end_points(self, config: StudyConfig) -> StudyConfig:
        """The study over end points for a trainable's study.

        Each growing `name` becomes `name_first` and `name_last`, both with its range; the smaller
        is where it starts.

        Raises:
            ConfigError: A growing hyperparameter is unknown, categorical, fixed, or conditional, or
                another depends on it.
        """
        for name in self._grows:
            self._check(name, config)
        parameters: dict[str, Parameter] = {}
        for name, parameter in config.space.items():
            if name not in self._grows:
                parameters[name] = parameter
                continue
            about = parameter.description or name
            for end in ("first", "last"):
                text = f"{about} in the {end} stage"
                parameters[f"{name}_{end}"] = replace(parameter, description=text)
        metadata = {**config.metadata, "training": f"progressive, {self._stages} stages"}
        return replace(config, space=SearchSpace(parameters), metadata=metadata)

    def schedule(self, config: StudyConfig, point: Mapping[str, Value]) -> list[dict[str, Value]]:
        """Hyperparameters of each stage, first to last, for end points."""
        stages = []
        for stage in range(self._stages):
            params = {name: point[name] for name in config.space if name in point}
            for name in self._grows:
                parameter = config.space[name]
                if not isinstance(parameter, Categorical):
                    ends = point[f"{name}_first"], point[f"{name}_last"]
                    params[name] = _between(parameter, ends, stage / (self._stages - 1))
            stages.append(config.space.validate(params))
        return stages

    def _train(
        self,
        pool: SessionWorkers,
        record: Record,
        config: StudyConfig,
        point: Mapping[str, Value],
        seed: int,
        index: int,
    ) -> Trial:
        """Train a member through its stages; returns the trial of the last it came to."""
        stages = self.schedule(config, point)
        return train_through(
            pool, record, stages, self._stage_steps, seed, index, last_counts=True
        )[-1]

    def _check(self, name: str, config: StudyConfig) -> None:
        parameter = config.space.get(name)
        if parameter is None:
            raise ConfigError(
                f"grows names {name!r}, which the trainable does not have; "
                f"it has {list(config.space)}"
            )
        if isinstance(parameter, Categorical):
            raise ConfigError(f"{name!r} cannot grow: a categorical has no order; use an Ordinal")
        if name in config.fixed:
            raise ConfigError(f"{name!r} cannot grow: it is fixed to {config.fixed[name]!r}")
        if parameter.when or any(name in (other.when or {}) for other in config.space.values()):
            raise ConfigError(f"{name!r} cannot grow: conditions tie it to another hyperparameter")


def _between(parameter: Numeric, ends: tuple[Value, Value], share: float) -> Value:
    """The value at a share of the way from the smaller to the larger of two values."""
    low, high = sorted(ends, key=parameter.to_unit)
    if share in (0.0, 1.0):
        return high if share else low
    start, end = parameter.to_unit(low), parameter.to_unit(high)
    return parameter.from_unit(start + share * (end - start))
