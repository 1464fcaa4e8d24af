"""Read a folder of histories back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from optformer.data.corpora.generation.shards import check_shard, find_shards, read_manifest
from optformer.data.studies.errors import DatasetError
from optformer.data.studies.recorded_study import RecordedStudy
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus


def load_histories(path: str | Path) -> Iterator[RecordedStudy]:
    """Read the histories of a folder, one study at a time, through `datasets`.

    The task of a study is its objective; `trial.metrics["seconds"]` is the time of an evaluation.

    Args:
        path: A folder that `generate` wrote, maybe unfinished.

    Returns:
        The studies, ordered by objective, method and seed.

    Raises:
        DatasetError: The folder holds no history, or a file in it is damaged or of another format;
            the message names it. All files are checked before the first study comes out.
    """
    out = Path(path)
    read_manifest(out)
    shards = find_shards(out)
    if not shards:
        raise DatasetError(
            f"{out} holds no histories; generate them with `optformer generate`, or give goals if "
            "it holds tables of your own"
        )
    for shard in shards:
        check_shard(shard)
    return _histories(shards, source=out.name)


def _histories(shards: list[Path], source: str) -> Iterator[RecordedStudy]:
    from datasets import load_dataset

    files = [str(shard) for shard in shards]
    # Streamed: nothing is copied to a cache, and one shard at a time is in memory.
    rows = load_dataset("parquet", data_files=files, split="train", streaming=True)
    for _, group in groupby(rows, key=itemgetter("study")):
        entries = list(group)
        first = entries[0]
        config = StudyConfig(
            space=SearchSpace.from_dict(json.loads(first["space"])),
            metric=first["metric"],
            goal=first["goal"],
            metadata=json.loads(first["metadata"]),
        )
        trials = tuple(
            Trial(
                number=entry["trial"],
                params=json.loads(entry["params"]),
                status=TrialStatus(entry["status"]),
                value=entry["value"],
                reason=entry["reason"],
                metrics={"seconds": entry["seconds"]},
                study=entry["study"],
            )
            for entry in entries
        )
        yield RecordedStudy(
            first["study"], config, trials, source, first["objective"], first["method"]
        )
