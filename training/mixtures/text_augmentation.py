"""Text augmentation of recorded objectives: other orders, without names, with less metadata.

An objective has a fixed number of variants, drawn from the run's seed, so that each is made once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from optformer.data.studies.parameters import Categorical
from optformer.data.studies.study_config import StudyConfig
from optformer.tokenization.augment import (
    draw_flips,
    drop_descriptions,
    drop_metadata,
    drop_names,
    flip_points,
    permute_choices,
    permute_parameters,
)
from optformer.tokenization.history import Points, ValueKind
from optformer.tokenization.legality import legal_values
from optformer.tokenization.metadata import MetadataEncoding, encode_metadata
from optformer.tokenization.vocabulary import Vocabulary
from optformer.training.mixtures.recorded import StudyGroup

VARIANTS = 32  # of an objective
MIRRORED = 0.5  # share of the numeric axes of a variant without names

_CACHED = 10_000  # variants, and encodings, kept in memory: about 10 kB each
_STREAM = 3  # of the run's seed


@dataclass(frozen=True)
class AugmentedObjective:
    """One variant of an objective.

    Attributes:
        config: The study as the metadata describe it.
        order: The objective's parameter in each slot, by its index.
        flips: Whether each of the objective's parameters is mirrored; None mirrors none.
        choices: New index of each choice, for the slots whose choices change their order.
        space_legal: Bins and choices of the objective's parameters, bool, (P, Q + max_choices).
    """

    config: StudyConfig
    order: list[int]
    flips: tuple[bool, ...] | None
    choices: dict[int, NDArray[np.float32]]
    space_legal: NDArray[np.bool_]

    @property
    def legal(self) -> NDArray[np.bool_]:
        """Bins and choices of each slot, bool, (P, Q + max_choices)."""
        return self.space_legal[self.order]

    def transform(self, points: Points) -> Points:
        """Points of the objective, (N, P), as points of this variant."""
        if self.flips is not None:
            points = flip_points(points, self.flips)
        values, kinds = points.values[:, self.order], points.kinds[:, self.order]
        for slot, moved in self.choices.items():
            chosen = kinds[:, slot] == ValueKind.CHOICE
            values[chosen, slot] = moved[values[chosen, slot].astype(np.int64)]
        return Points(values, kinds)


class TextAugmentation:
    """All variants of some objectives.

    Args:
        objectives: The objectives.
        vocabulary: Encodes the metadata.
        seed: Seed of the run.
    """

    def __init__(self, objectives: Sequence[StudyGroup], vocabulary: Vocabulary, seed: int):
        self.objectives, self.vocabulary, self.seed = objectives, vocabulary, seed
        self._variants: dict[tuple[int, int], AugmentedObjective] = {}
        self._encodings: dict[tuple[object, ...], MetadataEncoding] = {}

    def variant(self, objective: int, number: int) -> AugmentedObjective:
        """One variant of an objective, both by their numbers."""
        key = objective, number
        if key not in self._variants:
            if len(self._variants) == _CACHED:
                self._variants.clear()
            rng = np.random.default_rng([self.seed, objective, number, _STREAM])
            self._variants[key] = _draw(self.objectives[objective], rng)
        return self._variants[key]

    def encoding(
        self, objective: int, number: int, algorithm: str | None, metadata: Mapping[str, str]
    ) -> MetadataEncoding:
        """The metadata of a variant, with the algorithm's name and further entries."""
        key = objective, number, algorithm, tuple(metadata.items())
        if key not in self._encodings:
            if len(self._encodings) == _CACHED:
                self._encodings.clear()
            config = self.variant(objective, number).config
            config = replace(config, metadata={**config.metadata, **metadata})
            self._encodings[key] = encode_metadata(config, self.vocabulary, algorithm=algorithm)
        return self._encodings[key]


def _draw(objective: StudyGroup, rng: np.random.Generator) -> AugmentedObjective:
    settings, original = objective.settings, objective.config
    config, flips = original, None
    left_out, unnamed = settings.left_out, 0.0
    if rng.random() < settings.unnamed:
        flips = draw_flips(original.space, rng, MIRRORED)
        left_out = unnamed = 1.0
    if rng.random() < settings.reordered:
        config, _ = permute_parameters(config, [], rng)
        config = permute_choices(config, rng)
    order = [original.space.names.index(name) for name in config.space]
    moved = {
        slot: np.array([p.index(c) for c in original.space[name].grid()], dtype=np.float32)
        for slot, (name, p) in enumerate(config.space.items())
        if isinstance(p, Categorical)
    }
    config = drop_descriptions(drop_metadata(config, rng, left_out), rng, left_out)
    config, _ = drop_names(config, [], rng, unnamed)
    return AugmentedObjective(config, order, flips, moved, legal_values(original.space, flips))
