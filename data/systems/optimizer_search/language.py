"""The language of update rules: strings of five symbols an iteration.

An iteration is operand, operand, unary, unary, binary, and means b(u1(o1), u2(o2)); the result of
iteration i is operand `ri` of those after it, and the result of the last one is the update, which
the learning rate scales. Adam, for instance, is `m v x sqrt /`.

- Operands: the gradient `g` and its powers `g2`, `g3`; their running averages `m`, `v`, `gamma`;
  `sign(g)`, `sign(m)`; `1`, `2`; `noise` from N(0, 0.01); weights times 1e-4 to 1e-1, `1e-4w` to
  `1e-1w`; the updates of `adam` and `rmsprop`.
- Decay operands, with step t of T: linear `ld` = 1 - t/T; cyclical `cdn` = (1 + cos(2 pi n t/T))/2;
  restart `rdn` = (1 + cos(pi (t n mod T)/T))/2; `annealed_noise` from N(0, 1/(1 + t)^0.55). The
  number of cycles n is 10 or 20.
- Unary functions: `x`, `-x`, `exp`, `log` and `sqrt` of the absolute value, `clip` to 1e-5, 1e-4,
  1e-3 in size, `drop` with probability 0.1, 0.3, 0.5, `sign`.
- Binary functions: `+`, `-`, `*`, `/` (by y + delta), `^`, `left` (keeps x).

Source: CN110663049B; Bello et al. 2017, "Neural optimizer search with reinforcement learning".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from optformer.data.studies.errors import ConfigError

WEIGHT_FACTORS = {"1e-4w": 1e-4, "1e-3w": 1e-3, "1e-2w": 1e-2, "1e-1w": 1e-1}
"""Operands that are the weights times a constant."""

CYCLES = (10, 20)
"""Cycles n of the cyclical and restart decays."""

DECAYS = ("ld", *(f"cd{n}" for n in CYCLES), *(f"rd{n}" for n in CYCLES), "annealed_noise")
"""Operands that depend on the step alone."""

OPERANDS = (
    *("g", "g2", "g3", "m", "v", "gamma", "sign(g)", "sign(m)", "1", "2", "noise"),
    *WEIGHT_FACTORS,
    *("adam", "rmsprop"),
    *DECAYS,
)
"""Every operand but the results of earlier iterations."""

CLIPS = {"clip1e-5": 1e-5, "clip1e-4": 1e-4, "clip1e-3": 1e-3}
"""Unary functions that bound the size, and the bound."""

DROPS = {"drop0.1": 0.1, "drop0.3": 0.3, "drop0.5": 0.5}
"""Unary functions that set elements to zero, and with what probability."""

UNARY = ("x", "-x", "exp", "log", "sqrt", *CLIPS, *DROPS, "sign")
"""Every unary function."""

BINARY = ("+", "-", "*", "/", "^", "left")
"""Every binary function."""

SLOTS = ("operand1", "operand2", "unary1", "unary2", "binary")
"""The five symbols of an iteration, in their order."""


@dataclass(frozen=True, slots=True)
class Iteration:
    """One group of five symbols: binary(unary1(operand1), unary2(operand2))."""

    operand1: str
    operand2: str
    unary1: str
    unary2: str
    binary: str

    @property
    def symbols(self) -> tuple[str, ...]:
        """The five symbols in order."""
        return tuple(getattr(self, slot) for slot in SLOTS)


@dataclass(frozen=True, slots=True)
class Rule:
    """An update rule.

    Attributes:
        iterations: At least one; the last one's result is the update.

    Raises:
        ConfigError: There is no iteration, or a symbol is not allowed where it stands.
    """

    iterations: tuple[Iteration, ...]

    def __post_init__(self) -> None:
        if not self.iterations:
            raise ConfigError("a rule needs at least one iteration of five symbols, got none")
        for i, iteration in enumerate(self.iterations):
            for slot, symbol in zip(SLOTS, iteration.symbols, strict=True):
                if symbol not in allowed(slot, i):
                    raise ConfigError(
                        f"iteration {i + 1}: {slot} cannot be {symbol!r}; "
                        f"it is one of {list(allowed(slot, i))}"
                    )

    def __str__(self) -> str:
        return " ; ".join(" ".join(iteration.symbols) for iteration in self.iterations)

    @property
    def symbols(self) -> tuple[str, ...]:
        """All symbols in order, five an iteration."""
        return tuple(symbol for iteration in self.iterations for symbol in iteration.symbols)

    @property
    def operands(self) -> frozenset[str]:
        """Every operand that occurs."""
        return frozenset(
            operand for step in self.iterations for operand in (step.operand1, step.operand2)
        )

    @classmethod
    def from_symbols(cls, symbols: Sequence[str]) -> Rule:
        """The rule of a sequence of symbols, five an iteration.

        Raises:
            ConfigError: The number of symbols is not a multiple of five, or one is not allowed.
        """
        size = len(SLOTS)
        if len(symbols) % size:
            raise ConfigError(
                f"a rule has five symbols an iteration, got {len(symbols)}: {list(symbols)}"
            )
        groups = [symbols[i : i + size] for i in range(0, len(symbols), size)]
        return cls(tuple(Iteration(*group) for group in groups))

    @classmethod
    def parse(cls, text: str) -> Rule:
        """Read a rule as `str` writes it, for instance `m v x sqrt /`."""
        return cls.from_symbols([symbol for symbol in text.split() if symbol != ";"])


def allowed(slot: str, iteration: int) -> tuple[str, ...]:
    """Symbols that the grammar allows in a slot of an iteration, which counts from 0."""
    if slot.startswith("operand"):
        return (*OPERANDS, *(f"r{i + 1}" for i in range(iteration)))
    return UNARY if slot.startswith("unary") else BINARY


KNOWN_RULES = {
    "sgd": Rule.parse("g 1 x x left"),
    "momentum": Rule.parse("m 1 x x left"),
    "sign-sgd": Rule.parse("sign(g) 1 x x left"),
    "adam": Rule.parse("m v x sqrt /"),
    "rmsprop": Rule.parse("g v x sqrt /"),
    "powersign": Rule.parse("sign(g) sign(m) x x * ; r1 g exp x *"),
    "addsign": Rule.parse("sign(g) sign(m) x x * ; 1 r1 x x + ; r2 g x x *"),
}
"""Rules with a name. `rmsprop` is the textbook's when averages start uncorrected at zero."""


class Grammar:
    """Strings of a fixed number of iterations as token ids, with the legal ones at each position.

    Args:
        iterations: Number of iterations, at least 1.

    Attributes:
        iterations: Number of iterations N.
        length: Tokens of a string L, five an iteration.
        vocabulary: Every symbol; its position is its id.
        legal: Which ids are allowed where, bool, shape (L, V).

    Raises:
        ConfigError: `iterations` is below 1.
    """

    def __init__(self, iterations: int = 1) -> None:
        if iterations < 1:
            raise ConfigError(f"iterations must be at least 1, got {iterations}")
        self.iterations = iterations
        self.length = len(SLOTS) * iterations
        results = allowed("operand1", iterations - 1)[len(OPERANDS) :]
        self.vocabulary = (*OPERANDS, *results, *UNARY, *BINARY)
        self._ids = {symbol: i for i, symbol in enumerate(self.vocabulary)}
        self.legal = np.zeros((self.length, len(self.vocabulary)), dtype=bool)
        for position in range(self.length):
            iteration, slot = divmod(position, len(SLOTS))
            for symbol in allowed(SLOTS[slot], iteration):
                self.legal[position, self._ids[symbol]] = True

    def encode(self, rule: Rule) -> list[int]:
        """Token ids of a rule.

        Raises:
            ConfigError: The rule has another number of iterations.
        """
        if len(rule.iterations) != self.iterations:
            raise ConfigError(
                f"expected {self.iterations} iterations, got {len(rule.iterations)} in {rule}"
            )
        return [self._ids[symbol] for symbol in rule.symbols]

    def decode(self, ids: Sequence[int]) -> Rule:
        """The rule of L token ids; a symbol out of place raises `ConfigError`."""
        return Rule.from_symbols([self.vocabulary[i] for i in ids])

    def sample(self, rng: np.random.Generator) -> Rule:
        """A rule with every symbol uniform among the legal ones."""
        return self.decode([int(rng.choice(np.flatnonzero(legal))) for legal in self.legal])
