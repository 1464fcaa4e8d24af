"""Metadata ablation: a study with all its metadata, with less, or with wrong names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from optformer.data.studies.parameters import Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import Goal, StudyConfig
from optformer.data.studies.trials import Trial

VARIANTS = ("all", "no metadata", "no names", "permuted names")
"""What the model reads: everything; no task and model; parameters called x0, x1, ...; each
parameter called by another one's name."""


@dataclass(frozen=True)
class MetadataVariant:
    """A study as the model reads it.

    Attributes:
        config: The study with the variant's names, metadata and goal; its own metric is maximized.
        names: Each of the study's parameters to its name in the variant.
    """

    config: StudyConfig
    names: Mapping[str, str]

    def trials(self, trials: Sequence[Trial]) -> list[Trial]:
        """The study's trials in the variant's names and with its goal's sign."""
        return [
            replace(
                trial,
                params={self.names[name]: value for name, value in trial.params.items()},
                value=None if trial.value is None else self.config.sign * trial.value,
            )
            for trial in trials
        ]

    def original(self, params: Mapping[str, Value]) -> dict[str, Value]:
        """A point of the variant in the study's own names."""
        back = {renamed: name for name, renamed in self.names.items()}
        return {back[name]: value for name, value in params.items()}


def ablate_metadata(
    config: StudyConfig, goal: Goal, variant: str, rng: np.random.Generator
) -> MetadataVariant:
    """Take away or permute a part of what a study's metadata tell.

    Args:
        config: The study, whose metric is maximized.
        goal: The metric's own goal, which the model reads.
        variant: One of `VARIANTS`.
        rng: Permutes the names.
    """
    own = config.space.names
    names = dict(zip(own, own, strict=True))
    if variant == "no names":
        names = {name: f"x{number}" for number, name in enumerate(own)}
    elif variant == "permuted names":
        around = [own[i] for i in rng.permutation(len(own))]  # each is called as the next one is
        names = {name: around[(i + 1) % len(own)] for i, name in enumerate(around)}
    metadata = {} if variant == "no metadata" else config.metadata
    renamed = replace(config, space=_rename(config.space, names), metadata=metadata, goal=goal)
    return MetadataVariant(renamed, names)


def _rename(space: SearchSpace, names: Mapping[str, str]) -> SearchSpace:
    """The space with other names; a renamed parameter loses its description, which may tell it."""
    renamed = {}
    for name, parameter in space.items():
        when = {names[above]: list(values) for above, values in (parameter.when or {}).items()}
        description = parameter.description if names[name] == name else ""
        renamed[names[name]] = replace(parameter, when=when or None, description=description)
    return SearchSpace(renamed)
