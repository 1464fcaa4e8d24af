"""A recurrent controller that learns to write good points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optformer.data.methods.base import check_count
from optformer.data.methods.points import draw_or_move, tried_keys
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.data.systems.policy_gradient import MovingBaseline, clipped_surrogate

_MOST_LEVELS = 256
_STEP = 0.2  # of numbers when a neighbour is taken, on the unit interval
_WIDTH = 32  # of the recurrent state


@dataclass(frozen=True)
class PPOConfig:
    """How the controller learns: proximal policy optimization.

    Attributes:
        batch_size: Number of trials an update.
        passes: Gradient steps an update; one is plain REINFORCE.
        learning_rate: Learning rate of Adam.
        clip: How far a choice's probability may move in an update, as a ratio.
        baseline_decay: Share of the old average of rewards that stays at each update.
        entropy_weight: Weight of the entropy that keeps the controller curious.
    """

    batch_size: int = 5
    passes: int = 6
    learning_rate: float = 0.02
    clip: float = 0.3
    baseline_decay: float = 0.8
    entropy_weight: float = 0.05


class RecurrentController:
    """Writes points choice by choice with an LSTM that is rewarded by what they are worth.

    The LSTM reads the choices made so far and gives a distribution over the next parameter's
    values; a point is sampled from first to last. Every `batch_size` trials with a value make an
    update of proximal policy optimization: the advantage is the reward less its moving average, in
    units of the rewards' spread, and every choice's probability ratio is clipped. The controller's
    weights follow from the history: they are learned again from a fixed start, with a memo of the
    updates made already. Failed trials teach nothing. A finite space never repeats a point: when
    the controller keeps writing points that were tried, a neighbour is taken.

    Source: US20220101090A1; Tan et al., "MnasNet", 2019, after Zoph, Le, "Neural architecture
    search with reinforcement learning", 2017, with PPO by Schulman et al., 2017.

    Args:
        config: The study; every parameter needs at most 256 values.
        learning: How the controller learns; None takes the defaults.

    Raises:
        ConfigError: A parameter is continuous or has too many values.
    """

    def __init__(self, config: StudyConfig, learning: PPOConfig | None = None) -> None:
        for name, parameter in config.space.items():
            levels = parameter.num_levels
            if name not in config.fixed and (levels is None or levels > _MOST_LEVELS):
                raise ConfigError(
                    f"the controller chooses among at most {_MOST_LEVELS} values, and parameter "
                    f"{name!r} has {'a continuum' if levels is None else levels}; "
                    "give it a coarser step or fix it"
                )
        self._config = config
        self._learning = learning or PPOConfig()
        self._learned: list[Trial] = []
        self._policy: _Policy | None = None

    def suggest(
        self, history: Sequence[Trial], count: int, rng: np.random.Generator
    ) -> list[dict[str, Value]]:
        """See `SearchMethod.suggest`."""
        check_count(count)
        space, fixed = self._config.space, self._config.fixed
        policy = self._trained(history)
        tried = tried_keys(history)
        return [
            draw_or_move(
                lambda: policy.sample(rng), space, tried, rng, step_size=_STEP, fixed=fixed
            )
            for _ in range(count)
        ]

    def probabilities(
        self, history: Sequence[Trial], params: Mapping[str, Value]
    ) -> dict[str, float]:
        """How likely the controller is, after a history, to make each choice of a point.

        Returns:
            Parameter name to the probability of its value, given the values of those before it.
        """
        policy = self._trained(history)
        with torch.no_grad():
            picked = policy.log_probabilities([params]).picked[0].exp()
        return {
            name: float(chance)
            for name, chance in zip(self._config.space, picked, strict=True)
            if name in params
        }

    def _trained(self, history: Sequence[Trial]) -> _Policy:
        """The policy after all full batches of a history."""
        scored = [trial for trial in history if trial.has_value]
        size = self._learning.batch_size
        if self._policy is None or scored[: len(self._learned)] != self._learned:
            self._policy, self._learned = _Policy(self._config, self._learning), []
        while len(scored) - len(self._learned) >= size:
            batch = scored[len(self._learned) :][:size]
            self._policy.update(batch, self._config.sign)
            self._learned += batch
        return self._policy


@dataclass(frozen=True)
class _Chosen:
    """What the policy thinks of some points.

    Attributes:
        picked: Log-probability of each choice, 0 where none was made; shape (B, P).
        entropy: Mean entropy of the active choices (nats).
        active: 1 where a choice was made, else 0; shape (B, P).
    """

    picked: Tensor
    entropy: Tensor
    active: Tensor


class _Policy(nn.Module):
    """The LSTM, its optimizer and the moving average of rewards."""

    def __init__(self, config: StudyConfig, learning: PPOConfig) -> None:
        super().__init__()
        self._space: SearchSpace = config.space
        self._learning = learning
        self._values = {
            name: [config.fixed[name]] if name in config.fixed else list(parameter.grid())
            for name, parameter in config.space.items()
        }
        levels = [len(values) for values in self._values.values()]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.cell = nn.LSTMCell(_WIDTH, _WIDTH)
            # One vector a value, and a last one for an inactive parameter.
            self.read = nn.ModuleList(nn.Embedding(count + 1, _WIDTH) for count in levels)
            self.write = nn.ModuleList(nn.Linear(_WIDTH, count) for count in levels)
        for head in self.write:
            nn.init.zeros_(head.weight)  # type: ignore[arg-type]
            nn.init.zeros_(head.bias)  # type: ignore[arg-type]
        self._optimizer = torch.optim.Adam(self.parameters(), learning.learning_rate)
        self._baseline = MovingBaseline(learning.baseline_decay)
        self._rewards: list[float] = []

    @torch.no_grad()
    def sample(self, rng: np.random.Generator) -> dict[str, Value]:
        """Write a point."""
        point: dict[str, Value] = {}
        state = self._start(1)
        for index, (name, values) in enumerate(self._values.items()):
            choice = len(values)
            if self._space.is_active(name, point):
                shares = self.write[index](state[0])[0].double().softmax(-1).numpy()
                choice = int(rng.choice(len(values), p=shares / shares.sum()))
                point[name] = values[choice]
            state = self.cell(self.read[index](torch.tensor([choice])), state)
        return point

    def log_probabilities(self, points: Sequence[Mapping[str, Value]]) -> _Chosen:
        """Log-probabilities of the choices in points, which may come from anywhere."""
        state = self._start(len(points))
        picked, active, entropy = [], [], []
        for index, (name, values) in enumerate(self._values.items()):
            known = [name in point and point[name] in values for point in points]
            choice = torch.tensor(
                [
                    values.index(p[name]) if k else len(values)
                    for p, k in zip(points, known, strict=True)
                ]
            )
            mask = torch.tensor(known, dtype=torch.float32)
            logits = F.log_softmax(self.write[index](state[0]), -1)  # (B, levels)
            choice_or_first = choice.clamp(max=len(values) - 1)
            picked.append(mask * logits.gather(1, choice_or_first[:, None])[:, 0])
            entropy.append(-mask * (logits.exp() * logits).sum(-1))
            active.append(mask)
            state = self.cell(self.read[index](choice), state)
        masks = torch.stack(active, 1)
        mean_entropy = torch.stack(entropy, 1).sum() / masks.sum().clamp(min=1.0)
        return _Chosen(torch.stack(picked, 1), mean_entropy, masks)

    def update(self, batch: Sequence[Trial], sign: float) -> None:
        """Learn from some trials with values."""
        learning = self._learning
        rewards = np.array([sign * (trial.value or 0.0) for trial in batch])
        points = [trial.params for trial in batch]
        self._rewards += rewards.tolist()
        # All rewards so far: the spread of the latest goes to zero when the controller settles.
        spread = max(float(np.std(self._rewards)), 1e-12)
        gain = (rewards - self._baseline.update(float(rewards.mean()))) / spread
        advantage = torch.tensor(gain, dtype=torch.float32)[:, None]
        with torch.no_grad():
            before = self.log_probabilities(points).picked
        for _ in range(learning.passes):
            chosen = self.log_probabilities(points)
            surrogate = clipped_surrogate(chosen.picked, before, advantage, learning.clip)  # (B, P)
            surrogate = surrogate * chosen.active
            loss = -surrogate.sum() / len(batch) - learning.entropy_weight * chosen.entropy
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()

    def _start(self, count: int) -> tuple[Tensor, Tensor]:
        return torch.zeros(count, _WIDTH), torch.zeros(count, _WIDTH)
