"""The language of update rules."""

from __future__ import annotations

import numpy as np
import pytest

from optformer.data.studies.errors import ConfigError
from optformer.data.systems.optimizer_search.language import (
    BINARY,
    KNOWN_RULES,
    OPERANDS,
    UNARY,
    Grammar,
    Rule,
    allowed,
)


def test_vocabulary__tables__are_complete() -> None:
    assert len(OPERANDS) == len(set(OPERANDS)) == 17 + 6
    assert len(UNARY) == len(set(UNARY)) == 12
    assert len(BINARY) == len(set(BINARY)) == 6


@pytest.mark.parametrize("text", ["m v x sqrt /", "sign(g) sign(m) x x * ; r1 g exp x *"])
def test_rule__text__reads_back(text: str) -> None:
    assert str(Rule.parse(text)) == text


@pytest.mark.parametrize("name", KNOWN_RULES)
def test_rule__known__survives_encoding(name: str) -> None:
    rule = KNOWN_RULES[name]
    grammar = Grammar(len(rule.iterations))
    assert grammar.decode(grammar.encode(rule)) == rule


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("m v x sqrt", "five symbols an iteration, got 4"),
        ("", "at least one iteration"),
        ("x v x sqrt /", "iteration 1: operand1 cannot be 'x'"),
        ("m v g sqrt /", "iteration 1: unary1 cannot be 'g'"),
        ("m v x sqrt exp", "iteration 1: binary cannot be 'exp'"),
        ("r1 v x sqrt /", "iteration 1: operand1 cannot be 'r1'"),
        ("g g x x + ; g r2 x x +", "iteration 2: operand2 cannot be 'r2'"),
    ],
)
def test_rule__not_in_the_language__is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Rule.parse(text)


def test_grammar__each_position__allows_its_own_symbols_only() -> None:
    grammar = Grammar(3)
    assert grammar.legal.shape == (15, len(OPERANDS) + 2 + len(UNARY) + len(BINARY))
    counts = grammar.legal.sum(axis=1).tolist()
    first = [len(OPERANDS), len(OPERANDS), 12, 12, 6]
    assert counts == [*first, *(n + (i < 2) for i, n in enumerate(first)), *counts[10:]]
    assert counts[10:] == [len(OPERANDS) + 2, len(OPERANDS) + 2, 12, 12, 6]
    names = {grammar.vocabulary[i] for i in np.flatnonzero(grammar.legal[5])}
    assert names == set(allowed("operand1", 1)) == {*OPERANDS, "r1"}


def test_grammar__samples__are_rules_that_cover_the_vocabulary() -> None:
    grammar, rng = Grammar(2), np.random.default_rng(0)
    rules = [grammar.sample(rng) for _ in range(300)]
    assert {symbol for rule in rules for symbol in rule.symbols} == set(grammar.vocabulary)


def test_grammar__rule_of_other_length__is_refused() -> None:
    with pytest.raises(ConfigError, match="expected 2 iterations, got 1"):
        Grammar(2).encode(KNOWN_RULES["adam"])
    with pytest.raises(ConfigError, match="iterations must be at least 1, got 0"):
        Grammar(0)
