"""A `torch.optim.Optimizer` that runs an update rule.

Each step sets w <- w - lr * rule(g, w, t), element by element. The averages m, v, gamma of g, g^2,
g^3 decay by the betas (0.9, 0.999, 0.999) and, by default, are corrected for their start at zero as
Adam does. The operand `adam` is always corrected and `rmsprop` never, like torch's own.

Source: CN110663049B; Bello et al. 2017, "Neural optimizer search with reinforcement learning".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from optformer.data.studies.errors import ConfigError
from optformer.data.systems.optimizer_search.language import (
    CLIPS,
    CYCLES,
    DROPS,
    WEIGHT_FACTORS,
    Iteration,
    Rule,
)

_NOISE_DEVIATION = 0.1  # of N(0, 0.01)
_AVERAGES = {"m": 1, "v": 2, "gamma": 3}  # name to power of the gradient
_NEEDS = {"sign(m)": ("m",), "adam": ("m", "v"), "rmsprop": ("v",)}


class RuleOptimizer(torch.optim.Optimizer):
    """Updates parameters by a rule of `language`.

    Args:
        params: The parameters, or groups of them.
        rule: The update rule.
        lr: Learning rate, above 0.
        total_steps: Steps of the whole training T that the decay operands refer to, at least 1.
        betas: How slowly m, v and gamma forget, each in [0, 1).
        delta: Keeps denominators from zero, at least 0.
        bias_correction: Whether m, v and gamma are corrected for their start at zero.
        generator: Source of the noise and of what is dropped; None uses a fresh one with seed 0.
            It is not part of `state_dict`.

    Raises:
        ConfigError: A setting is out of range.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        rule: Rule,
        *,
        lr: float,
        total_steps: int,
        betas: tuple[float, float, float] = (0.9, 0.999, 0.999),
        delta: float = 1e-8,
        bias_correction: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        if not lr > 0:
            raise ConfigError(f"lr must be above 0, got {lr}")
        if total_steps < 1:
            raise ConfigError(f"total_steps must be at least 1, got {total_steps}")
        if not all(0 <= beta < 1 for beta in betas):
            raise ConfigError(f"betas must lie in [0, 1), got {betas}")
        if delta < 0:
            raise ConfigError(f"delta must be at least 0, got {delta}")
        self._rule = rule
        self._total_steps = total_steps
        self._betas = dict(zip(_AVERAGES, betas, strict=True))
        self._delta = delta
        self._bias_correction = bias_correction
        self._generator = generator or torch.Generator().manual_seed(0)
        needed = {name for operand in rule.operands for name in _NEEDS.get(operand, (operand,))}
        self._averages = [name for name in _AVERAGES if name in needed]
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient.

        Args:
            closure: Evaluates the model anew and returns the loss, as in torch's optimizers.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.sub_(group["lr"] * self._update(parameter, parameter.grad))
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor) -> Tensor:
        state = self.state[parameter]
        step = state["step"] = state.get("step", 0) + 1
        for name in self._averages:
            average = state.setdefault(name, torch.zeros_like(gradient))
            beta = self._betas[name]
            average.mul_(beta).add_(gradient ** _AVERAGES[name], alpha=1.0 - beta)
        scope = _Scope(
            gradient=gradient,
            weights=parameter,
            averages={name: state[name] for name in self._averages},
            corrections={name: 1.0 - beta**step for name, beta in self._betas.items()},
            step=step - 1,
            total_steps=self._total_steps,
            delta=self._delta,
            bias_correction=self._bias_correction,
            generator=self._generator,
        )
        results: list[Tensor] = []
        for iteration in self._rule.iterations:
            results.append(_evaluate(iteration, scope, results))
        return results[-1]


@dataclass(frozen=True)
class _Scope:
    """What operands of one parameter read at one step, which counts from 0."""

    gradient: Tensor
    weights: Tensor
    averages: dict[str, Tensor]
    corrections: dict[str, float]
    step: int
    total_steps: int
    delta: float
    bias_correction: bool
    generator: torch.Generator

    def average(self, name: str) -> Tensor:
        """A running average as the operand of that name."""
        return self.corrected(name) if self.bias_correction else self.averages[name]

    def corrected(self, name: str) -> Tensor:
        """A running average without the pull of its start at zero."""
        return self.averages[name] / self.corrections[name]

    def constant(self, value: float) -> Tensor:
        """A value for every element."""
        return torch.full_like(self.gradient, value)

    def noise(self, deviation: float) -> Tensor:
        """Normal noise for every element."""
        return deviation * torch.empty_like(self.gradient).normal_(generator=self.generator)


def _evaluate(iteration: Iteration, scope: _Scope, results: list[Tensor]) -> Tensor:
    def operand(symbol: str) -> Tensor:
        if symbol in _OPERANDS:
            return _OPERANDS[symbol](scope)
        return results[int(symbol.removeprefix("r")) - 1]

    left = _unary(iteration.unary1, operand(iteration.operand1), scope.generator)
    if iteration.binary == "left":
        return left
    right = _unary(iteration.unary2, operand(iteration.operand2), scope.generator)
    match iteration.binary:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/":
            return left / (right + scope.delta)
        case _:  # "^", the last one that a rule may hold
            return left**right


def _unary(symbol: str, x: Tensor, generator: torch.Generator) -> Tensor:
    if symbol in CLIPS:
        return x.clamp(-CLIPS[symbol], CLIPS[symbol])
    if symbol in DROPS:
        kept = torch.empty_like(x).uniform_(generator=generator) >= DROPS[symbol]
        return torch.where(kept, x, torch.zeros_like(x))
    return _UNARY[symbol](x)


def _cyclical(cycles: int) -> Callable[[_Scope], Tensor]:
    def value(scope: _Scope) -> Tensor:
        turn = 2.0 * math.pi * cycles * scope.step / scope.total_steps
        return scope.constant((1.0 + math.cos(turn)) / 2.0)

    return value


def _restart(cycles: int) -> Callable[[_Scope], Tensor]:
    def value(scope: _Scope) -> Tensor:
        turn = math.pi * (scope.step * cycles % scope.total_steps) / scope.total_steps
        return scope.constant((1.0 + math.cos(turn)) / 2.0)

    return value


def _scaled_weights(factor: float) -> Callable[[_Scope], Tensor]:
    return lambda scope: factor * scope.weights


_OPERANDS: dict[str, Callable[[_Scope], Tensor]] = {
    "g": lambda scope: scope.gradient,
    "g2": lambda scope: scope.gradient**2,
    "g3": lambda scope: scope.gradient**3,
    "m": lambda scope: scope.average("m"),
    "v": lambda scope: scope.average("v"),
    "gamma": lambda scope: scope.average("gamma"),
    "sign(g)": lambda scope: scope.gradient.sign(),
    "sign(m)": lambda scope: scope.averages["m"].sign(),
    "1": lambda scope: scope.constant(1.0),
    "2": lambda scope: scope.constant(2.0),
    "noise": lambda scope: scope.noise(_NOISE_DEVIATION),
    **{symbol: _scaled_weights(factor) for symbol, factor in WEIGHT_FACTORS.items()},
    "adam": lambda scope: scope.corrected("m") / (scope.corrected("v").sqrt() + scope.delta),
    "rmsprop": lambda scope: scope.gradient / (scope.averages["v"].sqrt() + scope.delta),
    "ld": lambda scope: scope.constant(1.0 - scope.step / scope.total_steps),
    **{f"cd{n}": _cyclical(n) for n in CYCLES},
    **{f"rd{n}": _restart(n) for n in CYCLES},
    "annealed_noise": lambda scope: scope.noise((1.0 + scope.step) ** (-0.55 / 2.0)),
}

_UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "x": lambda x: x,
    "-x": lambda x: -x,
    "exp": torch.exp,
    "log": lambda x: x.abs().log(),
    "sqrt": lambda x: x.abs().sqrt(),
    "sign": torch.sign,
}
