"""Random search spaces, as tensors to draw points from and as `SearchSpace` to describe them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Parameter, Value
from optformer.data.studies.spaces import SearchSpace

MAX_CHOICES = 6
# Shares of the spaces whose parameters are all continuous, all levels, all choices.
PURE_SHARES = (0.33, 0.12, 0.1)
STRANGE_SHARE = 0.3  # of the spaces named with other words than those of tuning
CONDITIONAL_SHARE = 0.25  # of the spaces with a categorical parameter and another after it

_FLOAT_NAMES = (
    "learning_rate lr alpha beta gamma lambda eta dropout momentum weight_decay tol subsample "
    "colsample_bytree min_child_weight max_features reg_alpha reg_lambda C coef0 epsilon l1_ratio "
    "validation_fraction temperature label_smoothing warmup_ratio noise power_t shrinkage bandwidth"
).split()
_INT_NAMES = (
    "max_depth n_estimators num_layers hidden_units batch_size n_neighbors min_samples_leaf "
    "min_samples_split max_iter degree num_leaves n_components num_heads filters kernel_size "
    "leaf_size max_bin early_stopping_rounds epochs width depth"
).split()
_CHOICE_NAMES = (
    "optimizer activation kernel booster criterion solver loss penalty scheduler normalization "
    "weights metric initializer imputer pooling augmentation max_features_mode splitter"
).split()
_CHOICES = (
    "sgd adam rmsprop relu tanh gelu linear rbf poly sigmoid gbtree dart gini entropy l1 l2 none "
    "cosine step constant batch layer uniform distance mean median auto sqrt log2 best random lbfgs"
).split()


@dataclass(frozen=True)
class SyntheticSpaces:
    """S random spaces with P parameters each, in topological order.

    Attributes:
        choices: Number of choices of a categorical parameter, 0 for a numeric one, int64, (S, P).
        levels: Number of levels of a numeric parameter, 0 when continuous, int64, (S, P).
        parent: Slot of the parameter it is conditional on, -1 for none, int64, (S, P).
        allowed: Choices of the parent under which it is active, bool, (S, P, MAX_CHOICES).
        described: The spaces as an engineer would write them.
    """

    choices: Tensor
    levels: Tensor
    parent: Tensor
    allowed: Tensor
    described: tuple[SearchSpace, ...]

    @property
    def is_choice(self) -> Tensor:
        """Which parameters are categorical, bool, (S, P)."""
        return self.choices > 0

    def select(self, spaces: slice) -> SyntheticSpaces:
        """Some of the spaces."""
        return SyntheticSpaces(
            self.choices[spaces],
            self.levels[spaces],
            self.parent[spaces],
            self.allowed[spaces],
            self.described[spaces],
        )

    def to(self, device: torch.device) -> SyntheticSpaces:
        """These spaces on a device."""
        return SyntheticSpaces(
            self.choices.to(device),
            self.levels.to(device),
            self.parent.to(device),
            self.allowed.to(device),
            self.described,
        )

    def legal(self, unit: Tensor) -> Tensor:
        """Turn numbers of the unit cube into legal values.

        Args:
            unit: Uniform numbers in [0, 1], (S, ..., P).

        Returns:
            Unit-interval values on the level grid, or choice indices, (S, ..., P).
        """
        extra = unit.dim() - 2
        choices = _lift(self.choices, extra)
        steps = (_lift(self.levels, extra) - 1).clamp(min=1)
        # Every level gets an equal share of the interval.
        stepped = torch.floor(unit * (steps + 1)).clamp(max=steps) / steps
        numeric = torch.where(_lift(self.levels, extra) > 0, stepped, unit)
        index = torch.minimum(torch.floor(unit * choices), (choices - 1).clamp(min=0).to(unit))
        return torch.where(choices > 0, index, numeric)

    def snap(self, values: Tensor) -> Tensor:
        """Move numeric values, (S, ..., P), to the nearest legal ones; choices stay."""
        extra = values.dim() - 2
        steps = (_lift(self.levels, extra) - 1).clamp(min=1)
        clipped = values.clamp(0.0, 1.0)
        stepped = torch.round(clipped * steps) / steps
        numeric = torch.where(_lift(self.levels, extra) > 0, stepped, clipped)
        return torch.where(_lift(self.choices, extra) > 0, values, numeric)

    def active(self, values: Tensor) -> Tensor:
        """Which parameters take part, bool, like `values` (S, ..., P)."""
        conditional = self.parent >= 0  # (S, P)
        if not bool(conditional.any()):
            return torch.ones_like(values, dtype=torch.bool)
        extra = values.dim() - 2
        free = ~_lift(conditional, extra)
        above = _lift(self.parent.clamp(min=0), extra).expand(values.shape)
        chosen = torch.gather(values, -1, above).long().clamp(0, MAX_CHOICES - 1)
        allowed = _lift(self.allowed, extra).expand(*values.shape, MAX_CHOICES)
        on = free | torch.gather(allowed, -1, chosen[..., None])[..., 0]
        # A parameter under an inactive one is inactive: one round for each further level.
        for _ in range(self._depth() - 1):
            on = on & (free | torch.gather(on, -1, above))
        return on

    def _depth(self) -> int:
        """Most conditions above one another."""
        depth, above = 0, self.parent
        while bool((above >= 0).any()):
            depth += 1
            higher = torch.gather(self.parent, -1, above.clamp(min=0))
            above = torch.where(above >= 0, higher, above)
        return depth

    def mutate(
        self, values: Tensor, scale: Tensor, rate: float, generator: torch.Generator
    ) -> Tensor:
        """Perturb points: numbers by a normal step, choices redrawn at a rate.

        Args:
            values: Points, (S, ..., P).
            scale: Standard deviation of the numeric step, broadcast against `values`.
            rate: Probability that a choice is redrawn.
            generator: Source of randomness.
        """
        step = torch.randn(values.shape, generator=generator, device=values.device) * scale
        # A level is left with at least the chance that the step reaches half a level.
        moved = self.snap(values + step)
        fresh = self.legal(torch.rand(values.shape, generator=generator, device=values.device))
        redraw = torch.rand(values.shape, generator=generator, device=values.device) < rate
        is_choice = _lift(self.is_choice, values.dim() - 2)
        return torch.where(is_choice & redraw, fresh, torch.where(is_choice, values, moved))


def draw_spaces(
    count: int, parameters: int, rng: np.random.Generator, words: Sequence[str] = ()
) -> SyntheticSpaces:
    """Draw random spaces with the same number of parameters.

    Args:
        count: Number of spaces S.
        parameters: Parameters of each, P >= 1.
        rng: Source of randomness.
        words: More words, which some of the spaces are named with.
    """
    choices = np.zeros((count, parameters), dtype=np.int64)
    levels = np.zeros((count, parameters), dtype=np.int64)
    parent = np.full((count, parameters), -1, dtype=np.int64)
    allowed = np.zeros((count, parameters, MAX_CHOICES), dtype=bool)
    described = []
    for s in range(count):
        # Every other space has a mix of its own, from nearly all of one kind to a bit of each.
        pure = int(rng.choice(4, p=(*PURE_SHARES, 1 - sum(PURE_SHARES))))
        mix = np.eye(3)[pure] if pure < 3 else rng.dirichlet([0.6] * 3)
        for p in range(parameters):
            kind = int(rng.choice(3, p=mix))
            if kind == 1:
                levels[s, p] = int(np.exp(rng.uniform(np.log(2), np.log(40))))
            elif kind == 2:
                choices[s, p] = int(rng.integers(2, MAX_CHOICES + 1))
        for p in range(1, parameters):
            parents = np.flatnonzero(choices[s, :p])
            if len(parents) and rng.random() < CONDITIONAL_SHARE:
                parent[s, p] = rng.choice(parents)
                number = choices[s, parent[s, p]]
                keep = int(rng.integers(1, number))
                allowed[s, p, rng.choice(number, keep, replace=False)] = True
        described.append(_describe(choices[s], levels[s], parent[s], allowed[s], rng, words))
    return SyntheticSpaces(
        torch.from_numpy(choices),
        torch.from_numpy(levels),
        torch.from_numpy(parent),
        torch.from_numpy(allowed),
        tuple(described),
    )


def _describe(
    choices: np.ndarray,
    levels: np.ndarray,
    parent: np.ndarray,
    allowed: np.ndarray,
    rng: np.random.Generator,
    words: Sequence[str],
) -> SearchSpace:
    strange = bool(words) and rng.random() < STRANGE_SHARE
    space: dict[str, Parameter] = {}
    names: list[str] = []
    for p in range(len(choices)):
        pool: Sequence[str] = (
            _CHOICE_NAMES if choices[p] else _INT_NAMES if levels[p] else _FLOAT_NAMES
        )
        if strange:
            pool = words
        name = str(rng.choice(pool)) if rng.random() < 0.8 else f"x{p}"
        while name in space:
            name = f"{name}_{int(rng.integers(100))}"
        when = None
        if parent[p] >= 0:
            above = names[parent[p]]
            options = space[above].grid()
            when = {above: [options[i] for i in np.flatnonzero(allowed[p, : len(options)])]}
        named = words if strange else _CHOICES
        space[name] = _parameter(int(choices[p]), int(levels[p]), when, rng, named)
        names.append(name)
    return SearchSpace(space)


def _parameter(
    choices: int,
    levels: int,
    when: dict[str, list[Value]] | None,
    rng: np.random.Generator,
    words: Sequence[str],
) -> Parameter:
    if choices:
        return Categorical([str(w) for w in rng.choice(words, choices, replace=False)], when=when)
    if levels:
        if rng.random() < 0.3:
            return Ordinal([int(2**i) for i in range(min(levels, 40))], when=when)
        first = int(rng.integers(0, 10))
        return Int(first, first + levels - 1, when=when)
    if rng.random() < 0.5:
        low = 10.0 ** -int(rng.integers(1, 7))
        return Float(low, low * 10.0 ** int(rng.integers(1, 6)), log=True, when=when)
    if rng.random() < 0.2:
        return Int(1, int(rng.integers(1_000, 10_000)), when=when)
    low = float(rng.choice([0.0, 0.0, 0.1, 0.5, -1.0]))
    return Float(low, low + float(rng.choice([0.5, 1.0, 2.0, 10.0])), when=when)


def _lift(tensor: Tensor, extra: int) -> Tensor:
    """Insert axes after the first so that (S, ...) broadcasts against (S, extra axes, ...)."""
    return tensor.reshape(tensor.shape[0], *(1,) * extra, *tensor.shape[1:])
