"""Policy gradients for the controller: REINFORCE and PPO with a moving-average baseline.

The advantage of a string is its reward minus the exponential moving average of the mean rewards of
earlier batches (the first batch's own mean at first). REINFORCE follows the gradient of advantage
times log-probability once a batch. PPO makes several passes over the batch with the clipped ratio
of new to old probability of every symbol.

Parameters with defaults: PPO, learning rate 0.02 with Adam, entropy weight 0.01, baseline decay
0.8, clip 0.2, 6 passes, the reward as it is (or its square, cube or root).

Source: CN110663049B; Bello et al. 2017, "Neural optimizer search with reinforcement learning";
Williams 1992 and Schulman et al. 2017 for the two gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from optformer.data.studies.errors import ConfigError, MetricError
from optformer.data.systems.optimizer_search.controller import Controller
from optformer.data.systems.policy_gradient import MovingBaseline, clipped_surrogate

SHAPES: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda reward: reward,
    "square": lambda reward: reward**2,
    "cube": lambda reward: reward**3,
    "root": lambda reward: reward.sqrt(),
}
"""How a validation metric in [0, 1] becomes a reward."""


@dataclass(frozen=True, kw_only=True)
class PolicyGradientConfig:
    """How the controller learns.

    Attributes:
        algorithm: "ppo" or "reinforce".
        learning_rate: Learning rate of Adam, above 0.
        entropy_weight: Weight of the entropy bonus, at least 0.
        baseline_decay: Share of the old baseline that stays at each batch, in [0, 1).
        clip: How far PPO's ratio may leave 1, above 0.
        passes: Passes of PPO over a batch, at least 1.
        shape: Reward from metric, one of `SHAPES`.

    Raises:
        ConfigError: A setting is unknown or out of range.
    """

    algorithm: Literal["ppo", "reinforce"] = "ppo"
    learning_rate: float = 0.02
    entropy_weight: float = 0.01
    baseline_decay: float = 0.8
    clip: float = 0.2
    passes: int = 6
    shape: str = "identity"

    def __post_init__(self) -> None:
        if self.algorithm not in ("ppo", "reinforce"):
            raise ConfigError(f"algorithm must be 'ppo' or 'reinforce', got {self.algorithm!r}")
        if self.shape not in SHAPES:
            raise ConfigError(f"shape must be one of {sorted(SHAPES)}, got {self.shape!r}")
        for name in ("learning_rate", "clip"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0, got {getattr(self, name)}")
        if self.entropy_weight < 0:
            raise ConfigError(f"entropy_weight must be at least 0, got {self.entropy_weight}")
        if not 0 <= self.baseline_decay < 1:
            raise ConfigError(f"baseline_decay must be in [0, 1), got {self.baseline_decay}")
        if self.passes < 1:
            raise ConfigError(f"passes must be at least 1, got {self.passes}")


class PolicyGradient:
    """Computes how a controller should change, from rewarded strings.

    Args:
        controller: What should change.
        config: How.

    Attributes:
        baseline: Moving average of rewards after shaping.
    """

    def __init__(self, controller: Controller, config: PolicyGradientConfig) -> None:
        self.baseline = MovingBaseline(config.baseline_decay)
        self._controller = controller
        self._config = config

    def passes(self, ids: Tensor, metrics: Sequence[float]) -> Iterator[None]:
        """Leave the gradient of one pass after the other in the controller's parameters.

        The weights may move between passes.

        Args:
            ids: Token ids of strings that the controller as it is now has written, shape (B, L).
            metrics: Validation metric of each string in [0, 1], shape (B,).

        Raises:
            MetricError: The metrics are not one in [0, 1] for each string.
        """
        advantages = self._advantages(ids, metrics)
        with torch.no_grad():
            before, _ = self._controller(ids)
        passes = self._config.passes if self._config.algorithm == "ppo" else 1
        for _ in range(passes):
            chosen, entropy = self._controller(ids)
            gain = self._gain(chosen, before, advantages[:, None])
            loss = -(gain + self._config.entropy_weight * entropy).mean()
            self._controller.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self._controller.parameters(), 1.0)
            yield

    def _gain(self, chosen: Tensor, before: Tensor, advantages: Tensor) -> Tensor:
        """What to ascend, for each symbol (B, L)."""
        if self._config.algorithm == "reinforce":
            return chosen * advantages
        return clipped_surrogate(chosen, before, advantages, self._config.clip)

    def _advantages(self, ids: Tensor, metrics: Sequence[float]) -> Tensor:
        if len(metrics) != len(ids) or not all(0 <= metric <= 1 for metric in metrics):
            raise MetricError(
                f"expected a metric in [0, 1] for each of {len(ids)} strings, got {list(metrics)}"
            )
        rewards = SHAPES[self._config.shape](torch.tensor(metrics))
        return rewards - self.baseline.update(float(rewards.mean()))


class PolicyLearner:
    """Updates a controller from rewarded strings.

    Args:
        controller: What is updated, in place.
        config: How.
    """

    def __init__(self, controller: Controller, config: PolicyGradientConfig) -> None:
        self._gradient = PolicyGradient(controller, config)
        self._optimizer = torch.optim.Adam(controller.parameters(), lr=config.learning_rate)

    @property
    def baseline(self) -> float | None:
        """Moving average of rewards after shaping, None before the first batch."""
        return self._gradient.baseline.value

    def update(self, ids: Tensor, metrics: Sequence[float]) -> None:
        """Learn from one batch; arguments and errors as for `PolicyGradient.passes`."""
        for _ in self._gradient.passes(ids, metrics):
            self._optimizer.step()
