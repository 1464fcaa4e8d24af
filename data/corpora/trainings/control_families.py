"""Families that learn to act: bandits, policy gradients, Q-learning, and a controller."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optformer.data.corpora.trainings.columns import Columns
from optformer.data.corpora.trainings.examples import VALID
from optformer.data.corpora.trainings.family import TrainingFamily
from optformer.data.corpora.trainings.hyperparameters import clip, epochs, rate, width
from optformer.data.corpora.trainings.networks import Perceptron
from optformer.data.corpora.trainings.stacked import train_learner
from optformer.data.studies.parameters import Categorical, Float, Ordinal
from optformer.data.studies.spaces import SearchSpace

_SIDE = 5  # of a maze
_LONGEST = 30  # steps of an episode
_MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))
_REPEATS = 12  # bandits that a policy plays

_Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Bandits:
    """Bandits of one kind, each with arms of its own.

    Attributes:
        text: What they are like.
        means: Mean reward of each arm, (R, A).
        noise: Standard deviation of a reward.
        horizon: Number of pulls.
    """

    text: str
    means: Tensor
    noise: float
    horizon: int


def bandits(seed: int) -> Bandits:
    """Bandits with normal rewards."""
    rng = np.random.default_rng([30, seed])
    arms, horizon = int(rng.choice([4, 8, 16])), int(rng.choice([100, 200, 400]))
    noise, spread = float(rng.uniform(0.2, 2.0)), float(rng.uniform(0.3, 1.5))
    means = torch.from_numpy(spread * rng.normal(size=(_REPEATS, arms))).float()
    text = f"simulated bandit of {arms} arms, {horizon} pulls, noise {noise:.1f}"
    return Bandits(text, means, noise, horizon)


def _play_bandits(columns: Columns, data: Bandits, seed: int) -> dict[str, Tensor]:
    """Mean regret of a pull, with the arms' noise equal for all configurations."""
    noise = torch.Generator().manual_seed(seed)
    count, (repeats, arms) = len(columns), data.means.shape
    greedy, ucb, thompson = (
        columns.where("policy", name)[:, None] for name in ("epsilon_greedy", "ucb", "thompson")
    )
    epsilon, decay = (columns.numbers(name)[:, None] for name in ("epsilon", "epsilon_decay"))
    width, temperature, prior = (
        columns.numbers(name)[:, None, None]
        for name in ("confidence", "temperature", "prior_scale")
    )
    start = columns.numbers("optimistic_start")[:, None, None]
    means = start.expand(count, repeats, arms).clone()
    pulls = torch.zeros(count, repeats, arms)
    lost = torch.zeros(count, repeats)
    best = data.means.amax(1)
    for step in range(data.horizon):
        draws = torch.randn(3, repeats, arms, generator=noise)
        chance = torch.rand(2, repeats, arms, generator=noise)
        gumbel = -(-chance[0].clamp_min(1e-9).log()).log()
        seen = pulls.clamp_min(0.5)
        index = means + width * (2 * torch.tensor(step + 1.0).log() / seen).sqrt()
        sampled = means + draws[0] * prior / (pulls + 1).sqrt()
        soft = means / temperature + gumbel
        score = torch.where(ucb[..., None], index, torch.where(thompson[..., None], sampled, soft))
        explore = chance[1, :, 0] < epsilon * decay**step
        own = torch.where(explore[..., None], chance[0], means + 1e-6 * draws[1])
        arm = torch.where(greedy[..., None], own, score).argmax(-1, keepdim=True)
        rewards = (data.means + data.noise * draws[2]).expand(count, -1, -1).gather(-1, arm)
        pulls.scatter_add_(-1, arm, torch.ones_like(rewards))
        moved = (rewards - means.gather(-1, arm)) / pulls.gather(-1, arm)
        means.scatter_add_(-1, arm, moved)
        lost += best - data.means.expand(count, -1, -1).gather(-1, arm)[..., 0]
    return {"regret": lost.mean(1) / data.horizon}


@dataclass(frozen=True)
class Decisions:
    """Situations in which one of several actions is taken, and what each would yield.

    Attributes:
        text: What they are like.
        inputs: Situations, (N, features); the last `VALID` measure.
        rewards: Mean reward of each action, (N, A).
        noise: Standard deviation of a reward.
    """

    text: str
    inputs: Tensor
    rewards: Tensor
    noise: float


def decisions(seed: int) -> Decisions:
    """Situations whose best action depends on them smoothly."""
    rng = np.random.default_rng([31, seed])
    count, features, actions = int(rng.choice([192, 320])), int(rng.integers(3, 9)), 4
    noise = float(rng.uniform(0.1, 1.5))
    inputs = rng.normal(size=(count + VALID, features))
    hidden = np.tanh(inputs @ rng.normal(size=(features, 8)))
    rewards = hidden @ rng.normal(size=(8, actions)) / 3 + rng.normal(size=actions) * 0.3
    text = f"simulated contextual bandit, {count} situations, {actions} actions, noise {noise:.1f}"
    return Decisions(
        text, torch.from_numpy(inputs).float(), torch.from_numpy(rewards).float(), noise
    )


class PolicyGradient:
    """A policy that learns from the rewards of the actions it draws, with a batch's baseline."""

    def __init__(self, columns: Columns, data: Decisions) -> None:
        self.network = Perceptron(columns, data.inputs.shape[1:], data.rewards.shape[1])
        self.layout, self.examples = self.network.layout, len(data.inputs) - VALID
        self._data = data
        self._entropy = columns.numbers("entropy_coefficient")[:, None]
        self._baseline = columns.numbers("baseline")[:, None]

    def loss(self, weights: list[Tensor], rows: Tensor, noise: torch.Generator) -> Tensor:
        """See `Learner`."""
        logits = self.network(weights, self._data.inputs[rows]).log_softmax(-1)
        chance = torch.rand(logits.shape[1:], generator=noise).clamp_min(1e-9)
        action = (logits.detach() - (-chance.log()).log()).argmax(-1, keepdim=True)
        rewards = self._data.rewards[rows]
        rewards = rewards + self._data.noise * torch.randn(rewards.shape, generator=noise)
        reward = rewards.expand(len(logits), -1, -1).gather(-1, action)[..., 0]
        advantage = reward - self._baseline * reward.mean(1, keepdim=True)
        entropy = -(logits.exp() * logits).sum(-1)
        loss = -advantage * logits.gather(-1, action)[..., 0] - self._entropy * entropy
        return loss.mean(1)

    def measure(self, weights: list[Tensor]) -> dict[str, Tensor]:
        """See `Learner`: mean reward of the policy's own draws."""
        inputs, rewards = self._data.inputs[-VALID:], self._data.rewards[-VALID:]
        chances = self.network(weights, inputs).softmax(-1).nan_to_num(1 / rewards.shape[1])
        return {"mean_reward": (chances * rewards).sum(-1).mean(1)}


@dataclass(frozen=True)
class Maze:
    """Squares to walk over.

    Attributes:
        text: What it is like.
        following: Square after each move, (S, 4).
        rewards: What entering a square yields, (S,).
        ends: Whether a square ends an episode, (S,).
        slip: Chance that a move goes elsewhere.
        episodes: How many are learned from.
    """

    text: str
    following: NDArray[np.int64]
    rewards: _Numbers
    ends: NDArray[np.bool_]
    slip: float
    episodes: int


def mazes(seed: int) -> Maze:
    """A maze of 5 by 5 with walls, pits and a goal, from corner to corner."""
    rng = np.random.default_rng([32, seed])
    squares = _SIDE**2
    slip, episodes = float(rng.choice([0.0, 0.1, 0.25])), int(rng.choice([30, 60, 100]))
    open_way = [*range(0, squares, _SIDE), *range(squares - _SIDE, squares)]  # down, then right
    inner = rng.permutation(sorted(set(range(squares)) - set(open_way)))
    walls, pits = set(inner[:4].tolist()), inner[4 : 4 + int(rng.integers(0, 5))]
    following = np.zeros((squares, 4), dtype=np.int64)
    for square in range(squares):
        for move, (down, right) in enumerate(_MOVES):
            y, x = square // _SIDE + down, square % _SIDE + right
            there = y * _SIDE + x
            legal = 0 <= y < _SIDE and 0 <= x < _SIDE and there not in walls
            following[square, move] = there if legal else square
    turned = rng.permutation(4)  # which number means which direction
    following = following[:, turned]
    rewards = np.full(squares, -0.02)
    rewards[pits], rewards[-1] = -1.0, 1.0
    ends = np.zeros(squares, dtype=np.bool_)
    ends[pits], ends[-1] = True, True
    text = f"simulated maze, {len(pits)} pits, {episodes} episodes, slip {slip:g}"
    return Maze(text, following, rewards, ends, slip, episodes)


def _learn_maze(columns: Columns, data: Maze, seed: int) -> dict[str, Tensor]:
    """Mean return of the episodes of learning, and of the greedy policy after them.

    All configurations see the same chances.
    """
    rng = np.random.default_rng([33, seed])
    rows = np.arange(len(columns))
    alpha, gamma, epsilon, decay, trace, start = (
        columns.numbers(name).double().numpy()
        for name in ("alpha", "gamma", "epsilon", "epsilon_decay", "lambda", "initial_value")
    )
    expected = columns.where("target", "sarsa").numpy()
    values = np.zeros((len(columns), _SIDE**2, 4)) + start[:, None, None]
    learned = np.zeros(len(columns))
    for episode in range(data.episodes):
        state = np.zeros(len(columns), dtype=np.int64)
        eligible = np.zeros_like(values)
        going = np.ones(len(columns), dtype=np.bool_)
        exploring = epsilon * decay**episode
        action = _choose(values[rows, state], exploring, rng)
        for _ in range(_LONGEST):
            moved, reward, ended = _move(data, state, action, rng)
            learned += reward * going
            following = _choose(values[rows, moved], exploring, rng)
            ahead = np.where(expected, values[rows, moved, following], values[rows, moved].max(1))
            error = reward + gamma * ahead * ~ended - values[rows, state, action]
            eligible *= (gamma * trace)[:, None, None]
            eligible[rows, state, action] = 1.0
            values += (alpha * error * going)[:, None, None] * eligible
            going = going & ~ended
            if not going.any():
                break
            state, action = np.where(going, moved, state), following
    returns = np.zeros(len(columns))
    for _ in range(10):
        state, going = np.zeros(len(columns), dtype=np.int64), np.ones(len(columns), dtype=np.bool_)
        for _ in range(_LONGEST):
            moved, reward, ended = _move(data, state, values[rows, state].argmax(1), rng)
            returns += reward * going
            going = going & ~ended
            state = np.where(going, moved, state)
    return {
        "training_return": torch.from_numpy(learned / data.episodes),
        "episode_return": torch.from_numpy(returns / 10),
    }


def _choose(values: _Numbers, exploring: _Numbers, rng: np.random.Generator) -> NDArray[np.int64]:
    random = int(rng.integers(4))
    return np.where(rng.random() < exploring, random, values.argmax(1))


def _move(
    data: Maze, state: NDArray[np.int64], action: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], _Numbers, NDArray[np.bool_]]:
    if rng.random() < data.slip:
        action = np.full_like(action, int(rng.integers(4)))
    moved = data.following[state, action]
    return moved, data.rewards[moved], data.ends[moved]


@dataclass(frozen=True)
class Plant:
    """A process of second order with a delay, which a controller steers.

    Attributes:
        text: What it is like.
        gain: Of the input.
        stiffness: Of the spring.
        damping: Of the friction.
        delay: Steps until an input acts.
        noise: Standard deviation of a measurement.
    """

    text: str
    gain: float
    stiffness: float
    damping: float
    delay: int
    noise: float


def plants(seed: int) -> Plant:
    """A random process."""
    rng = np.random.default_rng([34, seed])
    gain, stiffness = float(rng.uniform(0.5, 3.0)), float(rng.choice([0.0, 0.5, 2.0]))
    damping, delay = float(rng.uniform(0.2, 2.5)), int(rng.integers(0, 8))
    noise = float(rng.choice([0.0, 0.005, 0.02]))
    text = (
        f"simulated process, gain {gain:.1f}, stiffness {stiffness:g}, damping {damping:.1f}, "
        f"delay {delay} steps, noise {noise:g}"
    )
    return Plant(text, gain, stiffness, damping, delay, noise)


def _steer(columns: Columns, data: Plant, seed: int) -> dict[str, Tensor]:
    """Errors of a PID controller after a step of the target and a disturbance."""
    rng = np.random.default_rng([35, seed])
    kp, ki, kd, smooth, weight = (
        columns.numbers(name).double().numpy()
        for name in ("kp", "ki", "kd", "derivative_filter", "setpoint_weight")
    )
    place, speed, total, slope, before = np.zeros((5, len(columns)))
    waiting = [np.zeros(len(columns)) for _ in range(data.delay + 1)]
    error_sum, effort, pace = np.zeros(len(columns)), np.zeros(len(columns)), 0.05
    for step in range(300):
        measured = place + data.noise * rng.normal()
        error = 1.0 - measured
        slope = smooth * slope + (1 - smooth) * (before - measured) / pace
        before = measured
        wanted = kp * (weight - measured) + ki * total + kd * slope
        output = wanted.clip(-5, 5)
        total = total + pace * error * (np.abs(wanted) < 5)  # no wind-up at the limits
        waiting.append(output)
        push = data.gain * waiting.pop(0) - (0.5 if step >= 150 else 0.0)
        speed = speed + pace * (push - data.stiffness * place - data.damping * speed)
        place = (place + pace * speed).clip(-1e3, 1e3)
        error_sum += pace * np.abs(1.0 - place)
        effort += pace * np.abs(output)
    return {
        "absolute_error": torch.from_numpy(error_sum.clip(max=1e4)),
        "control_effort": torch.from_numpy(effort),
    }


CONTROL_FAMILIES = (
    TrainingFamily(
        "bandit-policies",
        ("multi-armed bandit", "online decision making", "A/B testing"),
        ("bandit policy", "exploration strategy"),
        SearchSpace(
            policy=Categorical(
                ["epsilon_greedy", "ucb", "thompson", "softmax"], description="exploration"
            ),
            epsilon=Float(
                0.005,
                1.0,
                log=True,
                when={"policy": ["epsilon_greedy"]},
                description="chance to explore",
            ),
            epsilon_decay=Float(
                0.95, 1.0, when={"policy": ["epsilon_greedy"]}, description="factor a step"
            ),
            confidence=Float(
                0.01,
                5.0,
                log=True,
                when={"policy": ["ucb"]},
                description="width of the confidence bound",
            ),
            temperature=Float(
                0.01, 5.0, log=True, when={"policy": ["softmax"]}, description="temperature"
            ),
            prior_scale=Float(
                0.05,
                5.0,
                log=True,
                when={"policy": ["thompson"]},
                description="standard deviation of the prior",
            ),
            optimistic_start=Float(0.0, 4.0, description="first value of each arm"),
        ),
        {"regret": "minimize"},
        bandits,
        _play_bandits,
        {
            "epsilon": 0.1,
            "epsilon_decay": 1.0,
            "confidence": 1.0,
            "temperature": 1.0,
            "prior_scale": 1.0,
        },
    ),
    TrainingFamily(
        "policy-gradient",
        ("reinforcement learning", "contextual bandit", "policy optimization"),
        ("policy gradient", "REINFORCE", "stochastic policy network"),
        SearchSpace(
            learning_rate=rate(1e-4, 3e-1),
            entropy_coefficient=Float(1e-4, 1.0, log=True, description="weight of the entropy"),
            baseline=Float(0.0, 1.0, description="share of the mean reward that is subtracted"),
            batch_size=Ordinal([16, 32, 64], description="actions of an update"),
            width=width(4, 24),
            clip_norm=clip(),
            epochs=epochs(2, 16),
        ),
        {"mean_reward": "maximize"},
        decisions,
        partial(train_learner, learner=PolicyGradient),
        {"optimizer": "adam", "layers": 1},
    ),
    TrainingFamily(
        "q-learning",
        ("reinforcement learning", "learning to walk through a maze", "temporal differences"),
        ("Q-learning", "tabular Q-learning with eligibility traces"),
        SearchSpace(
            {
                "alpha": Float(0.005, 1.0, log=True, description="step size"),
                "gamma": Float(0.5, 0.999, description="discount factor"),
                "epsilon": Float(0.01, 1.0, description="chance of a random action at first"),
                "epsilon_decay": Float(0.85, 1.0, description="its factor an episode"),
                "lambda": Float(0.0, 0.98, description="decay of eligibility traces"),
                "initial_value": Float(-0.5, 1.0, description="first value of all actions"),
                "target": Categorical(["q", "sarsa"], description="what is learned towards"),
            }
        ),
        {"training_return": "maximize", "episode_return": "maximize"},
        mazes,
        _learn_maze,
    ),
    TrainingFamily(
        "pid-controller",
        ("process control", "control engineering", "controller tuning"),
        ("PID controller", "feedback controller"),
        SearchSpace(
            kp=Float(0.01, 30.0, log=True, description="proportional gain"),
            ki=Float(0.001, 10.0, log=True, description="integral gain"),
            kd=Float(0.001, 10.0, log=True, description="derivative gain"),
            derivative_filter=Float(0.0, 0.95, description="smoothing of the derivative"),
            setpoint_weight=Float(0.3, 1.0, description="share of the target in the first term"),
        ),
        {"absolute_error": "minimize"},
        plants,
        _steer,
    ),
)
"""Learning to act."""
