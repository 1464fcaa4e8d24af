"""The asynchronous search: replicas of the controller and a server that holds its weights.

Every replica writes strings with its own copy of the controller, has children trained with them,
computes the policy gradient on its copy, with a baseline of its own rewards, and sends it to the
server. The server applies gradients in the order of arrival, and the replica fetches the weights
afresh. With PPO it does both after every pass over its strings. Nobody waits for all: a replica
writes its next strings, and workers start on them, while those of the others are being trained.

Replicas live in this process, where an update takes milliseconds; the time goes into the children,
which workers train. Gradients arrive by turns, replica 1 to R and again. So the server learns from
R - 1 other batches between a string's writing and its first gradient (from i - 1 at the first turn
of replica i). Everything follows from the seed: the number, speed and death of workers change no
result. The price is that a gradient waits for its turn.

Parameters with defaults: four replicas, which divide the strings of a round, so that as many are
under way as in `search.search_rules`; one replica makes the two the same. See `policy` and
`controller` for theirs.

Source: CN110663049B; Bello et al. 2017, "Neural optimizer search with reinforcement learning".
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from optformer.data.studies.errors import ConfigError
from optformer.data.studies.trials import Trial
from optformer.data.systems.optimizer_search.controller import Controller
from optformer.data.systems.optimizer_search.language import Grammar, Rule
from optformer.data.systems.optimizer_search.policy import PolicyGradient, PolicyGradientConfig
from optformer.data.systems.optimizer_search.queue import TrainingQueue
from optformer.data.systems.optimizer_search.search import ROUND, rounds, train_round

REPLICAS = 4
"""Copies of the controller in the registered searches."""


class ParameterServer:
    """Holds the weights of a controller and moves them with Adam by the gradients it is sent.

    Args:
        controller: The initial weights, updated in place.
        learning_rate: Learning rate of Adam, above 0.
    """

    def __init__(self, controller: Controller, learning_rate: float) -> None:
        self._controller = controller
        self._optimizer = torch.optim.Adam(controller.parameters(), lr=learning_rate)

    def push(self, gradients: Iterable[Tensor | None]) -> None:
        """Apply a gradient, given for each parameter in the controller's order."""
        for parameter, gradient in zip(self._controller.parameters(), gradients, strict=True):
            parameter.grad = gradient
        self._optimizer.step()

    def fetch(self) -> dict[str, Tensor]:
        """The weights; they go on changing unless copied."""
        return self._controller.state_dict()


class Replica:
    """A copy of the controller that writes strings and learns from their rewards.

    Args:
        server: Where its gradients go and its weights come from.
        controller: Its own copy.
        grammar: What the controller writes.
        policy: How it learns.

    Attributes:
        rules: What it has written last.
    """

    def __init__(
        self,
        server: ParameterServer,
        controller: Controller,
        grammar: Grammar,
        policy: PolicyGradientConfig,
    ) -> None:
        self.rules: list[Rule] = []
        self._ids = torch.empty(0, grammar.length, dtype=torch.int64)
        self._server = server
        self._controller = controller
        self._grammar = grammar
        self._gradient = PolicyGradient(controller, policy)

    def write(self, count: int, generator: torch.Generator) -> list[Rule]:
        """Write a number of strings with the weights fetched last."""
        self._ids = self._controller.sample(count, generator)
        self.rules = [self._grammar.decode(row) for row in self._ids.tolist()]
        return self.rules

    def learn(self, metrics: Sequence[float]) -> None:
        """Send the gradient of every pass over what it wrote, and fetch the weights after each.

        Args:
            metrics: Validation metric of each rule in [0, 1].

        Raises:
            MetricError: The metrics are not one in [0, 1] for each rule.
        """
        for _ in self._gradient.passes(self._ids, metrics):
            self._server.push(parameter.grad for parameter in self._controller.parameters())
            self._controller.load_state_dict(self._server.fetch())


def search_with_replicas(
    policy: PolicyGradientConfig,
    replicas: int,
    queue: TrainingQueue,
    grammar: Grammar,
    trainings: int,
    seed: int,
    report: Callable[[Trial], None] = lambda trial: None,
    size: int = ROUND,
) -> list[Trial]:
    """Search with replicas of the recurrent controller and a parameter server.

    `replicas` is their number R, from 1 to `size`, the strings of a round of all replicas; the
    other arguments, the result and the other errors are those of `search_rules`.

    Raises:
        ConfigError: `replicas` is out of range.
    """
    if not 1 <= replicas <= size:
        raise ConfigError(f"replicas must be from 1 to {size}, got {replicas}")
    generator = torch.Generator().manual_seed(seed)
    controller = Controller(grammar, generator)
    server = ParameterServer(controller, policy.learning_rate)
    team = [Replica(server, copy.deepcopy(controller), grammar, policy) for _ in range(replicas)]
    batches = rounds(trainings, size // replicas)
    history: list[Trial] = []
    for turn in range(len(batches) + replicas):
        replica = team[turn % replicas]
        if turn >= replicas:
            replica.learn(train_round(queue, replica.rules, history, report))
        if turn < len(batches):
            queue.put(replica.write(batches[turn], generator))
    return history
