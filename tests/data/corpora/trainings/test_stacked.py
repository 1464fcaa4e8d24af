"""Many trainings at once are the trainings one would do one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from optformer.data.corpora.trainings.columns import Columns
from optformer.data.corpora.trainings.examples import Examples, tabular_classes
from optformer.data.corpora.trainings.networks import Perceptron
from optformer.data.corpora.trainings.optimizers import RULES, Descent
from optformer.data.corpora.trainings.registry import FAMILIES
from optformer.data.corpora.trainings.schedules import SCHEDULES, learning_rates
from optformer.data.corpora.trainings.stacked import train_stacked, train_weights
from optformer.data.corpora.trainings.supervised import Classifier
from optformer.data.studies.parameters import Float, Int
from optformer.data.studies.spaces import SearchSpace

SPACE = SearchSpace(learning_rate=Float(1e-4, 1.0, log=True), width=Int(2, 12), layers=Int(1, 3))
POINTS = [
    {"learning_rate": 0.3, "width": 4, "layers": 1},
    {"learning_rate": 0.1, "width": 12, "layers": 3},
    {"learning_rate": 0.02, "width": 7, "layers": 2},
]
FIXED = {"optimizer": "nesterov", "weight_decay": 1e-2, "clip_norm": 1.0, "epochs": 3}


def data() -> Examples:
    return tabular_classes(3)


def plain_training(examples: Examples, point: dict[str, Any]) -> list[torch.Tensor]:
    """Weights of one network that PyTorch's own layers and optimizer train, from the same start.

    The smaller network is the corner of the largest one that all share.
    """
    columns = Columns(SPACE, [point], {**FIXED, "multiplier": 1.0})
    learner = Classifier(columns, examples, Perceptron)
    draws = torch.Generator().manual_seed(2 * 5)
    first = [part[0] for part in learner.layout.views(learner.layout.draw(draws))]
    width, hidden = point["width"], point["layers"]
    layers: list[nn.Module] = []
    sizes = [examples.shape[0], *[width] * hidden, examples.outputs]
    for depth in range(hidden + 1):
        linear = nn.Linear(sizes[depth], sizes[depth + 1])
        matrix, bias = first[-2:] if depth == hidden else first[2 * depth : 2 * depth + 2]
        with torch.no_grad():
            linear.weight.copy_(matrix[: sizes[depth], : sizes[depth + 1]].T)
            linear.bias.copy_(bias[0, : sizes[depth + 1]])
        layers += [linear, nn.ReLU()]
    network = nn.Sequential(*layers[:-1])
    optimizer = torch.optim.SGD(
        network.parameters(), point["learning_rate"], 0.9, weight_decay=1e-2, nesterov=True
    )
    batch = 32
    for _ in range(3):
        order = torch.randperm(len(examples.inputs), generator=draws)
        for start in range(0, len(order) - batch + 1, batch):
            rows = order[start : start + batch]
            optimizer.zero_grad()
            loss = functional.cross_entropy(network(examples.inputs[rows]), examples.targets[rows])
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
    return [parameter.detach() for parameter in network.parameters()]


def test_train_weights__three_networks_at_once__are_those_of_plain_loops() -> None:
    examples = data()
    columns = Columns(SPACE, POINTS, {**FIXED, "multiplier": 1.0})
    learner = Classifier(columns, examples, Perceptron)
    stacked = learner.layout.views(train_weights(learner, columns, 5))
    for number, point in enumerate(POINTS):
        hidden = point["layers"]
        own = [part[number] for part in stacked]
        for depth, matrix in enumerate(plain_training(examples, point)[::2]):
            found = own[-2] if depth == hidden else own[2 * depth]
            corner = found[: matrix.shape[1], : matrix.shape[0]]
            assert torch.allclose(corner.T, matrix, atol=2e-4), (number, depth)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("sgd", lambda w: torch.optim.SGD([w], 0.05, weight_decay=0.1)),
        ("momentum", lambda w: torch.optim.SGD([w], 0.05, 0.8, weight_decay=0.1)),
        ("nesterov", lambda w: torch.optim.SGD([w], 0.05, 0.8, weight_decay=0.1, nesterov=True)),
        ("adam", lambda w: torch.optim.Adam([w], 0.05, (0.8, 0.95), 1e-6, 0.1)),
        ("adamw", lambda w: torch.optim.AdamW([w], 0.05, (0.8, 0.95), 1e-6, 0.1)),
        ("rmsprop", lambda w: torch.optim.RMSprop([w], 0.05, 0.99, 1e-6, 0.1, momentum=0.8)),
        ("adagrad", lambda w: torch.optim.Adagrad([w], 0.05, weight_decay=0.1, eps=1e-6)),
    ],
)
def test_descent__every_optimizer__moves_as_that_of_torch(name: str, plain: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    start, pull = torch.randn(2, 6, generator=generator)
    settings = {"momentum": 0.8, "beta2": 0.95, "epsilon": 1e-6, "weight_decay": 0.1}
    stacked = start.expand(2, -1).clone()
    other = {"sgd": "adam", "lion": "adam"}.get(name, "sgd")
    space = SearchSpace(learning_rate=Float(1e-4, 1.0))
    points = [{"optimizer": name}, {"optimizer": other}]
    descent = Descent(stacked, Columns(space, points, settings))
    weights = nn.Parameter(start.clone())
    optimizer = plain(weights)
    for _ in range(5):
        weights.grad = (weights.detach() - pull).sign() * (weights.detach() - pull).square()
        optimizer.step()
        away = stacked - pull
        descent.step(away.sign() * away.square(), torch.tensor([0.05, 0.0]))
    assert torch.allclose(stacked[0], weights, atol=1e-5)
    assert torch.equal(stacked[1], start)  # a rate of 0 leaves a network as it is


def test_rules__lion__moves_every_weight_by_the_learning_rate() -> None:
    weights = torch.zeros(1, 3)
    columns = Columns(SPACE, [{"optimizer": "lion"}])
    Descent(weights, columns).step(torch.tensor([[3.0, -0.1, 0.0]]), torch.tensor([0.01]))
    assert weights.tolist()[0] == pytest.approx([-0.01, 0.01, 0.0])
    assert "lion" in RULES


def test_train_stacked__a_configuration__does_not_depend_on_the_others() -> None:
    family = FAMILIES["residual-adamw"]
    examples = family.data(1)
    rng = np.random.default_rng(0)
    points = [family.space.sample(rng) for _ in range(6)]
    together = family.run(Columns(family.space, points, family.fixed), examples, 4)
    alone = family.run(Columns(family.space, points[2:3], family.fixed), examples, 4)
    assert float(together["log_loss"][2]) == pytest.approx(float(alone["log_loss"][0]), rel=1e-3)


def test_train_stacked__a_rate_that_explodes__counts_as_the_worst_loss() -> None:
    examples = data()
    points = [{"learning_rate": rate, "width": 8, "layers": 2} for rate in (1e30, 0.1)]
    columns = Columns(SPACE, points, {"optimizer": "momentum", "epochs": 4, "multiplier": 1.0})
    found = train_stacked(lambda part: Classifier(part, examples, Perceptron), columns, 0)
    assert found["log_loss"].isfinite().all()
    assert found["log_loss"][0] > 3 * found["log_loss"][1]
    assert found["accuracy"][1] > 1 / examples.outputs


@pytest.mark.parametrize("name", SCHEDULES)
def test_learning_rates__every_schedule__stays_below_its_peak_and_ends(name: str) -> None:
    points = [{"learning_rate": 0.1, "schedule": name, "warmup": share} for share in (0.0, 0.5)]
    columns = Columns(SPACE, points)
    rates = learning_rates(columns, torch.tensor([20.0, 10.0]))
    assert rates.shape == (20, 2)
    assert float(rates.min()) >= 0
    assert float(rates.max()) <= 0.1 + 1e-7
    assert float(rates[:, 0].max()) > 0.09
    assert bool((rates[10:, 1] == 0).all())
    assert rates[0, 1] < rates[0, 0]  # it warms up
