"""What a family of trainings is: a named space, and what a configuration of it measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from optformer.data.corpora.trainings.columns import Columns
from optformer.data.studies.parameters import Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import Goal


@dataclass(frozen=True)
class TrainingFamily:
    """A kind of model with the hyperparameters that are searched.

    Attributes:
        name: Short name, unique.
        tasks: Ways to say what is learned.
        models: Ways to say what is tuned.
        space: What is searched.
        goals: Metrics that are kept, with their goals; the first is the main one.
        data: Seed to a generated data set, whose attribute `text` describes it.
        run: Configurations, a data set and a seed to metrics, (K,) each, `goals`' among them; a
            value that is not finite is that of a failed training.
        fixed: Values of parameters that are not searched.
    """

    name: str
    tasks: tuple[str, ...]
    models: tuple[str, ...]
    space: SearchSpace
    goals: Mapping[str, Goal]
    data: Callable[[int], Any]
    run: Callable[[Columns, Any, int], dict[str, Tensor]]
    fixed: Mapping[str, Value] = field(default_factory=dict)
