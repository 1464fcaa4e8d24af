"""The corpus: each family's trainings on several data sets as a table, with an index of all.

    OUT/corpus.yaml
    OUT/<family>.parquet, OUT/<family>.space.yaml

A table is written when its trainings are done, whole or not at all; another call makes those that
are missing.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from optformer.data.corpora.trainings.columns import Columns
from optformer.data.corpora.trainings.family import TrainingFamily
from optformer.data.corpora.trainings.registry import FAMILIES
from optformer.data.runtime.files import write_text
from optformer.data.runtime.threads import one_torch_thread
from optformer.data.runtime.workers import WorkerPool
from optformer.data.studies.corpus_index import INDEX
from optformer.data.studies.encoding import decode_value, encode_value
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Categorical, Float, Int, Value
from optformer.data.studies.space_files import save_space
from optformer.data.studies.table_cells import written_choices
from optformer.data.studies.table_files import read_columns, write_columns
from optformer.data.studies.yaml_json import to_yaml

LICENCE = "Apache-2.0"
NEAR = 0.4  # share of the configurations that lie near the best of the others
_GOOD = 0.15  # share of the others that count as the best
_MOVED = 0.4  # chance of each parameter to differ from theirs
_STEP = 0.12  # standard deviation of a move, on the unit interval

Point = Mapping[str, Value]


@dataclass(frozen=True, kw_only=True)
class TrainingCorpusConfig:
    """What to train.

    Attributes:
        families: Names of families, or patterns of the shell's kind.
        out: Folder of the tables; families whose table it holds already are not repeated.
        datasets: Generated data sets of each family, at least 1.
        configurations: Trainings on each data set, at least 2.
        workers: Processes, at least 1; they do not change what comes out.

    Raises:
        ConfigError: A number is too small, or no family has such a name.
    """

    families: Sequence[str]
    out: Path
    datasets: int = 10
    configurations: int = 200
    workers: int = 1

    def __post_init__(self) -> None:
        for field, least in (("datasets", 1), ("configurations", 2), ("workers", 1)):
            if getattr(self, field) < least:
                raise ConfigError(f"{field} must be at least {least}, got {getattr(self, field)}")
        chosen = {name for pattern in self.families for name in _matching(pattern)}
        object.__setattr__(self, "families", [name for name in FAMILIES if name in chosen])


@dataclass(frozen=True)
class TrainingCorpusSummary:
    """What was done.

    Attributes:
        finished: Tables that were written now.
        skipped: Tables that were there already.
        failed: Family to reason, for those that were not written.
    """

    finished: int
    skipped: int
    failed: Mapping[str, str]


def generate_trainings(
    config: TrainingCorpusConfig, *, progress: bool = False
) -> TrainingCorpusSummary:
    """Make the tables that the folder does not hold yet, and its index.

    Args:
        config: What to train.
        progress: Show a progress bar on standard error.

    Raises:
        ConfigError: The folder holds tables of another number of data sets or configurations;
            nothing was trained.
    """
    missing = [name for name in config.families if not _table(config.out, name).exists()]
    _check_folder(config, [name for name in config.families if name not in missing])
    config.out.mkdir(parents=True, exist_ok=True)
    failed: dict[str, str] = {}
    one = config.workers == 1
    pool: Executor = ThreadPoolExecutor(1) if one else WorkerPool(config.workers, attempts=2)
    try:
        running = {pool.submit(_write_family, config, name): name for name in missing}
        done = as_completed(running)
        for future in tqdm(done, total=len(missing), unit="family", disable=not progress):
            error = future.exception()
            if error is not None:
                failed[running[future]] = f"{type(error).__name__}: {error}"
            write_text(config.out / INDEX, to_yaml(_index(config.out, config.datasets)))
    finally:
        pool.shutdown(cancel_futures=True)
    return TrainingCorpusSummary(
        len(missing) - len(failed), len(config.families) - len(missing), failed
    )


def dataset_name(family: str, number: int) -> str:
    """Name of a family's generated data set."""
    return f"{family}-{number}"


def train_pair(
    family: TrainingFamily, number: int, configurations: int
) -> tuple[list[Point], dict[str, Tensor], str]:
    """Train a family on one of its data sets.

    Most configurations are drawn at random, the others near the best of those, so that the table
    knows the good region well.

    Args:
        family: The family.
        number: Number of the data set, which seeds everything.
        configurations: How many, at least 2.

    Returns:
        The points, their metrics, (K,) each, and the data set in words.
    """
    seed = _seed(family.name, number)
    rng = np.random.default_rng(seed)
    first = max(1, round((1 - NEAR) * configurations))
    points: list[Point] = [family.space.sample(rng) for _ in range(first)]
    with one_torch_thread():
        data = family.data(seed)
        found = family.run(Columns(family.space, points, family.fixed), data, seed)
        near = _near_the_best(family, points, found, configurations - first, rng)
        more = family.run(Columns(family.space, near, family.fixed), data, seed)
    metrics = {name: torch.cat([found[name], more[name]]).double() for name in family.goals}
    return [*points, *near], metrics, data.text


def _near_the_best(
    family: TrainingFamily,
    points: Sequence[Point],
    found: Mapping[str, Tensor],
    count: int,
    rng: np.random.Generator,
) -> list[Point]:
    """Points that differ in some parameters from good ones by the first metric."""
    (metric, goal), *_ = family.goals.items()
    gains = (found[metric] if goal == "maximize" else -found[metric]).double()
    order = gains.nan_to_num(-torch.inf).argsort(descending=True, stable=True)
    good = order[: max(1, round(_GOOD * len(points)))].tolist()
    near: list[Point] = []
    for _ in range(count):
        point = dict(points[int(rng.choice(good))])
        for name, parameter in family.space.items():
            if name not in point or rng.random() >= _MOVED:
                continue
            if isinstance(parameter, Categorical):
                point[name] = parameter.sample(rng)
            else:
                place = encode_value(parameter, point[name]) + _STEP * rng.normal()
                point[name] = decode_value(parameter, float(np.clip(place, 0.0, 1.0)))
        near.append(family.space.repair(point, rng))
    return near


def _write_family(config: TrainingCorpusConfig, name: str) -> None:
    family = FAMILIES[name]
    columns: dict[str, list[Any]] = {
        "dataset": [],
        **{f"params.{parameter}": [] for parameter in family.space},
        **{f"metrics.{metric}": [] for metric in family.goals},
    }
    for number in range(config.datasets):
        points, metrics, _ = train_pair(family, number, config.configurations)
        columns["dataset"] += [dataset_name(name, number)] * len(points)
        for parameter in family.space:
            columns[f"params.{parameter}"] += [_cell(family, parameter, point) for point in points]
        for metric in family.goals:
            values = metrics[metric].tolist()
            columns[f"metrics.{metric}"] += [v if math.isfinite(v) else None for v in values]
    path = _table(config.out, name)
    save_space(family.space, path.with_suffix(".space.yaml"))
    write_columns(path, columns)


def _cell(family: TrainingFamily, name: str, point: Point) -> Value:
    """A parameter's value as a table holds it, None where it is inactive."""
    parameter = family.space[name]
    if name not in point or isinstance(parameter, Float | Int):
        return point.get(name)
    return written_choices(parameter.choices)[parameter.index(point[name])]


def _table(out: Path, name: str) -> Path:
    return out / f"{name}.parquet"


def _matching(pattern: str) -> list[str]:
    found = [name for name in FAMILIES if fnmatchcase(name, pattern)]
    if not found:
        raise ConfigError(f"no family of trainings matches {pattern!r}; known: {list(FAMILIES)}")
    return found


def _check_folder(config: TrainingCorpusConfig, there: Sequence[str]) -> None:
    """Raise `ConfigError` where a table of the folder has other numbers."""
    for name in there:
        cells = read_columns(_table(config.out, name))["dataset"]
        rows, datasets = len(cells), len(set(cells))
        if (datasets, rows) != (config.datasets, config.datasets * config.configurations):
            raise ConfigError(
                f"{_table(config.out, name)} holds {rows} trainings on {datasets} data sets, now "
                f"it is {config.configurations} on each of {config.datasets}; choose another folder"
            )


def _index(out: Path, datasets: int) -> list[dict[str, Any]]:
    """Entries of all tables of the folder."""
    entries = []
    for name, family in FAMILIES.items():
        if not _table(out, name).exists():
            continue
        (metric, goal), *_ = family.goals.items()
        entries.append(
            {
                "file": name,
                "role": "train",
                "metric": metric,
                "goal": goal,
                "goals": dict(family.goals),
                "licence": LICENCE,
                "tasks": _told(name, datasets),
            }
        )
    return entries


@cache
def _told(name: str, datasets: int) -> dict[str, dict[str, str]]:
    """What is said of each data set of a family; ways to say task and model take turns."""
    family = FAMILIES[name]
    return {
        dataset_name(name, number): {
            "task": family.tasks[number % len(family.tasks)],
            "model": family.models[number % len(family.models)],
            "dataset": family.data(_seed(name, number)).text,
        }
        for number in range(datasets)
    }


def _seed(family: str, number: int) -> int:
    return zlib.crc32(dataset_name(family, number).encode())
