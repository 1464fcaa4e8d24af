"""What a data set for live training is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from optformer.data.objectives.fitting import Array, Score, Split, folds, holdout
from optformer.data.studies.study_config import Goal

Kind = Literal["classification", "regression"]

_FOLDS = 3


@dataclass(frozen=True)
class DataSet:
    """A data set with the way models are scored on it.

    Attributes:
        kind: What is learned.
        text: The data set's name as an engineer would write it.
        size: Examples, features and classes in words.
        metric: Name of the metric.
        goal: Its direction.
        score: The metric itself.
        load: Inputs (N, features) and targets (N,).
        holdout: Numbers of training and test examples; None for three-fold cross-validation.
    """

    kind: Kind
    text: str
    size: str
    metric: str
    goal: Goal
    score: Score
    load: Callable[[], tuple[Array, Array]]
    holdout: tuple[int, int] | None

    @property
    def metadata(self) -> dict[str, str]:
        """What an engineer would tell about the data."""
        return {"task": self.kind, "dataset": self.text, "dataset size": self.size}

    def split(self) -> tuple[Split, ...]:
        """The fixed splits into training and test examples."""
        inputs, targets = self.load()
        if self.holdout is None:
            return folds(inputs, targets, _FOLDS)
        return (holdout(inputs, targets, *self.holdout),)
