"""Recorded studies in one file: JSON lines, a study a line, with everything that was tried."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from optformer.data.runtime.files import write_atomically
from optformer.data.studies.errors import DatasetError, OptFormerError
from optformer.data.studies.recorded_study import RecordedStudy
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus

SUFFIX = ".studies.jsonl"
"""How the names of such files end."""


def write_studies(path: Path, studies: Iterable[RecordedStudy]) -> None:
    """Write studies into a file that is whole or not there.

    Raises:
        DatasetError: The file cannot be written.
    """
    try:
        with write_atomically(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(_described(study)) + "\n" for study in studies)
    except OSError as error:
        raise DatasetError(f"cannot write {path}: {error.strerror}") from error


_NO_STUDY = (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError)


def read_studies(path: Path) -> Iterator[RecordedStudy]:
    """Read studies back, in their order.

    Raises:
        DatasetError: The file cannot be read, or a line is no study; the message names the line.
    """
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield _read(json.loads(line))
                except (*_NO_STUDY, OptFormerError) as error:
                    raise DatasetError(f"{path}, line {number} is no study: {error}") from error
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"cannot read {path}: {error}") from error


def _described(study: RecordedStudy) -> dict[str, Any]:
    origin = {"source": study.source, "task": study.task, "method": study.method}
    return {
        "name": study.name,
        **{field: known for field, known in origin.items() if known},
        "config": study.config.to_dict(),
        "trials": [
            {
                "number": trial.number,
                "params": dict(trial.params),
                "status": trial.status.value,
                "value": trial.value,
                "reason": trial.reason,
                **({"metrics": dict(trial.metrics)} if trial.metrics else {}),
            }
            for trial in study.trials
        ],
    }


def _read(described: dict[str, Any]) -> RecordedStudy:
    config = StudyConfig.from_dict(described["config"])
    trials = tuple(
        Trial(
            number=entry["number"],
            params=entry["params"],
            status=TrialStatus(entry["status"]),
            value=entry["value"],
            reason=entry["reason"],
            metrics=entry.get("metrics", {}),
            study=described["name"],
        )
        for entry in described["trials"]
    )
    origin = {
        field: described[field] for field in ("source", "task", "method") if field in described
    }
    return RecordedStudy(described["name"], config, trials, **origin)
