"""The recurrent controller: an LSTM that writes update rules symbol by symbol.

It reads the symbol it wrote before (a start symbol at first) and answers with a softmax over the
vocabulary in which the symbols that the grammar forbids at that position have probability zero.

Parameters with defaults: one layer of 64 units, initial weights uniform in [-0.08, 0.08].

Source: CN110663049B; Bello et al. 2017, "Neural optimizer search with reinforcement learning".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from optformer.data.studies.errors import ConfigError
from optformer.data.systems.optimizer_search.language import Grammar

_INITIAL_RANGE = 0.08


class Controller(nn.Module):
    """A distribution over the strings of a grammar.

    Args:
        grammar: What may be written.
        generator: Source of the initial weights.
        width: Units of the LSTM, at least 1.

    Raises:
        ConfigError: `width` is below 1.
    """

    legal: Tensor

    def __init__(self, grammar: Grammar, generator: torch.Generator, width: int = 64) -> None:
        super().__init__()
        if width < 1:
            raise ConfigError(f"width must be at least 1, got {width}")
        vocabulary = len(grammar.vocabulary)
        self._start = vocabulary
        self.embedding = nn.Embedding(vocabulary + 1, width)
        self.cell = nn.LSTMCell(width, width)
        self.head = nn.Linear(width, vocabulary)
        self.register_buffer("legal", torch.from_numpy(grammar.legal), persistent=False)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -_INITIAL_RANGE, _INITIAL_RANGE, generator=generator)

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Write strings.

        Args:
            count: Number of strings B.
            generator: Source of randomness.

        Returns:
            Token ids, int64, shape (B, L).
        """
        ids = torch.full((count, 1), self._start)
        state: tuple[Tensor, Tensor] | None = None
        for legal in self.legal:
            log_probabilities, state = self._step(ids[:, -1], state, legal)
            drawn = torch.multinomial(log_probabilities.exp(), 1, generator=generator)
            ids = torch.cat([ids, drawn], dim=1)
        return ids[:, 1:]

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """How likely each symbol of given strings is where it stands.

        Args:
            ids: Token ids of legal strings, shape (B, L).

        Returns:
            Log-probability of each symbol and entropy of each position, each of shape (B, L).
        """
        previous = torch.cat([torch.full_like(ids[:, :1], self._start), ids[:, :-1]], dim=1)
        state: tuple[Tensor, Tensor] | None = None
        chosen, entropies = [], []
        for position, legal in enumerate(self.legal):
            log_probabilities, state = self._step(previous[:, position], state, legal)
            chosen.append(log_probabilities.gather(1, ids[:, position : position + 1]).squeeze(1))
            allowed = log_probabilities[:, legal]
            entropies.append(-(allowed.exp() * allowed).sum(-1))
        return torch.stack(chosen, dim=1), torch.stack(entropies, dim=1)

    def _step(
        self, symbols: Tensor, state: tuple[Tensor, Tensor] | None, legal: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Log-probabilities (B, V) of the next symbol, minus infinity where it is not legal."""
        hidden, memory = self.cell(self.embedding(symbols), state)
        logits = self.head(hidden).masked_fill(~legal, -torch.inf)
        return logits.log_softmax(-1), (hidden, memory)
