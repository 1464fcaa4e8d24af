"""Families without gradients of a network: closed forms, smoothing, embeddings, heuristics."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optformer.data.corpora.trainings.columns import Columns
from optformer.data.corpora.trainings.examples import (
    Examples,
    tabular_classes,
    tabular_values,
)
from optformer.data.corpora.trainings.family import TrainingFamily
from optformer.data.corpora.trainings.hyperparameters import decay, dropout, epochs, rate, width
from optformer.data.corpora.trainings.layers import ACTIVATIONS, Dropout, Linear, Units
from optformer.data.corpora.trainings.layout import Layout
from optformer.data.corpora.trainings.stacked import train_learner
from optformer.data.corpora.trainings.supervised import classification_metrics, regression_metrics
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal
from optformer.data.studies.spaces import SearchSpace

_GROUP = 40  # configurations at once
_WASHOUT, _LEARNED = 50, 350  # first steps of a series that a reservoir forgets, and learns from


@dataclass(frozen=True)
class Series:
    """A series of numbers.

    Attributes:
        text: What it is like.
        values: The numbers, (T,), standardized.
    """

    text: str
    values: Tensor


def long_series(seed: int) -> Series:
    """600 steps of a chaotic, a seasonal or a noisy process."""
    rng = np.random.default_rng([40, seed])
    kind, noise = str(rng.choice(["chaotic", "seasonal", "mixed"])), float(rng.uniform(0.0, 0.3))
    steps, state = 600, np.array([0.1, 0.2, 0.3]) + 0.1 * rng.normal(size=3)
    found = []
    for _ in range(2 * steps):  # Lorenz's equations
        x, y, z = state
        state = state + 0.02 * np.array([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])
        found.append(state[0])
    chaos = np.array(found[::2]) / 8
    time = np.arange(steps)
    season = np.sin(2 * np.pi * time / rng.uniform(6, 30)) * (1 + 0.5 * np.sin(time / 40))
    share = {"chaotic": 1.0, "seasonal": 0.0, "mixed": 0.5}[kind]
    values = share * chaos + (1 - share) * season
    values = (values - values.mean()) / values.std() + noise * rng.normal(size=steps)
    text = f"simulated {kind} series, {steps} steps, noise {noise:.2f}"
    return Series(text, torch.from_numpy(values).float())


def _reservoir(columns: Columns, data: Series, seed: int) -> dict[str, Tensor]:
    """Error of an echo state network that predicts the next value."""
    parts = [_reservoir_group(columns.select(rows), data, seed) for rows in _groups(len(columns))]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _reservoir_group(columns: Columns, data: Series, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    most = columns.largest("units")
    mask = (torch.arange(most) < columns.numbers("units")[:, None]).float()
    dense = torch.rand(most, most, generator=generator)
    matrix = torch.randn(most, most, generator=generator)
    read = torch.rand(most, generator=generator) * 2 - 1
    kept = (dense < columns.numbers("connectivity")[:, None, None]).float()
    matrices = matrix * kept * mask[:, None] * mask[:, :, None]
    radius = torch.linalg.eigvals(matrices).abs().amax(1).clamp_min(1e-6)
    matrices = matrices * (columns.numbers("spectral_radius") / radius)[:, None, None]
    scale, leak = columns.numbers("input_scaling")[:, None], columns.numbers("leak_rate")[:, None]
    state, states = torch.zeros(len(columns), most), []
    for value in data.values[:-1]:
        fresh = torch.tanh(scale * read * value + torch.bmm(state[:, None], matrices)[:, 0])
        state = torch.lerp(state, fresh * mask, leak)
        states.append(state)
    known = torch.stack(states, 1)
    known = torch.cat([known, torch.ones(*known.shape[:2], 1)], 2)
    return _ridge(
        known[:, _WASHOUT:_LEARNED],
        data.values[_WASHOUT + 1 : _LEARNED + 1, None],
        known[:, _LEARNED:],
        data.values[_LEARNED + 1 :, None],
        columns.numbers("ridge"),
    )


def _extreme(columns: Columns, data: Examples, seed: int) -> dict[str, Tensor]:
    """Error of random hidden units with a ridge regression on top."""
    parts = [_extreme_group(columns.select(rows), data, seed) for rows in _groups(len(columns))]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _extreme_group(columns: Columns, data: Examples, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    most = columns.largest("units")
    matrix = torch.randn(data.shape[0], most, generator=generator) / math.sqrt(data.shape[0])
    shift = torch.randn(most, generator=generator)
    mask = (torch.arange(most) < columns.numbers("units")[:, None, None]).float()
    scale, bias = (columns.numbers(name)[:, None, None] for name in ("gamma", "bias_scale"))

    def features(inputs: Tensor) -> Tensor:
        raw = scale * (inputs @ matrix) + bias * shift
        found = torch.zeros_like(raw)
        for name in sorted(set(columns.values("activation"))):
            chosen = columns.where("activation", name)[:, None, None]
            found = torch.where(chosen, ACTIVATIONS[name](raw), found)
        return torch.cat([found * mask, torch.ones(*raw.shape[:2], 1)], 2)

    return _ridge(
        features(data.inputs),
        data.targets,
        features(data.valid_inputs),
        data.valid_targets,
        columns.numbers("alpha"),
    )


def _ridge(
    known: Tensor, targets: Tensor, asked: Tensor, wanted: Tensor, ridge: Tensor
) -> dict[str, Tensor]:
    """Errors of K ridge regressions.

    Args:
        known: Features to learn from, (K, N, F).
        targets: (N, 1).
        asked: Features to answer for, (K, M, F).
        wanted: (M, 1).
        ridge: (K,).
    """
    known, asked, targets = known.double(), asked.double(), targets.double()
    gram = known.transpose(1, 2) @ known
    gram = gram + (ridge.double() + 1e-9)[:, None, None] * torch.eye(gram.shape[-1])
    solved = torch.linalg.solve(gram, known.transpose(1, 2) @ targets)
    return regression_metrics(asked @ solved, wanted.double())


def sales(seed: int) -> Series:
    """160 steps with level, trend and seasons."""
    rng = np.random.default_rng([41, seed])
    period, noise = int(rng.choice([4, 6, 7, 12])), float(rng.uniform(0.05, 1.0))
    drift, wander = float(rng.uniform(-0.05, 0.05)), float(rng.choice([0.0, 0.1, 0.4]))
    strength, steps = float(rng.choice([0.0, 0.5, 2.0])), 160
    season = strength * rng.normal(size=period)
    level = np.cumsum(drift + wander * rng.normal(size=steps))
    values = level + season[np.arange(steps) % period] + noise * rng.normal(size=steps)
    text = (
        f"simulated sales, {steps} steps, "
        f"{f'period {period}' if strength else 'no season'}, noise {noise:.2f}, drift {drift:.2f}"
    )
    return Series(text, torch.from_numpy(values).float())


def _smoothing(columns: Columns, data: Series, seed: int) -> dict[str, Tensor]:
    """Errors of forecasts one step ahead, over the second half of the series."""
    del seed
    alpha, beta, gamma, damping = (
        columns.numbers(name).double().numpy()
        for name in (
            "smoothing_level",
            "smoothing_trend",
            "smoothing_seasonal",
            "damping_trend",
        )
    )
    seasonal = columns.where("seasonal", "add").numpy()
    period = columns.numbers("seasonal_periods").long().numpy()
    rows, values = np.arange(len(columns)), data.values.double().numpy()
    level, trend = np.full(len(columns), values[0]), np.zeros(len(columns))
    season, errors = np.zeros((len(columns), int(period.max()))), []
    for step, value in enumerate(values):
        place = step % period
        factor = season[rows, place] * seasonal
        error = value - (level + damping * trend + factor)
        errors.append(error)
        before = level
        level = level + damping * trend + alpha * error
        trend = damping * trend + beta * (level - before - damping * trend)
        season[rows, place] += gamma * (1 - alpha) * error * seasonal
    found = torch.from_numpy(np.stack(errors[len(values) // 2 :], 1))
    worst = 10 * float(data.values.std())
    error = found.nan_to_num(worst, worst, worst).clamp(-worst, worst)
    return {"rmse": error.square().mean(1).sqrt(), "mae": error.abs().mean(1)}


@dataclass(frozen=True)
class Graph:
    """A graph whose nodes have features and classes.

    Attributes:
        text: What it is like.
        near: Normalized neighbourhoods, (N, N).
        inputs: Features, (N, F).
        targets: Classes, (N,).
        known: Nodes whose class is told, bool, (N,).
        outputs: Number of classes.
    """

    text: str
    near: Tensor
    inputs: Tensor
    targets: Tensor
    known: Tensor
    outputs: int


def graphs(seed: int) -> Graph:
    """A graph of communities."""
    rng = np.random.default_rng([42, seed])
    nodes, classes = 120, int(rng.integers(2, 6))
    within, across = float(rng.uniform(0.04, 0.15)), float(rng.uniform(0.002, 0.03))
    noise, told = float(rng.uniform(0.5, 3.0)), float(rng.choice([0.1, 0.2, 0.4]))
    targets = rng.integers(classes, size=nodes)
    same = targets[:, None] == targets
    edges = np.triu(rng.random((nodes, nodes)) < np.where(same, within, across), 1)
    linked = (edges | edges.T) + np.eye(nodes)
    size = linked.sum(1) ** -0.5
    inputs = rng.normal(size=(classes, 12))[targets] + noise * rng.normal(size=(nodes, 12))
    known = rng.random(nodes) < told
    known[:classes] = True
    text = (
        f"simulated graph of {nodes} nodes, {classes} communities, {int(edges.sum())} edges, "
        f"{int(known.sum())} labels, noise {noise:.1f}"
    )
    return Graph(
        text,
        torch.from_numpy(size[:, None] * linked * size).float(),
        torch.from_numpy(inputs).float(),
        torch.from_numpy(targets).long(),
        torch.from_numpy(known),
        classes,
    )


class Propagation:
    """A perceptron on each node whose scores are mixed with the neighbours', `hops` times."""

    examples = 1  # the whole graph is one

    def __init__(self, columns: Columns, data: Graph) -> None:
        self.layout, self._data = Layout(columns), data
        self._units = Units(columns)
        self._in = Linear(self.layout, data.inputs.shape[1], self._units.most, gain=1.4)
        self._out = Linear(self.layout, self._units.most, data.outputs, fan_in=self._units.count)
        self._most, self._hops = columns.largest("hops"), columns.numbers("hops")[:, None, None]
        self._teleport = columns.numbers("teleport")[:, None, None]
        self._dropout = Dropout(columns)

    def _scores(self, weights: list[Tensor], noise: torch.Generator | None) -> Tensor:
        hidden = torch.relu(self._in(weights, self._data.inputs)) * self._units.mask
        own = self._out(weights, self._dropout(hidden, noise))
        scores = own
        for hop in range(self._most):
            mixed = torch.lerp(self._data.near @ scores, own, self._teleport)
            scores = torch.where(hop < self._hops, mixed, scores)
        return scores

    def loss(self, weights: list[Tensor], rows: Tensor, noise: torch.Generator) -> Tensor:
        """See `Learner`."""
        del rows
        known, targets = self._data.known, self._data.targets
        chances = self._scores(weights, noise).log_softmax(-1)[:, known]
        return -chances.gather(-1, targets[known].expand(len(chances), -1)[..., None]).mean((1, 2))

    def measure(self, weights: list[Tensor]) -> dict[str, Tensor]:
        """See `Learner`: of the nodes whose class was not told."""
        asked = ~self._data.known
        scores = self._scores(weights, None)[:, asked].double()
        found = classification_metrics(scores, self._data.targets[asked])
        loss = found["log_loss"].clamp_max(10 * math.log(self._data.outputs))
        return {"accuracy": found["accuracy"], "log_loss": loss}


def _neighbour_map(columns: Columns, data: Examples, seed: int) -> dict[str, Tensor]:
    """How well a map of t-SNE keeps the classes together."""
    parts = [
        _neighbour_map_group(columns.select(rows), data, seed) for rows in _groups(len(columns))
    ]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _neighbour_map_group(columns: Columns, data: Examples, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs, targets = data.valid_inputs[:64], data.valid_targets[:64]
    count, eye = len(inputs), torch.eye(len(inputs))
    away = torch.cdist(inputs, inputs).square()
    wanted = columns.numbers("perplexity").log()[:, None]
    low, high = (torch.full((len(columns), count), end) for end in (-10.0, 10.0))
    for _ in range(25):  # bisection for the width of each neighbourhood
        middle = (low + high) / 2
        chances = (-away * middle.exp()[..., None] - 1e9 * eye).softmax(-1)
        wide = torch.special.entr(chances).sum(-1) > wanted
        low, high = torch.where(wide, middle, low), torch.where(wide, high, middle)
    joint = (chances + chances.transpose(1, 2)) / (2 * count)
    rates, momentum = (
        columns.numbers(name)[:, None, None] for name in ("learning_rate", "momentum")
    )
    early, long = columns.numbers("early_exaggeration")[:, None, None], columns.numbers("n_iter")
    places = 1e-2 * torch.randn(len(columns), count, 2, generator=generator)
    speed = torch.zeros_like(places)
    for step in range(int(long.max())):
        gaps = places[:, :, None] - places[:, None]
        close = 1 / (1 + gaps.square().sum(-1)) * (1 - eye)
        share = close / close.sum((1, 2), keepdim=True)
        factor = torch.where((step < 0.25 * long)[:, None, None], early, 1.0)
        force = 4 * (((factor * joint - share) * close)[..., None] * gaps).sum(2)
        speed = momentum * speed - rates * force
        moved = (places + speed).clamp(-1e3, 1e3)
        places = torch.where((step < long)[:, None, None], moved, places)
    found = torch.cdist(places, places) + 1e9 * eye
    nearest = found.topk(3, largest=False).indices
    agree = (targets[nearest] == targets[:, None]).double().mean((1, 2))
    loss = torch.xlogy(joint, joint / share.clamp_min(1e-12)).sum((1, 2)).double()
    return {"neighbor_accuracy": agree, "kl_divergence": loss.nan_to_num(10.0, 10.0).clamp_max(10)}


@dataclass(frozen=True)
class Cities:
    """Cities on a plane.

    Attributes:
        text: How they lie.
        away: Distances, (C, C).
    """

    text: str
    away: NDArray[np.float64]


def cities(seed: int) -> Cities:
    """24 to 40 cities, even or in clusters."""
    rng = np.random.default_rng([43, seed])
    count, clusters = int(rng.integers(24, 41)), int(rng.choice([0, 3, 6]))
    places = rng.random((count, 2))
    if clusters:
        centres = rng.random((clusters, 2))
        places = centres[rng.integers(clusters, size=count)] + 0.06 * rng.normal(size=(count, 2))
    text = f"{count} cities, {f'{clusters} clusters' if clusters else 'evenly spread'}"
    return Cities(text, np.linalg.norm(places[:, None] - places, axis=-1))


def _anneal(columns: Columns, data: Cities, seed: int) -> dict[str, Tensor]:
    """Length of a round trip found by simulated annealing; all are offered the same moves."""
    rng = np.random.default_rng([44, seed])
    count = len(data.away)
    hot, cold, length = (
        columns.numbers(name).double().numpy()
        for name in ("initial_temperature", "final_temperature", "steps")
    )
    moves = columns.values("move")
    reverse = np.array([move == "reverse" for move in moves])
    mixed = np.array([move == "mixed" for move in moves])
    linear = columns.where("cooling", "linear").numpy()
    tours = np.tile(rng.permutation(count), (len(columns), 1))
    for step in range(int(length.max())):
        first, last = sorted(rng.choice(count, 2, replace=False))
        done = np.minimum(step / length, 1.0)
        geometric = hot * (np.minimum(cold, hot) / hot) ** done
        warmth = np.where(linear, hot + (np.minimum(cold, hot) - hot) * done, geometric)
        flip = reverse | (mixed & bool(rng.random() < 0.5))
        tried = tours.copy()
        tried[:, first : last + 1] = tours[:, first : last + 1][:, ::-1]
        swapped = tours.copy()
        swapped[:, [first, last]] = tours[:, [last, first]]
        tried = np.where(flip[:, None], tried, swapped)
        worse = _around(data, tried) - _around(data, tours)
        taken = (rng.random() < np.exp(-np.maximum(worse, 0) / warmth)) & (step < length)
        tours[taken] = tried[taken]
    return {"tour_length": torch.from_numpy(_around(data, tours))}


def _around(data: Cities, tours: NDArray[np.int64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = data.away[tours, np.roll(tours, -1, 1)].sum(1)
    return found


@dataclass(frozen=True)
class Knapsack:
    """Things to pack.

    Attributes:
        text: What they are like.
        worth: Of each, (N,); pairs add to it.
        pairs: What two things are worth together, (N, N).
        weight: Of each, (N,).
        limit: Of all that is packed.
        evaluations: How many packings may be tried.
    """

    text: str
    worth: Tensor
    pairs: Tensor
    weight: Tensor
    limit: float
    evaluations: int


def knapsacks(seed: int) -> Knapsack:
    """40 things, some of which are worth more together."""
    rng = np.random.default_rng([45, seed])
    count, evaluations = 40, int(rng.choice([500, 1000, 2000]))
    bound = float(rng.choice([0.0, 0.3, 1.0]))
    worth, weight = rng.random(count), rng.random(count) + 0.05
    pairs = bound * rng.normal(size=(count, count)) * (rng.random((count, count)) < 0.1)
    text = f"knapsack of {count} things, {evaluations} evaluations, pairs {bound:g}"
    return Knapsack(
        text,
        torch.from_numpy(worth).float(),
        torch.from_numpy(pairs).float(),
        torch.from_numpy(weight).float(),
        0.4 * float(weight.sum()),
        evaluations,
    )


def _evolve(columns: Columns, data: Knapsack, seed: int) -> dict[str, Tensor]:
    """Worth of the best packing that a genetic algorithm finds."""
    noise = torch.Generator().manual_seed(seed)
    most, count = columns.largest("population_size"), len(data.worth)
    size = columns.numbers("population_size")[:, None]
    there = torch.arange(most) < size  # (K, P)
    generations = (data.evaluations / size).floor()
    mutation, crossover = (
        columns.numbers(name)[:, None, None] for name in ("mutation_rate", "crossover_rate")
    )
    rounds, tournament = columns.largest("tournament_size"), columns.numbers("tournament_size")
    elite = columns.numbers("elite_share")[:, None] * size
    one_point = columns.where("crossover", "one_point")[:, None, None]
    people = (torch.rand(most, count, generator=noise) < 0.3).float().expand(len(columns), -1, -1)
    best = torch.full((len(columns),), -torch.inf)
    for generation in range(int(generations.max())):
        fitness = _packed(data, people).masked_fill(~there, -1e9)
        going = generation < generations[:, 0]
        best = torch.where(going, torch.maximum(best, fitness.amax(1)), best)
        order = fitness.argsort(dim=1, descending=True, stable=True)
        people = people.gather(1, order[..., None].expand_as(people))
        # Ordered by fitness, the winner of a tournament is the smallest of its places.
        draws = torch.rand(2, rounds, most, generator=noise)
        counted = (torch.arange(rounds) < tournament[:, None])[:, None, :, None]
        places = torch.where(counted, draws.expand(len(columns), -1, -1, -1), 2.0).amin(2)
        parents = (places * size[:, None]).long()
        mother, father = (
            people.gather(1, parents[:, i, :, None].expand_as(people)) for i in range(2)
        )
        chance = torch.rand(3, most, count, generator=noise)
        cut = torch.arange(count) < (count * chance[2, :, :1])
        from_father = torch.where(one_point, cut, chance[0] < 0.5)
        crossed = (torch.rand(most, 1, generator=noise) < crossover) & from_father
        child = torch.where(crossed, father, mother)
        child = torch.where(chance[1] < mutation, 1 - child, child)
        people = torch.where((torch.arange(most) < elite)[..., None], people, child)
    return {"packed_worth": best.double()}


def _packed(data: Knapsack, people: Tensor) -> Tensor:
    """Worth of packings less what is too heavy, (K, P), from (K, P, N)."""
    worth = people @ data.worth + ((people @ data.pairs) * people).sum(-1)
    return worth - 5 * (people @ data.weight - data.limit).clamp_min(0)


@dataclass(frozen=True)
class Landscape:
    """A function of several numbers to be minimized.

    Attributes:
        text: What it is like.
        centre: Where it is least, (D,).
        turn: Rotation and scale, (D, D).
        waves: Height of its waves.
        evaluations: How many may be made.
    """

    text: str
    centre: Tensor
    turn: Tensor
    waves: float
    evaluations: int


def landscapes(seed: int) -> Landscape:
    """A bowl with waves, of 3 to 10 numbers."""
    rng = np.random.default_rng([46, seed])
    size, evaluations = int(rng.integers(3, 11)), int(rng.choice([300, 600, 1200]))
    waves, skew = float(rng.choice([0.0, 1.0, 5.0])), float(rng.choice([0.0, 1.0, 2.0]))
    turn, _ = np.linalg.qr(rng.normal(size=(size, size)))
    turn = turn * 10 ** (skew * np.linspace(-0.5, 0.5, size))
    text = f"function of {size} numbers, waves {waves:g}, {evaluations} evaluations"
    centre = torch.from_numpy(rng.uniform(-3, 3, size)).float()
    return Landscape(text, centre, torch.from_numpy(turn).float(), waves, evaluations)


def _swarm(columns: Columns, data: Landscape, seed: int) -> dict[str, Tensor]:
    """Logarithm of the least value that a swarm of particles finds."""
    noise = torch.Generator().manual_seed(seed)
    most, size = columns.largest("swarm_size"), columns.numbers("swarm_size")[:, None]
    there = torch.arange(most) < size
    inertia, own, social, limit = (
        columns.numbers(name)[:, None, None]
        for name in ("inertia", "cognitive", "social", "max_velocity")
    )
    ring = columns.where("topology", "ring")[:, None]
    steps = (data.evaluations / size).floor()
    places = 10 * torch.rand(most, len(data.centre), generator=noise) - 5
    places = places.expand(len(columns), -1, -1)
    speed, known, least = torch.zeros_like(places), places, _height(data, places)
    for step in range(1, int(steps.max())):
        values = least.masked_fill(~there, torch.inf)
        after = torch.where((torch.arange(most) + 1 == size), values[:, :1], values.roll(-1, 1))
        around = torch.stack([values.roll(1, 1), values, after])
        index = (torch.arange(most) + around.argmin(0) - 1) % size.long()
        leader = torch.where(ring, index, values.argmin(1, keepdim=True))
        best = known.gather(1, leader[..., None].expand_as(known))
        chance = torch.rand(2, *places.shape[1:], generator=noise)
        pull = own * chance[0] * (known - places) + social * chance[1] * (best - places)
        speed = (inertia * speed + pull).clamp(-limit, limit)
        places = (places + speed).clamp(-5, 5)
        found = _height(data, places)
        better = (found < least) & (step < steps)
        least = torch.where(better, found, least)
        known = torch.where(better[..., None], places, known)
    found = least.masked_fill(~there, torch.inf).amin(1)
    return {"log_error": (found.double() + 1e-8).log10()}


def _height(data: Landscape, places: Tensor) -> Tensor:
    turned = (places - data.centre) @ data.turn
    return turned.square().sum(-1) + data.waves * (1 - torch.cos(2 * math.pi * turned)).sum(-1)


def _groups(count: int) -> list[list[int]]:
    return [list(range(first, min(first + _GROUP, count))) for first in range(0, count, _GROUP)]


DIRECT_FAMILIES = (
    TrainingFamily(
        "reservoir",
        ("time series forecasting", "chaotic time series prediction"),
        ("echo state network", "reservoir computing"),
        SearchSpace(
            units=Int(5, 60, log=True, description="units of the reservoir"),
            spectral_radius=Float(0.05, 2.0, description="spectral radius of the reservoir"),
            leak_rate=Float(0.02, 1.0, log=True, description="leak rate"),
            input_scaling=Float(0.01, 5.0, log=True, description="scale of the inputs"),
            connectivity=Float(0.05, 1.0, description="share of connections that are there"),
            ridge=Float(1e-8, 1e2, log=True, description="ridge of the output layer"),
        ),
        {"rmse": "minimize", "mae": "minimize"},
        long_series,
        _reservoir,
    ),
    TrainingFamily(
        "extreme-learning",
        ("tabular regression", "regression"),
        ("extreme learning machine", "random hidden layer with ridge regression"),
        SearchSpace(
            units=Int(4, 96, log=True, description="hidden units"),
            alpha=Float(1e-6, 1e3, log=True, description="ridge"),
            gamma=Float(0.01, 5.0, log=True, description="scale of the hidden weights"),
            bias_scale=Float(0.0, 2.0, description="scale of the hidden biases"),
            activation=Categorical(["tanh", "relu", "sine"], description="activation function"),
        ),
        {"rmse": "minimize", "mae": "minimize"},
        tabular_values,
        _extreme,
    ),
    TrainingFamily(
        "exponential-smoothing",
        ("time series forecasting", "demand forecasting", "sales forecasting"),
        ("Holt-Winters exponential smoothing", "exponential smoothing"),
        SearchSpace(
            smoothing_level=Float(0.0, 1.0, description="smoothing of the level"),
            smoothing_trend=Float(0.0, 1.0, description="smoothing of the trend"),
            damping_trend=Float(0.5, 1.0, description="damping of the trend"),
            seasonal=Categorical(["none", "add"], description="kind of season"),
            smoothing_seasonal=Float(
                0.0, 1.0, when={"seasonal": ["add"]}, description="smoothing of the season"
            ),
            seasonal_periods=Ordinal(
                [4, 6, 7, 12], when={"seasonal": ["add"]}, description="steps of a season"
            ),
        ),
        {"rmse": "minimize", "mae": "minimize"},
        sales,
        _smoothing,
        {"smoothing_seasonal": 0.0, "seasonal_periods": 4},
    ),
    TrainingFamily(
        "graph-propagation",
        ("node classification", "semi-supervised learning on a graph"),
        ("personalized propagation of neural predictions", "APPNP", "graph network"),
        SearchSpace(
            learning_rate=rate(1e-4, 1e-1),
            weight_decay=decay(1e-6, 1e-1),
            width=width(4, 32),
            dropout=dropout(0.8),
            hops=Int(0, 8, description="steps of propagation"),
            teleport=Float(0.01, 0.9, description="share of a node's own prediction"),
            epochs=epochs(10, 80),
        ),
        {"accuracy": "maximize", "log_loss": "minimize"},
        graphs,
        partial(train_learner, learner=Propagation),
        {"optimizer": "adam", "batch_size": 1},
    ),
    TrainingFamily(
        "t-sne",
        ("dimensionality reduction", "visualization", "embedding into the plane"),
        ("t-SNE", "t-distributed stochastic neighbor embedding"),
        SearchSpace(
            perplexity=Float(2.0, 30.0, log=True, description="neighbours that count"),
            learning_rate=rate(0.3, 300.0),
            early_exaggeration=Float(1.0, 20.0, description="factor of the attraction at first"),
            momentum=Float(0.0, 0.95, description="momentum"),
            n_iter=Int(20, 120, log=True, description="iterations"),
        ),
        {"kl_divergence": "minimize", "neighbor_accuracy": "maximize"},
        tabular_classes,
        _neighbour_map,
    ),
    TrainingFamily(
        "simulated-annealing",
        ("traveling salesman", "combinatorial optimization", "route planning"),
        ("simulated annealing",),
        SearchSpace(
            initial_temperature=Float(1e-3, 10.0, log=True, description="first temperature"),
            final_temperature=Float(1e-5, 1.0, log=True, description="last temperature"),
            steps=Int(200, 1500, log=True, description="moves that are tried"),
            move=Categorical(["reverse", "swap", "mixed"], description="kind of move"),
            cooling=Categorical(["geometric", "linear"], description="cooling schedule"),
        ),
        {"tour_length": "minimize"},
        cities,
        _anneal,
    ),
    TrainingFamily(
        "genetic-algorithm",
        ("knapsack", "combinatorial optimization", "subset selection"),
        ("genetic algorithm", "evolutionary algorithm"),
        SearchSpace(
            population_size=Int(8, 60, log=True, description="individuals"),
            mutation_rate=Float(0.001, 0.3, log=True, description="chance of a gene to change"),
            crossover_rate=Float(0.0, 1.0, description="share of children with two parents"),
            tournament_size=Int(1, 6, description="individuals of a tournament"),
            elite_share=Float(0.0, 0.4, description="share of the best that stay"),
            crossover=Categorical(["uniform", "one_point"], description="kind of crossover"),
        ),
        {"packed_worth": "maximize"},
        knapsacks,
        _evolve,
    ),
    TrainingFamily(
        "particle-swarm",
        ("global optimization", "black-box optimization", "function minimization"),
        ("particle swarm optimization", "PSO"),
        SearchSpace(
            swarm_size=Int(4, 40, log=True, description="particles"),
            inertia=Float(0.0, 1.1, description="inertia"),
            cognitive=Float(0.0, 3.0, description="pull to a particle's own best"),
            social=Float(0.0, 3.0, description="pull to the others' best"),
            max_velocity=Float(0.05, 5.0, log=True, description="largest step"),
            topology=Categorical(["global", "ring"], description="whom a particle follows"),
        ),
        {"log_error": "minimize"},
        landscapes,
        _swarm,
    ),
)
"""Learning without networks' gradients, and heuristics."""
