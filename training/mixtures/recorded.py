"""Recorded studies as arrays: generated histories, and one's own studies and tables of trials.

Everything is read once, when a run starts, so that a damaged file stops it there and a batch can
reach any study: a batch is a function of the step, and a run resumes exactly. A trial takes about
5 P + 20 bytes for P parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from optformer.data.corpora.emulation.histories import dataset_name, training_histories
from optformer.data.corpora.emulation.tables import is_held_out
from optformer.data.methods.registry import algorithm_of
from optformer.data.studies.errors import ConfigError, DatasetError, TokenizationError
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.study_files import SUFFIX, read_studies
from optformer.data.studies.study_tables import StudyTable, find_tables
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.tokenization.history import MetricKind, encode_points
from optformer.tokenization.metadata import check_limits
from optformer.training.config import HistoriesConfig

_KINDS = {
    TrialStatus.COMPLETED: MetricKind.VALUE,
    TrialStatus.STOPPED: MetricKind.VALUE,
    TrialStatus.PENDING: MetricKind.PENDING,
    TrialStatus.FAILED: MetricKind.FAILED,
}


@dataclass(frozen=True)
class StudyGroup:
    """All studies of one objective, one after another: N trials, M studies.

    Attributes:
        config: Space, metric, goal and metadata.
        values: Scaled values and choices as in `tokenization.history.Points`, float32, (N, P).
        kinds: A `ValueKind` each, int8, (N, P).
        gain: Values to maximize, NaN where there is none, float64, (N,).
        metric_kinds: A `MetricKind` each, int8, (N,).
        starts: First trial of each study, and N, int64, (M + 1,).
        methods: Search method of each study as the metadata name it, None where it is not known.
        settings: How its studies are drawn and changed.
    """

    config: StudyConfig
    values: NDArray[np.float32]
    kinds: NDArray[np.int8]
    gain: NDArray[np.float64]
    metric_kinds: NDArray[np.int8]
    starts: NDArray[np.int64]
    methods: tuple[str | None, ...]
    settings: HistoriesConfig

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Trials of each study, (M,)."""
        lengths: NDArray[np.int64] = np.diff(self.starts)
        return lengths


def read_histories(
    sources: Sequence[HistoriesConfig], folder: Path, *, progress: bool = False
) -> list[StudyGroup]:
    """Read all recorded studies.

    Studies belong to one objective when space, metric, goal and metadata are equal, a data set
    among them. Trials that were interrupted say nothing and are left out, and so are the data sets
    that are held out.

    Args:
        sources: Where they lie.
        folder: What their paths are relative to.
        progress: Show a progress bar on standard error.

    Raises:
        DatasetError: A file is damaged or of another format, a study cannot be written in the
            language, or a folder holds studies that nothing may be trained on, or none but those
            that are held out; the message names it.
        ConfigError: There is no such table, or it lacks a column.
    """
    objectives = []
    for source in sources:
        path = folder / source.path
        if source.goals:
            studies = _own_tables(path, source)
        else:
            studies = _own_studies(path) if path.name.endswith(SUFFIX) else _generated(path)
        grouped: dict[tuple[object, ...], list[_EncodedStudy]] = {}
        bar = tqdm(studies, desc=source.path, unit="study", disable=not progress)
        for number, study in enumerate(bar):
            config = study.config
            if "dataset" in config.metadata and is_held_out(dataset_name(config), source.held_out):
                continue
            grouped.setdefault(objective_key(config, number), []).append(study)
        if not grouped:
            raise DatasetError(f"every study in {path} is held out; choose a smaller held_out")
        objectives += [_join(members, source) for members in grouped.values()]
    return objectives


def objective_key(config: StudyConfig, number: int) -> tuple[object, ...]:
    """What the studies of one objective share.

    Args:
        config: The study.
        number: Its place among others; one that tells no data set shares it with none.
    """
    about = tuple(sorted(config.metadata.items()))
    alone = None if "dataset" in config.metadata else number
    return config.space, config.metric_name, config.goal, about, alone


@dataclass(frozen=True)
class _EncodedStudy:
    config: StudyConfig
    method: str | None
    values: NDArray[np.float32]
    kinds: NDArray[np.int8]
    gain: NDArray[np.float64]
    metric_kinds: NDArray[np.int8]


def _generated(path: Path) -> Iterator[_EncodedStudy]:
    if path.is_file():
        raise ConfigError(
            f"{path} is a table of your own; say what it measures, such as "
            "goals: {accuracy: maximize}"
        )
    for history in training_histories(path):
        named = algorithm_of(history.method) if history.method else None
        yield _encode(f"{path}, study {history.name}", history.config, history.trials, named)


def _own_tables(path: Path, source: HistoriesConfig) -> Iterator[_EncodedStudy]:
    for file in find_tables(path):
        table = StudyTable(file)
        table.check_trainable()
        for metric, goal in source.goals.items():
            studies, illegal = table.studies(metric, goal)
            if illegal:
                name, reason = next(iter(illegal.items()))
                raise DatasetError(f"{file}, study {name}: {reason}")
            for study in studies:
                yield _encode(f"{file}, study {study.name}", study.config, study.trials, None)


def _own_studies(path: Path) -> Iterator[_EncodedStudy]:
    for study in read_studies(path):
        yield _encode(f"{path}, study {study.name}", study.config, study.trials, None)


def _encode(
    what: str, config: StudyConfig, trials: Sequence[Trial], method: str | None
) -> _EncodedStudy:
    kept = [trial for trial in trials if not trial.interrupted]
    try:
        check_limits(config.space)
        points = encode_points(config.space, [trial.params for trial in kept])
    except TokenizationError as error:
        raise DatasetError(f"{what}: {error}") from error
    return _EncodedStudy(
        config=config,
        method=method,
        values=points.values,
        kinds=points.kinds.astype(np.int8),
        gain=np.array(
            [np.nan if t.value is None else config.sign * t.value for t in kept], dtype=np.float64
        ),
        metric_kinds=np.array([_KINDS[trial.status] for trial in kept], dtype=np.int8),
    )


def _join(studies: Sequence[_EncodedStudy], settings: HistoriesConfig) -> StudyGroup:
    lengths = [len(study.gain) for study in studies]
    return StudyGroup(
        config=studies[0].config,
        values=np.concatenate([study.values for study in studies]),
        kinds=np.concatenate([study.kinds for study in studies]),
        gain=np.concatenate([study.gain for study in studies]),
        metric_kinds=np.concatenate([study.metric_kinds for study in studies]),
        starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        methods=tuple(study.method for study in studies),
        settings=settings,
    )
