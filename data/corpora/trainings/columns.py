"""Configurations of a family as columns, one entry a configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from optformer.data.studies.parameters import Float, Int, Value
from optformer.data.studies.spaces import SearchSpace

USUAL: Mapping[str, Value] = {
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "momentum": 0.9,
    "beta2": 0.999,
    "epsilon": 1e-8,
    "weight_decay": 0.0,
    "clip_norm": float("inf"),
    "schedule": "constant",
    "warmup": 0.0,
    "decay_factor": 0.1,
    "batch_size": 32,
    "epochs": 10,
    "ema": 0.0,
    "label_smoothing": 0.0,
    "focal_gamma": 0.0,
    "class_weighting": 0.0,
    "mixup_alpha": 0.0,
    "huber_delta": float("inf"),
    "dropout": 0.0,
    "input_dropout": 0.0,
    "input_noise": 0.0,
    "init_scale": 1.0,
    "layers": 2,
    "activation": "relu",
    "normalization": "none",
    "multiplier": 6.0,
}
"""Values of what a family does not search, unless the family says otherwise."""


class Columns:
    """K configurations of one family.

    Args:
        space: Its search space.
        points: Legal points.
        fixed: Values of what the space does not search or a point leaves inactive; before `USUAL`.
    """

    def __init__(
        self,
        space: SearchSpace,
        points: Sequence[Mapping[str, Value]],
        fixed: Mapping[str, Value] | None = None,
    ) -> None:
        self.points = points
        self._space = space
        self._usual = {**USUAL, **(fixed or {})}

    def __len__(self) -> int:
        return len(self.points)

    def select(self, rows: Sequence[int]) -> Columns:
        """Some of the configurations."""
        return Columns(self._space, [self.points[row] for row in rows], self._usual)

    def values(self, name: str) -> list[Value]:
        """A parameter's value in each configuration.

        Raises:
            KeyError: A configuration lacks it, and nothing says what it usually is.
        """
        return [point[name] if name in point else self._usual[name] for point in self.points]

    def usual(self, name: str) -> Value:
        """What a parameter is where it is not searched."""
        return self._usual[name]

    def numbers(self, name: str) -> Tensor:
        """A number in each configuration, (K,); truth values are 0 and 1."""
        return torch.tensor([float(value) for value in self.values(name)])

    def where(self, name: str, value: Value) -> Tensor:
        """Which configurations have a value, bool, (K,)."""
        return torch.tensor([found == value for found in self.values(name)])

    def searched(self, name: str) -> bool:
        """Whether the family's configurations differ in it."""
        return name in self._space

    def largest(self, name: str) -> int:
        """The largest value that the family's space allows, of a whole number."""
        if name not in self._space:
            return int(self._usual[name])
        parameter = self._space[name]
        ends = [parameter.high] if isinstance(parameter, Float | Int) else parameter.choices
        return int(max(ends))
