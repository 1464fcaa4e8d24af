"""What the controller may write."""

from __future__ import annotations

import pytest
import torch

from optformer.data.studies.errors import ConfigError
from optformer.data.systems.optimizer_search.controller import Controller
from optformer.data.systems.optimizer_search.language import KNOWN_RULES, Grammar


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class TestController:
    def test_sample__any_number_of_iterations__follows_the_grammar(self) -> None:
        for iterations in (1, 3):
            grammar = Grammar(iterations)
            ids = Controller(grammar, generator()).sample(50, generator(1))
            assert ids.shape == (50, 5 * iterations)
            for row in ids.tolist():
                assert len(grammar.decode(row).iterations) == iterations

    def test_forward__untrained__is_nearly_uniform_over_legal_symbols(self) -> None:
        grammar = Grammar(2)
        controller = Controller(grammar, generator())
        chosen, entropy = controller(controller.sample(8, generator(1)))
        legal = torch.tensor(grammar.legal.sum(1), dtype=torch.float32)
        assert torch.allclose(entropy, legal.log().expand_as(entropy), atol=0.02)
        assert torch.allclose(chosen, -legal.log().expand_as(chosen), atol=0.3)

    def test_forward__log_probabilities__are_those_it_samples_by(self) -> None:
        grammar = Grammar(1)
        controller = Controller(grammar, generator())
        with torch.no_grad():
            controller.head.bias[grammar.encode(KNOWN_RULES["adam"])[0]] = 2.0
        ids = controller.sample(4000, generator(1))
        first = grammar.encode(KNOWN_RULES["adam"])[0]
        share = float((ids[:, 0] == first).float().mean())
        with torch.no_grad():
            chosen, _ = controller(ids[ids[:, 0] == first][:1])
        assert share == pytest.approx(float(chosen[0, 0].exp()), abs=0.02)

    def test_controller__no_units__is_refused(self) -> None:
        with pytest.raises(ConfigError, match="width must be at least 1, got 0"):
            Controller(Grammar(1), generator(), width=0)
