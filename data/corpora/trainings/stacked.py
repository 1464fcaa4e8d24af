"""Train many small networks at once: one batched product a layer for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from optformer.data.corpora.trainings.columns import Columns
from optformer.data.corpora.trainings.layout import Layout
from optformer.data.corpora.trainings.optimizers import Descent
from optformer.data.corpora.trainings.schedules import learning_rates

MOST = 48
"""Most networks at once: their weights and gradients fit the cache of a core."""


class Learner(Protocol):
    """K networks with their data, apart from their weights.

    Attributes:
        layout: Where the weights lie.
        examples: Number of examples of training.
    """

    layout: Layout
    examples: int

    def loss(self, weights: list[Tensor], rows: Tensor, noise: torch.Generator) -> Tensor:
        """The loss of each network on some examples, (K,)."""

    def measure(self, weights: list[Tensor]) -> dict[str, Tensor]:
        """Metrics of each network once it is trained, (K,) each."""


MakeLearner = Callable[[Columns], Learner]
"""Makes the networks of some configurations."""


def train_stacked(make: MakeLearner, columns: Columns, seed: int) -> dict[str, Tensor]:
    """Train a network for each of K configurations, and measure it.

    What comes out for a configuration does not depend on the others: all draw the same first
    weights, the same order of examples and the same dropout.

    Args:
        make: Makes networks; called for groups of configurations.
        columns: The configurations.
        seed: Seed of all that is drawn.

    Returns:
        Metrics, (K,) each.
    """
    found: dict[str, Tensor] = {}
    for rows in _groups(columns):
        part = columns.select(rows)
        learner = make(part)
        weights = train_weights(learner, part, seed)
        with torch.no_grad():
            measured = learner.measure(learner.layout.views(weights))
        for name, values in measured.items():
            whole = found.setdefault(name, torch.full((len(columns),), torch.nan))
            whole[rows] = values.float()
    return found


def train_learner(columns: Columns, data: Any, seed: int, learner: Any) -> dict[str, Tensor]:
    """Train what a learner makes of data, for each of K configurations; see `train_stacked`.

    Args:
        columns: The configurations.
        data: What the networks learn from.
        seed: Seed of all that is drawn.
        learner: Makes a `Learner` of configurations and data.
    """
    return train_stacked(lambda part: learner(part, data), columns, seed)


def _groups(columns: Columns) -> Iterator[list[int]]:
    """Configurations with one batch size, and about as long trainings, side by side."""
    keys = list(zip(columns.values("batch_size"), columns.values("epochs"), strict=True))
    for size in sorted({size for size, _ in keys}):
        rows = sorted((r for r, key in enumerate(keys) if key[0] == size), key=lambda r: keys[r][1])
        parts = -(-len(rows) // MOST)
        for part in range(parts):
            group = rows[part * len(rows) // parts : (part + 1) * len(rows) // parts]
            names: Sequence[str] = columns.values("optimizer")
            yield sorted(group, key=lambda r: names[r])


def train_weights(learner: Learner, columns: Columns, seed: int) -> Tensor:
    """Train networks of one batch size.

    Args:
        learner: The networks.
        columns: Their configurations.
        seed: Seed of all that is drawn.

    Returns:
        Their weights, (K, P), averaged where `ema` says so.
    """
    draws, noise = (torch.Generator().manual_seed(2 * seed + i) for i in range(2))
    weights = learner.layout.draw(draws).requires_grad_()
    batch = min(int(columns.values("batch_size")[0]), learner.examples)
    per_epoch = learner.examples // batch
    steps = columns.numbers("epochs").round() * per_epoch
    rates = learning_rates(columns, steps)
    descent = Descent(weights, columns)
    ema = columns.numbers("ema")[:, None]
    average = weights.detach().clone() if bool(ema.any()) else None
    for step, rate in enumerate(rates):
        first = step % per_epoch * batch
        if first == 0:
            order = torch.randperm(learner.examples, generator=draws)
        loss = learner.loss(learner.layout.views(weights), order[first : first + batch], noise)
        (gradient,) = torch.autograd.grad(loss.sum(), weights)
        descent.step(gradient, rate)
        if average is not None:
            kept = torch.where(rate[:, None] > 0, ema.clamp_max((1 + step) / (10 + step)), 1.0)
            with torch.no_grad():
                average.copy_(torch.where(ema > 0, kept * average + (1 - kept) * weights, weights))
    return weights.detach() if average is None else average
