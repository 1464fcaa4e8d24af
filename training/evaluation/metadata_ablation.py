"""Ways to tell a study: all that can be said, less, or with wrong names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from optformer.data.studies.parameters import Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import Goal, StudyConfig
from optformer.data.studies.trials import Trial

VARIANTS = ("all", "no metadata", "no names", "permuted names")
"""What the model is told: everything; no task and model; parameters called x0, x1, ...; each
parameter called by another one's name."""


@dataclass(frozen=True)
class MetadataVariant:
    """A study as the model is told it.

    Attributes:
        config: With other names, metadata and goal than the study's own, which is maximized.
        names: The name told for each of the study's parameters.
    """

    config: StudyConfig
    names: Mapping[str, str]

    def trials(self, trials: Sequence[Trial]) -> list[Trial]:
        """The study's own trials as they are told."""
        return [
            replace(
                trial,
                params={self.names[name]: value for name, value in trial.params.items()},
                value=None if trial.value is None else self.config.sign * trial.value,
            )
            for trial in trials
        ]

    def own(self, params: Mapping[str, Value]) -> dict[str, Value]:
        """What the study itself calls a told point."""
        back = {told: name for name, told in self.names.items()}
        return {back[name]: value for name, value in params.items()}


def tell(config: StudyConfig, goal: Goal, told: str, rng: np.random.Generator) -> MetadataVariant:
    """Tell a study.

    Args:
        config: The study, whose metric is maximized.
        goal: The goal that the model is told, the metric's own.
        told: One of `VARIANTS`.
        rng: Permutes the names.
    """
    own = config.space.names
    names = dict(zip(own, own, strict=True))
    if told == "no names":
        names = {name: f"x{number}" for number, name in enumerate(own)}
    elif told == "permuted names":
        around = [own[i] for i in rng.permutation(len(own))]  # each is called as the next one is
        names = {name: around[(i + 1) % len(own)] for i, name in enumerate(around)}
    metadata = {} if told == "no metadata" else config.metadata
    renamed = replace(config, space=_rename(config.space, names), metadata=metadata, goal=goal)
    return MetadataVariant(renamed, names)


def _rename(space: SearchSpace, names: Mapping[str, str]) -> SearchSpace:
    """The space with other names; descriptions, which tell the old ones, go with those."""
    renamed = {}
    for name, parameter in space.items():
        when = {names[above]: list(values) for above, values in (parameter.when or {}).items()}
        told = parameter.description if names[name] == name else ""
        renamed[names[name]] = replace(parameter, when=when or None, description=told)
    return SearchSpace(renamed)
