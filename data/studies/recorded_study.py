"""A study that was run, wherever it was recorded."""

from __future__ import annotations

from dataclasses import dataclass

from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial


@dataclass(frozen=True)
class RecordedStudy:
    """A study that was run.

    Attributes:
        name: Its name where it was run.
        config: Space, metric, goal and metadata.
        trials: Its trials in order.
        source: File, folder or storage that it was read from; empty when it was not read.
        task: What was tuned; studies of one task are not independent. Empty when it is not known.
        method: Search method that proposed the trials; None when it is not known.
    """

    name: str
    config: StudyConfig
    trials: tuple[Trial, ...]
    source: str = ""
    task: str = ""
    method: str | None = None
