"""Families of small networks: repeatable, isolated, and worth tuning."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Mapping
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch.nn import functional

from optformer.data.objectives.network_families import NETWORK_FAMILIES
from optformer.data.objectives.network_model import (
    NetworkClassifier,
    NetworkRegressor,
    Perceptron,
    ResidualNetwork,
    Training,
    _Descent,
)
from optformer.data.objectives.sklearn_families import FAMILIES, find_pair, sklearn_objective
from optformer.data.studies.errors import ObjectiveError
from optformer.data.studies.parameters import Value

DATA = ("classification-0", "regression-1")
SANE: Mapping[str, Mapping[str, Value]] = {
    "funnel-network": {
        "batch_size": 16,
        "learning_rate": 0.05,
        "momentum": 0.9,
        "weight_decay": 1e-3,
        "num_layers": 2,
        "max_units": 64,
        "max_dropout": 0.1,
    },
    "adaptive-network": {
        "optimizer": "adamw",
        "learning_rate": 5e-3,
        "weight_decay": 1e-2,
        "layers": 2,
        "units": 64,
        "activation": "relu",
        "normalization": "layer",
        "dropout": 0.1,
        "batch_size": 16,
    },
    "residual-network": {
        "learning_rate": 5e-3,
        "warmup": 0.1,
        "weight_decay": 1e-2,
        "clip_norm": 1.0,
        "blocks": 2,
        "width": 64,
        "multiplier": 2.0,
        "dropout": 0.1,
    },
    "small-network": {
        "learning_rate": 1e-2,
        "weight_decay": 1e-4,
        "hidden_units": 64,
        "epochs": 30,
    },
}
LOSS = {"classification": {"label_smoothing": 0.05}, "regression": {"huber_delta": 1.0}}


def sane(family: str, data: str) -> dict[str, Value]:
    extra = LOSS[data.partition("-")[0]] if family == "residual-network" else {}
    return {**SANE[family], **extra}


def test_families__of_networks__are_registered_for_both_kinds() -> None:
    names = ["funnel-network", "adaptive-network", "residual-network", "small-network"]
    assert list(NETWORK_FAMILIES) == names
    for name in names:
        assert FAMILIES[name] is NETWORK_FAMILIES[name]
        for data in DATA:
            assert find_pair(f"{name}-{data}") == (name, data)


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("family", NETWORK_FAMILIES)
def test_objective__random_points__are_finite_and_repeat_exactly(family: str, data: str) -> None:
    objective = sklearn_objective(f"{family}-{data}")
    rng = np.random.default_rng(1)
    points = [objective.config.space.sample(rng) for _ in range(4)]

    def values() -> list[float | None]:
        found: list[float | None] = []
        for point in points:
            try:
                found.append(objective(point))
            except ObjectiveError:  # a diverged fit is a result
                found.append(None)
        return found

    first = values()
    assert first == values()
    finite = [value for value in first if value is not None]
    assert len(finite) >= 2
    assert np.isfinite(finite).all()


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("family", NETWORK_FAMILIES)
def test_objective__sane_setting__beats_the_lowest_learning_rate(family: str, data: str) -> None:
    objective = sklearn_objective(f"{family}-{data}")
    point = sane(family, data)
    lowest = objective.config.space["learning_rate"].from_unit(0.0)
    metrics = [objective(point), objective({**point, "learning_rate": lowest})]
    best = max(metrics) if objective.config.goal == "maximize" else min(metrics)
    assert metrics[0] == best != metrics[1]


def test_objective__every_unit_dropped__is_a_result() -> None:
    params = {**SANE["funnel-network"], "max_dropout": 1.0}
    assert math.isfinite(sklearn_objective("funnel-network-regression-1")(params))


def test_objective__training_diverges__is_a_failed_trial() -> None:
    params: dict[str, Value] = {
        **SANE["adaptive-network"],
        "optimizer": "sgd",
        "learning_rate": 1.0,
        "momentum": 0.99,
        "normalization": "none",
    }
    with pytest.raises(ObjectiveError, match="training failed: a weight of the network"):
        sklearn_objective("adaptive-network-regression-1")(params)


def test_fit__whatever_the_threads__leaves_them_and_the_random_state_of_torch() -> None:
    before, state = torch.get_num_threads(), torch.random.get_rng_state()
    rng = np.random.default_rng(0)
    inputs, targets = rng.normal(size=(40, 3)), rng.normal(size=40)
    architecture = partial(Perceptron, layers=2, units=8, dropout=0.5)
    try:
        torch.set_num_threads(2)
        model = NetworkRegressor(architecture, Training("sgd", 0.1, epochs=3))
        model.fit(inputs, targets).predict(inputs)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("normalization", ["none", "batch", "layer"])
def test_classifier__labels_of_any_kind__are_learned(normalization: str) -> None:
    inputs = np.random.default_rng(0).normal(size=(120, 2))
    labels = np.array(["low", "middle", "high"])[np.digitize(inputs[:, 0], [-0.5, 0.5])]
    architecture = partial(Perceptron, layers=2, units=32, normalization=normalization)
    model = clone(NetworkClassifier(architecture, Training("adam", 0.01, epochs=40)))
    model.fit(inputs, labels)
    assert list(model.classes_) == ["high", "low", "middle"]
    assert np.mean(model.predict(inputs) == labels) > 0.9
    probabilities = model.predict_proba(inputs)
    assert probabilities.shape == (120, 3)
    assert probabilities.sum(1) == pytest.approx(np.ones(120))
    # One example at a time: no statistics of the others are used.
    assert model.predict_proba(inputs[:1]) == pytest.approx(probabilities[:1], abs=1e-5)


def test_networks__shapes__funnel_and_blocks() -> None:
    funnel = Perceptron(5, 4, layers=3, units=16, funnel=True)
    assert funnel.shapes[::2] == [(5, 16), (16, 12), (12, 8), (8, 4)]
    residual = ResidualNetwork(5, 4, blocks=2, width=8, multiplier=1.5, dropout=0.0)
    assert residual.shapes[::2] == [(5, 8), (8, 12), (12, 8), (8, 12), (12, 8), (8, 4)]


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "rmsprop"])
def test_descent__each_optimizer__is_that_of_torch(name: str) -> None:
    start, target = torch.linspace(-1, 1, 6), torch.linspace(2, 0, 6)
    momentum = {"momentum": 0.8} if name in ("sgd", "rmsprop") else {}
    training = Training(name, 0.05, epochs=1, weight_decay=0.1, **momentum)
    kinds = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop"}
    ours, theirs = start.clone(), start.clone().requires_grad_()
    descent = _Descent(ours, training)
    optimizer = getattr(torch.optim, kinds[name])([theirs], lr=0.05, weight_decay=0.1, **momentum)
    for _ in range(5):
        descent.step(ours - target, 0.05)
        optimizer.zero_grad()
        (functional.mse_loss(theirs, target, reduction="sum") / 2).backward()
        optimizer.step()
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-4, atol=1e-4)


def test_descent__long_gradient__is_clipped() -> None:
    weights = torch.zeros(2)
    _Descent(weights, Training("sgd", 1.0, epochs=1, clip_norm=1.0)).step(
        torch.tensor([3.0, 4.0]), 1.0
    )
    torch.testing.assert_close(weights, torch.tensor([-0.6, -0.8]))


def test_rate__warm_up_and_cosine__rises_then_falls() -> None:
    training = Training("adamw", 0.1, epochs=1, warmup=0.2, cosine=True)
    rates = [training.rate(progress) for progress in (0.0, 0.1, 0.2, 0.6, 1.0)]
    assert rates == pytest.approx([0.0, 0.05, 0.1, 0.05, 0.0])


def test_families__imported__load_torch_only_when_built() -> None:
    code = (
        "import sys\n"
        "from optformer.data.objectives.sklearn_families import FAMILIES, sklearn_objective\n"
        "sklearn_objective('small-network-classification-0')\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
