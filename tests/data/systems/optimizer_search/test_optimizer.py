"""The optimizer that runs a rule, beside torch's own and beside the formulas."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from optformer.data.studies.errors import ConfigError
from optformer.data.systems.optimizer_search.language import (
    BINARY,
    DECAYS,
    KNOWN_RULES,
    OPERANDS,
    UNARY,
    Grammar,
    Rule,
)
from optformer.data.systems.optimizer_search.optimizer import RuleOptimizer

STEPS = 30


def path(make: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]) -> list[Tensor]:
    """Weights after every step of a small regression, float64."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    layers = [nn.Parameter(normal(6, 5) / 2), nn.Parameter(normal(5, 1) / 2)]
    optimizer = make(layers)
    weights = []
    for _ in range(STEPS):
        inputs, targets = normal(16, 6), normal(16, 1)
        loss = ((inputs @ layers[0]).tanh() @ layers[1] - targets).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        weights.append(torch.cat([layer.detach().flatten().clone() for layer in layers]))
    return weights


def decoded(rule: Rule, **settings: Any) -> Callable[[Iterable[nn.Parameter]], RuleOptimizer]:
    """The rule after a round trip through token ids."""
    grammar = Grammar(len(rule.iterations))
    again = grammar.decode(grammar.encode(rule))
    return lambda params: RuleOptimizer(params, again, lr=0.01, total_steps=STEPS, **settings)


def update(text: str, gradient: Tensor, weights: Tensor, *, steps: int = 1) -> Tensor:
    """What a rule subtracts in the last of some steps with the same gradient."""
    parameter = nn.Parameter(weights.clone())
    optimizer = RuleOptimizer([parameter], Rule.parse(text), lr=1.0, total_steps=40)
    for _ in range(steps):
        before = parameter.detach().clone()
        parameter.grad = gradient.clone()
        optimizer.step()
    return before - parameter.detach()


class DecayedAdam(torch.optim.Adam):
    """Adam with a learning rate that falls linearly to zero."""

    taken = 0

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            group["lr"] = 0.01 * (1 - self.taken / STEPS)
        self.taken += 1
        return super().step(closure)


@pytest.mark.parametrize(
    ("rule", "settings", "reference"),
    [
        (KNOWN_RULES["sgd"], {}, lambda p: torch.optim.SGD(p, lr=0.01)),
        (KNOWN_RULES["adam"], {}, lambda p: torch.optim.Adam(p, lr=0.01)),
        (Rule.parse("adam 1 x x left"), {}, lambda p: torch.optim.Adam(p, lr=0.01)),
        (
            KNOWN_RULES["rmsprop"],
            {"betas": (0.9, 0.99, 0.999), "bias_correction": False},
            lambda p: torch.optim.RMSprop(p, lr=0.01, alpha=0.99),
        ),
        (
            Rule.parse("rmsprop 1 x x left"),
            {"betas": (0.9, 0.99, 0.999)},
            lambda p: torch.optim.RMSprop(p, lr=0.01, alpha=0.99),
        ),
        (Rule.parse("adam ld x x *"), {}, lambda p: DecayedAdam(p, lr=0.01)),
    ],
    ids=["sgd", "adam", "adam operand", "rmsprop", "rmsprop operand", "adam with decay"],
)
def test_step__decoded_rule__equals_torch_step_by_step(
    rule: Rule,
    settings: dict[str, Any],
    reference: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
) -> None:
    ours, theirs = path(decoded(rule, **settings)), path(reference)
    assert len(ours) == STEPS
    for step, (mine, expected) in enumerate(zip(ours, theirs, strict=True)):
        assert torch.allclose(mine, expected, rtol=1e-9), step


G = torch.tensor([0.5, -2.0, 0.0, 3e-4], dtype=torch.float64)
W = torch.tensor([1.0, -3.0, 2.0, 0.5], dtype=torch.float64)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("g2 g3 x x +", G**2 + G**3),
        ("1 2 x -x -", torch.full_like(G, 3.0)),
        ("sign(g) g x exp *", G.sign() * G.exp()),
        ("2 g x sqrt ^", 2.0 ** G.abs().sqrt()),
        ("g 1 x log left", G),
        ("2 g log x *", math.log(2.0) * G),
        ("g 1 sign x left", G.sign()),
        ("g 2 clip1e-3 x *", 2.0 * G.clamp(-1e-3, 1e-3)),
        ("g 1 clip1e-4 x left", G.clamp(-1e-4, 1e-4)),
        ("g 1 clip1e-5 x left", G.clamp(-1e-5, 1e-5)),
        ("1e-4w 1e-3w x x +", 1.1e-3 * W),
        ("1e-2w 1e-1w x x +", 0.11 * W),
        ("g 2 x x /", G / (2.0 + 1e-8)),
        ("sign(m) gamma x x *", G.sign() * G**3),
        ("sign(g) sign(m) x x * ; r1 g exp x *", math.e ** (G.sign() ** 2) * G),
    ],
)
def test_step__functions_and_operands__follow_their_formulas(text: str, expected: Tensor) -> None:
    assert torch.allclose(update(text, G, W), expected, atol=1e-12)


def test_step__averages__forget_at_their_rates_and_are_corrected() -> None:
    parameter = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    for symbol, power, beta in (("m", 1, 0.9), ("v", 2, 0.999), ("gamma", 3, 0.999)):
        optimizer = RuleOptimizer(
            [parameter], Rule.parse(f"{symbol} 1 x x left"), lr=1.0, total_steps=2
        )
        for gradient in (1.0, 3.0):
            before = parameter.item()
            parameter.grad = torch.full_like(parameter, gradient)
            optimizer.step()
        expected = (beta * (1 - beta) + (1 - beta) * 3.0**power) / (1 - beta**2)
        assert before - parameter.item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [
        ("ld", 1 - 9 / 40),
        ("cd10", (1 + math.cos(2 * math.pi * 10 * 9 / 40)) / 2),
        ("cd20", (1 + math.cos(2 * math.pi * 20 * 9 / 40)) / 2),
        ("rd10", (1 + math.cos(math.pi * (90 % 40) / 40)) / 2),
        ("rd20", (1 + math.cos(math.pi * (180 % 40) / 40)) / 2),
    ],
)
def test_step__decays__follow_their_formulas(symbol: str, expected: float) -> None:
    moved = update(f"{symbol} 1 x x left", G, W, steps=10)
    assert torch.allclose(moved, torch.full_like(G, expected))


def test_step__noise__has_its_deviation_and_anneals() -> None:
    zeros = torch.zeros(20_000, dtype=torch.float64)
    assert update("noise 1 x x left", zeros, zeros).std() == pytest.approx(0.1, rel=0.03)
    for steps in (1, 10):
        moved = update("annealed_noise 1 x x left", zeros, zeros, steps=steps)
        assert moved.var() == pytest.approx(1 / steps**0.55, rel=0.05)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_step__drop__zeroes_that_share_and_keeps_the_rest(share: float) -> None:
    ones = torch.ones(20_000, dtype=torch.float64)
    moved = update(f"g 1 drop{share} x left", 2 * ones, ones)
    assert set(moved.tolist()) == {0.0, 2.0}
    assert (moved == 0).double().mean() == pytest.approx(share, abs=0.02)


def test_step__every_symbol__runs_and_repeats_itself() -> None:
    texts = [f"{operand} g x x +" for operand in OPERANDS]
    texts += [f"g m {unary} x *" for unary in UNARY]
    texts += [f"g m x x {binary}" for binary in BINARY]
    for text in texts:
        first, second = (update(text, G, W, steps=2) for _ in range(2))
        assert first.shape == G.shape
        assert torch.equal(first.nan_to_num(), second.nan_to_num())


def test_step__parameter_without_gradient_and_closure__are_handled_as_torch_does() -> None:
    used, unused = (nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = RuleOptimizer([used, unused], KNOWN_RULES["sgd"], lr=0.5, total_steps=1)

    def closure() -> float:
        loss = used.square().sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 2.0
    assert used.tolist() == [0.0, 0.0]
    assert unused.tolist() == [1.0, 1.0]


def test_state_dict__loaded__goes_on_as_before() -> None:
    rule = Rule.parse("m v x sqrt / ; r1 ld x x *")
    straight = path(lambda p: RuleOptimizer(p, rule, lr=0.01, total_steps=STEPS))

    class Reloaded(RuleOptimizer):
        def step(self, closure: Any = None) -> float | None:
            self.load_state_dict(self.state_dict())
            return super().step(closure)

    again = path(lambda p: Reloaded(p, rule, lr=0.01, total_steps=STEPS))
    assert torch.equal(straight[-1], again[-1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0.0}, "lr must be above 0, got 0.0"),
        ({"total_steps": 0}, "total_steps must be at least 1, got 0"),
        ({"betas": (0.9, 1.0, 0.9)}, r"betas must lie in \[0, 1\), got"),
        ({"delta": -1.0}, "delta must be at least 0, got -1.0"),
    ],
)
def test_optimizer__setting_out_of_range__is_refused(
    settings: dict[str, Any], message: str
) -> None:
    legal: dict[str, Any] = {"lr": 0.1, "total_steps": 3}
    with pytest.raises(ConfigError, match=message):
        RuleOptimizer([nn.Parameter(torch.ones(1))], KNOWN_RULES["adam"], **{**legal, **settings})


def test_decays__are_operands() -> None:
    assert set(DECAYS) < set(OPERANDS)
