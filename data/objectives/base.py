"""What an objective is: a study without a history, and the function behind it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from optformer.data.studies.errors import ObjectiveError
from optformer.data.studies.parameters import Value
from optformer.data.studies.study_config import StudyConfig


@dataclass(frozen=True)
class Objective:
    """Something to tune.

    Attributes:
        name: Short name, unique in its suite.
        config: The space, metric, goal and metadata a user would give.
        function: Maps a legal point to the metric, in the metric's units and sign.
        reserved: Never trained on: for development and reporting only.
        optimum: Best possible value of the metric; None when nobody knows it.
    """

    name: str
    config: StudyConfig
    function: Callable[[Mapping[str, Value]], float]
    reserved: bool
    optimum: float | None = None

    def __call__(self, params: Mapping[str, Value]) -> float:
        """Evaluate one point.

        Args:
            params: A legal point of the space; a parameter too many or too few is an error.

        Returns:
            The metric, in the user's units and sign.

        Raises:
            SearchSpaceError: The point is not legal.
            ObjectiveError: The evaluation failed, or its result is not finite; a trial of this
                point has failed.
        """
        value = float(self.function(self.config.space.validate(params)))
        if not math.isfinite(value):
            raise ObjectiveError(f"{self.name}: the metric is {value} at {dict(params)}")
        return value
