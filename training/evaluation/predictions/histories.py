"""Real histories to predict, from tables of logged studies."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from optformer.data.studies.errors import ConfigError, DatasetError
from optformer.data.studies.parameters import Float, Value
from optformer.data.studies.recorded_study import RecordedStudy
from optformer.data.studies.space_files import load_space
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import Goal, StudyConfig
from optformer.data.studies.trials import Trial

if TYPE_CHECKING:
    import pandas as pd

METRIC = "metric."
"""Start of the names of metric columns."""

STEP = "step"
"""Column that orders the trials of a study."""

_DATASET = "dataset"


def load_histories(
    path: Path,
    count: int,
    rng: np.random.Generator,
    *,
    metric: str | None = None,
    goal: Goal | None = None,
) -> list[RecordedStudy]:
    """Draw histories from a table.

    A table has one row a trial: a column for each parameter (empty where a condition is off),
    `metric.<name>` for each metric, `step` for the order; all other columns together name the
    study, and `dataset` its task. The space of `studies.parquet` is in `studies.space.yaml`.

    Args:
        path: A `.parquet` or `.csv` table.
        count: Most histories to draw, at least 1; all of them when there are fewer.
        rng: Draws them.
        metric: Which metric.
        goal: Its goal.

    Raises:
        ConfigError: The metric or its goal is missing.
        DatasetError: The table cannot be read, lacks a column or holds an illegal value.
        SearchSpaceError: The table's space cannot be read.
    """
    if metric is None or goal is None:
        raise ConfigError(f"{path} is a table: say which metric with --metric and --goal")
    return _from_table(path, count, rng, metric, goal)


def _from_table(
    path: Path, count: int, rng: np.random.Generator, metric: str, goal: Goal
) -> list[RecordedStudy]:
    space = load_space(path.with_suffix(".space.yaml"))
    frame = _read(path)
    missing = [name for name in (*space.names, METRIC + metric, STEP) if name not in frame]
    if missing:
        raise DatasetError(f"{path} lacks the column {missing[0]!r}; it has {list(frame.columns)}")
    others = [name for name in map(str, frame.columns) if name not in space and name != STEP]
    study = [name for name in others if not name.startswith(METRIC)]
    if not study:
        raise DatasetError(f"{path} has no column that tells its studies apart, such as 'run'")
    groups = list(frame.groupby(study, sort=True))
    drawn = [groups[i] for i in np.sort(rng.permutation(len(groups))[:count])]
    return [_history(path, study, key, rows, space, metric, goal) for key, rows in drawn]


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        if path.suffix == ".csv":
            return pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DatasetError(f"cannot read the table {path}: {error}") from error
    raise DatasetError(f"{path}: a table ends in .parquet or .csv")


def _history(
    path: Path,
    study: list[str],
    key: tuple[Hashable, ...],
    rows: pd.DataFrame,
    space: SearchSpace,
    metric: str,
    goal: Goal,
) -> RecordedStudy:
    named = dict(zip(study, map(str, key), strict=True))
    task = named.get(_DATASET, path.stem)
    config = StudyConfig(
        space=space,
        metric=metric,
        goal=goal,
        metadata={_DATASET: task} if _DATASET in named else {},
    )
    trials = [
        _trial(number, _point(path, space, row), float(row[METRIC + metric]))
        for number, row in enumerate(rows.sort_values(STEP).to_dict("records"))
    ]
    return RecordedStudy("/".join(named.values()), config, tuple(trials), path.stem, task)


def _point(path: Path, space: SearchSpace, row: Mapping[Hashable, Any]) -> dict[str, Value]:
    """A row's point: what is active under the row's own choices."""
    point: dict[str, Value] = {}
    try:
        for name, parameter in space.items():
            if not space.is_active(name, point):
                continue
            value = row[name].item() if isinstance(row[name], np.generic) else row[name]
            if isinstance(parameter, Float):  # single precision in a file rounds past a bound
                nearest = min(max(value, parameter.low), parameter.high)
                value = nearest if math.isclose(value, nearest, rel_tol=1e-6) else value
            point[name] = space.validate_value(name, value)
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{path}, step {row[STEP]}: {error}") from error
    return point


def _trial(number: int, params: Mapping[str, Value], value: float | None) -> Trial:
    trial = Trial(number, dict(params))
    if value is None or not math.isfinite(value):
        return trial.fail("the objective gave no value")
    return trial.finish(value)
