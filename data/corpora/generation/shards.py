"""One Parquet shard a study, and the manifest of a folder of them.

    OUT/manifest.json
    OUT/studies/<objective>/<method>/seed-<n>.parquet

Every file is whole, or it is not there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from optformer.data.corpora.generation.sources import suite_of
from optformer.data.corpora.generation.studies import StudyKey
from optformer.data.runtime.files import write_atomically
from optformer.data.studies.errors import DatasetError
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial

FORMAT = 1
"""Version of the shards and the manifest; readers refuse others."""

_FORMAT_KEY = b"optformer.histories.format"
_COLUMNS = {
    "study": "string",
    "suite": "string",
    "objective": "string",
    "method": "string",
    "seed": "int64",
    "space": "string",
    "metric": "string",
    "goal": "string",
    "metadata": "string",
    "trial": "int64",
    "params": "string",
    "status": "string",
    "value": "float64",
    "reason": "string",
    "seconds": "float64",
}


def shard_path(out: Path, key: StudyKey) -> Path:
    """Where a study's shard lies."""
    return out / "studies" / key.objective / key.method / f"seed-{key.seed}.parquet"


def find_shards(out: Path) -> list[Path]:
    """All shards of a folder, in the order of objective, method and seed."""
    paths = (out / "studies").glob("*/*/seed-*.parquet")
    return sorted(paths, key=lambda path: (path.parent, len(path.name), path.name))


def write_shard(
    out: Path, key: StudyKey, config: StudyConfig, played: Iterable[tuple[Trial, float]]
) -> None:
    """Write a finished study.

    Args:
        out: The folder.
        key: Which study.
        config: Its space, metric, goal and metadata.
        played: Its trials in order, with the seconds of each evaluation.
    """
    import pyarrow as pa
    from pyarrow import parquet

    study = {
        "study": key.name,
        "suite": suite_of(key.objective),
        "objective": key.objective,
        "method": key.method,
        "seed": key.seed,
        "space": json.dumps(config.space.to_dict()),
        "metric": config.metric_name,
        "goal": config.goal,
        "metadata": json.dumps(dict(config.metadata)),
    }
    rows = [
        {
            **study,
            "trial": trial.number,
            "params": json.dumps(dict(trial.params)),
            "status": trial.status.value,
            "value": trial.value,
            "reason": trial.reason,
            "seconds": seconds,
        }
        for trial, seconds in played
    ]
    with write_atomically(shard_path(out, key)) as temporary:
        parquet.write_table(
            pa.Table.from_pylist(rows, schema=_schema(pa)),
            temporary,
            compression="zstd",
            write_statistics=False,  # half of a small file, and of no use in one
            write_page_checksum=True,
        )


def check_shard(path: Path) -> Counter[str]:
    """Read a shard to its end.

    Returns:
        The number of its trials by status.

    Raises:
        DatasetError: The file is damaged, of another format, or that of another study; the message
            names it.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path, partitioning=None, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, str(error)) from error
    found = (table.schema.metadata or {}).get(_FORMAT_KEY, b"none").decode()
    if found != str(FORMAT):
        raise _unreadable(path, f"its format version is {found}, this one reads {FORMAT}")
    if not table.schema.equals(_schema(pa)):
        raise _unreadable(path, f"it has the columns {table.schema.names}")
    rows = (table.column(name).to_pylist() for name in ("objective", "method", "seed"))
    for study in set(zip(*rows, strict=True)):
        key = StudyKey(*study)
        if shard_path(Path(), key).parts[1:] != path.parts[-3:]:
            raise _unreadable(path, f"it holds study {key.name}, which has a file of its own")
    return Counter(table.column("status").to_pylist())


def read_manifest(out: Path) -> dict[str, Any] | None:
    """The manifest of a folder; None when there is none.

    Raises:
        DatasetError: It is no JSON object, or of another format.
    """
    path = out / "manifest.json"
    try:
        manifest = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DatasetError(f"cannot read {path}: {error}; choose another folder") from error
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != FORMAT:
        raise DatasetError(
            f"cannot read {path}: its format version is {found}, this one reads {FORMAT}; choose "
            "another folder"
        )
    return dict(manifest)


def write_manifest(out: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest, with the format's version in front."""
    with write_atomically(out / "manifest.json") as temporary:
        temporary.write_text(json.dumps({"format": FORMAT, **manifest}, indent=2) + "\n")


def _schema(pa: Any) -> Any:
    columns = [(name, getattr(pa, kind)()) for name, kind in _COLUMNS.items()]
    return pa.schema(columns, metadata={_FORMAT_KEY: str(FORMAT)})


def _unreadable(path: Path, why: str) -> DatasetError:
    return DatasetError(
        f"cannot read the histories {path}: {why}; delete this file and generate it again, "
        "or choose another folder"
    )
