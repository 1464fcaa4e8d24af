"""Result files: one Parquet shard a run, and the reference values that normalise regret.

    OUT/<protocol>/<suite>/<task>/<method>/seed-<n>.parquet
    OUT/references/<suite>/<task>.json

Every file is whole or not there, so a killed run leaves no half file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from optformer.data.runtime.files import write_atomically
from optformer.data.studies.errors import StorageError
from optformer.data.studies.extras import importing
from optformer.data.studies.parameters import Value
from optformer.data.studies.study_config import Goal

Status = Literal["completed", "failed", "method-failed"]

FORMAT = 1
"""Version of the shards' layout; it stands in their schema's metadata."""

_FORMAT_KEY = b"optformer.benchmark.format"
_COLUMNS = {
    "protocol": "string",
    "suite": "string",
    "task": "string",
    "seed": "int64",
    "method": "string",
    "version": "string",
    "trial": "int64",
    "params": "string",
    "value": "float64",
    "status": "string",
    "reason": "string",
    "seconds": "float64",
}


@dataclass(frozen=True)
class RunKey:
    """Which run of a benchmark.

    Attributes:
        protocol: `own-start` or `shared-start-<n>`; `-batch-<n>` follows where trials are asked for
            in batches.
        suite: Name of the suite.
        task: Name of the task.
        method: Name of the method.
        seed: From 0.
    """

    protocol: str
    suite: str
    task: str
    method: str
    seed: int

    def path(self, out: Path) -> Path:
        """Where the run's shard lies under the output folder."""
        folder = out / self.protocol / self.suite / self.task / self.method
        return folder / f"seed-{self.seed}.parquet"


@dataclass(frozen=True)
class Row:
    """One trial of a run.

    Attributes:
        trial: Number from 0.
        params: The point; empty when the method failed to suggest one.
        value: Metric in its own units; None unless completed.
        status: `completed`; `failed` when the objective gave no value; `method-failed` when the
            method itself raised, which ends the run.
        reason: Why it failed.
        seconds: Wall-clock time of the suggestion, a batch's divided by its trials; None for a
            given initial point.
    """

    trial: int
    params: Mapping[str, Value]
    value: float | None
    status: Status
    reason: str | None
    seconds: float | None


@dataclass(frozen=True)
class RunRecord:
    """A run read back from its shard.

    Attributes:
        key: Which run.
        version: What produced it.
        rows: Its trials in order.
    """

    key: RunKey
    version: str
    rows: tuple[Row, ...]

    @property
    def method_failed(self) -> bool:
        """Whether the run ended early because the method raised."""
        return self.rows[-1].status == "method-failed"

    @property
    def trials(self) -> tuple[Row, ...]:
        """The rows that are trials."""
        return self.rows[:-1] if self.method_failed else self.rows


@dataclass(frozen=True)
class Reference:
    """What normalises a task's regret.

    Attributes:
        goal: Direction of the metric.
        median: Median value over the space, exact or estimated from random points.
        optimum: Best possible value; None when unknown.
        best_random: Best of the random points; None when the median is exact.
        seen_in_training: Whether a checkpoint used in the folder was trained on this task or its
            space.
        study: Digest of the task's configuration; None in older folders.
    """

    goal: Goal
    median: float
    optimum: float | None
    best_random: float | None
    seen_in_training: bool
    study: str | None = None


def write_run(out: Path, key: RunKey, version: str, rows: Sequence[Row]) -> None:
    """Write a run's shard, replacing an unfinished one.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pa, parquet = _pyarrow()
    common = {
        "protocol": key.protocol,
        "suite": key.suite,
        "task": key.task,
        "seed": key.seed,
        "method": key.method,
        "version": version,
    }
    table = pa.Table.from_pylist(
        [{**common, **asdict(row), "params": json.dumps(dict(row.params))} for row in rows],
        schema=_schema(pa),
    )
    with write_atomically(key.path(out)) as temporary:
        parquet.write_table(table, temporary, compression="zstd")


def read_run(out: Path, key: RunKey) -> RunRecord:
    """Read a run's shard.

    Raises:
        StorageError: The file is no Parquet, or holds something else than this run; the message
            names it.
        MissingExtraError: pyarrow is not installed.
    """
    pa, parquet = _pyarrow()
    path = key.path(out)
    try:
        table = parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, str(error)) from error
    found_format = (table.schema.metadata or {}).get(_FORMAT_KEY, b"none").decode()
    if found_format != str(FORMAT):
        raise _unreadable(path, f"its format version is {found_format}, this one reads {FORMAT}")
    if not table.schema.equals(_schema(pa)):
        raise _unreadable(path, f"it has the columns {table.schema.names}")
    entries: list[dict[str, Any]] = table.to_pylist()
    expected = (key.protocol, key.suite, key.task, key.seed, key.method)
    if not entries:
        raise _unreadable(path, "it holds no trial")
    for number, entry in enumerate(entries):
        found = tuple(entry[field] for field in ("protocol", "suite", "task", "seed", "method"))
        if found != expected:
            raise _unreadable(path, f"it holds a row of {found}")
        if entry["trial"] != number:
            raise _unreadable(path, f"row {number} is trial {entry['trial']}")
    try:
        rows = tuple(
            Row(
                trial=entry["trial"],
                params=dict(json.loads(entry["params"])),
                value=entry["value"],
                status=entry["status"],
                reason=entry["reason"],
                seconds=entry["seconds"],
            )
            for entry in entries
        )
    except (TypeError, ValueError) as error:
        raise _unreadable(path, f"it holds no parameters of a trial: {error}") from error
    return RunRecord(key, entries[0]["version"], rows)


def find_runs(out: Path) -> list[RunKey]:
    """All runs under an output folder, in the order of their paths.

    Raises:
        StorageError: A shard's name is not one that a benchmark writes.
    """
    keys = []
    for path in sorted(out.glob("*/*/*/*/*.parquet")):
        protocol, suite, task, method, _ = path.relative_to(out).parts
        prefix, _, seed = path.stem.partition("-")
        if prefix != "seed" or not seed.isdigit():
            raise _unreadable(path, "its name is not seed-<number>.parquet")
        keys.append(RunKey(protocol, suite, task, method, int(seed)))
    return keys


def write_reference(out: Path, suite: str, task: str, reference: Reference) -> None:
    """Write a task's reference values."""
    with write_atomically(_reference_path(out, suite, task)) as temporary:
        temporary.write_text(json.dumps(asdict(reference), indent=2) + "\n")


def has_reference(out: Path, suite: str, task: str) -> bool:
    """Whether a task's reference values are there."""
    return _reference_path(out, suite, task).is_file()


def read_reference(out: Path, suite: str, task: str) -> Reference:
    """Read a task's reference values.

    Raises:
        StorageError: The file is missing or holds something else; the message names it.
    """
    path = _reference_path(out, suite, task)
    try:
        reference = Reference(**json.loads(path.read_text()))
        legal = reference.goal in ("maximize", "minimize") and math.isfinite(reference.median)
    except (OSError, ValueError, TypeError) as error:
        raise _unreadable(path, str(error)) from error
    if not legal:
        raise _unreadable(path, f"goal is {reference.goal!r} and median {reference.median}")
    return reference


def _reference_path(out: Path, suite: str, task: str) -> Path:
    return out / "references" / suite / f"{task}.json"


def _schema(pa: Any) -> Any:
    columns = [(name, getattr(pa, kind)()) for name, kind in _COLUMNS.items()]
    return pa.schema(columns, metadata={_FORMAT_KEY: str(FORMAT)})


def _unreadable(path: Path, why: str) -> StorageError:
    return StorageError(
        f"cannot read the result {path}: {why}; delete this file and run the benchmark again"
    )


def _pyarrow() -> tuple[Any, Any]:
    with importing("results of a benchmark", "pyarrow"):
        import pyarrow
        from pyarrow import parquet
    return pyarrow, parquet
