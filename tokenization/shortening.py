"""Shortening: what the model reads of a study whose text is very long.

Ordinary studies are read whole. Of others, long lists are thinned and long texts cut, no further
than it takes. Nothing else changes: a choice that is not read can still be suggested.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_TOKENS = 8192
"""Most tokens of metadata that the model reads."""

MAX_CHARACTERS = 4 * MAX_TOKENS
"""Most characters of metadata that are cut into tokens."""


@dataclass(frozen=True)
class Shortening:
    """How far texts and lists are shortened.

    Attributes:
        members: Most members of a list that are read: of choices, of conditions and their values,
            of metadata. The ends of a longer one are among them, and the rest is evenly spaced.
        characters: Most characters of a text that are read: its first ones.
    """

    members: int
    characters: int

    def kept(self, count: int) -> list[int]:
        """Positions of the members of a list that are read, ascending."""
        if count <= self.members:
            return list(range(count))
        spaced: list[int] = np.linspace(0, count - 1, self.members).round().astype(int).tolist()
        return spaced

    def text(self, text: str) -> str:
        """What is read of a text."""
        return text[: self.characters]


WHOLE = Shortening(MAX_TOKENS, MAX_CHARACTERS)
"""Changes nothing of a study that can be read whole."""

SHORTENINGS = [
    WHOLE,
    *(
        Shortening(members, characters)
        for members, characters in [
            (1024, 8192),
            (256, 4096),
            (256, 1024),
            (256, 256),
            (128, 128),
            (64, 64),
            (32, 64),
            (16, 32),
            (8, 32),
            (4, 32),
            (2, 16),
            (1, 4),
        ]
    ),
]
"""Every shortening that is tried, in this order; the last one is enough for any space."""
