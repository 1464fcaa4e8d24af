"""Optimizers of K networks at once, each with its own settings, as PyTorch defines them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from optformer.data.corpora.trainings.columns import Columns

_LION_BETA2 = 0.99
_RMSPROP_SMOOTHING = 0.99
DECOUPLED = ("adamw", "lion")
"""Optimizers whose weight decay shrinks the weights; the others add it to the gradient."""


class _Rule:
    """One optimizer for k of the networks.

    Args:
        columns: Their configurations.
        size: Weights of each network P.
    """

    def __init__(self, columns: Columns, size: int) -> None:
        self.beta1 = columns.numbers("momentum")[:, None]
        self.beta2 = columns.numbers("beta2")[:, None]
        self.epsilon = columns.numbers("epsilon")[:, None]
        self.first = torch.zeros(len(columns), size)
        self.second = torch.zeros(len(columns), size)
        self.steps = 0

    def direction(self, gradient: Tensor) -> Tensor:
        """Where weights move against, times the learning rate, (k, P)."""
        raise NotImplementedError


class _Momentum(_Rule):
    def direction(self, gradient: Tensor) -> Tensor:
        return self.first.mul_(self.beta1).add_(gradient)


class _Nesterov(_Momentum):
    def direction(self, gradient: Tensor) -> Tensor:
        return gradient + self.beta1 * super().direction(gradient)


class _Plain(_Rule):
    def direction(self, gradient: Tensor) -> Tensor:
        return gradient


class _Adam(_Rule):
    def direction(self, gradient: Tensor) -> Tensor:
        self.steps += 1
        self.first.lerp_(gradient, 1 - self.beta1.expand_as(gradient))
        self.second.mul_(self.beta2).addcmul_(gradient, (1 - self.beta2) * gradient)
        root = (self.second / (1 - self.beta2**self.steps)).sqrt_().add_(self.epsilon)
        return self.first / (1 - self.beta1**self.steps) / root


class _RmsProp(_Rule):
    def direction(self, gradient: Tensor) -> Tensor:
        self.second.lerp_(gradient.square(), 1 - _RMSPROP_SMOOTHING)
        scaled = gradient / self.second.sqrt().add_(self.epsilon)
        return self.first.mul_(self.beta1).add_(scaled)


class _Adagrad(_Rule):
    def direction(self, gradient: Tensor) -> Tensor:
        self.second.addcmul_(gradient, gradient)
        return gradient / self.second.sqrt().add_(self.epsilon)


class _Lion(_Rule):
    def direction(self, gradient: Tensor) -> Tensor:
        move = torch.lerp(gradient, self.first, self.beta1.expand_as(gradient)).sign_()
        self.first.lerp_(gradient, 1 - _LION_BETA2)
        return move


RULES: Mapping[str, Callable[[Columns, int], _Rule]] = {
    "sgd": _Plain,
    "momentum": _Momentum,
    "nesterov": _Nesterov,
    "adam": _Adam,
    "adamw": _Adam,
    "rmsprop": _RmsProp,
    "adagrad": _Adagrad,
    "lion": _Lion,
}
"""Optimizers by name; `sgd` is without momentum."""


class Descent:
    """Moves the weights of K networks in place.

    Args:
        weights: The weights, (K, P).
        columns: The configurations.
    """

    def __init__(self, weights: Tensor, columns: Columns) -> None:
        self._weights = weights
        self._decay = columns.numbers("weight_decay")[:, None]
        self._clip = columns.numbers("clip_norm")[:, None]
        names = columns.values("optimizer")
        self._rules: list[tuple[list[int] | slice, str, _Rule]] = []
        for name in sorted(set(names)):
            rows = [row for row, found in enumerate(names) if found == name]
            rule = RULES[name](columns.select(rows), weights.shape[1])
            self._rules.append((_as_slice(rows), name, rule))

    @torch.no_grad()
    def step(self, gradient: Tensor, rate: Tensor) -> None:
        """Go one step.

        Args:
            gradient: Of the loss, (K, P).
            rate: Learning rates, (K,); a network with 0 stays what it is.
        """
        rate = rate[:, None]
        if bool(self._clip.isfinite().any()):
            norm = gradient.norm(dim=1, keepdim=True)
            gradient = gradient * (self._clip / norm.clamp_min(1e-12)).clamp_max(1.0)
        for rows, name, rule in self._rules:
            weights, own, decay = self._weights[rows], gradient[rows], self._decay[rows]
            if name in DECOUPLED:
                moved = weights * (1 - rate[rows] * decay) - rate[rows] * rule.direction(own)
            else:
                moved = weights - rate[rows] * rule.direction(own + decay * weights)
            self._weights[rows] = moved


def _as_slice(rows: list[int]) -> list[int] | slice:
    """Neighbouring rows as a slice, which costs no copy."""
    together = rows == list(range(rows[0], rows[-1] + 1))
    return slice(rows[0], rows[-1] + 1) if together else rows
