"""A neural network on handwritten digits: a tuning job of the size of a coffee break."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from optformer.data.objectives.base import Objective
from optformer.data.objectives.fitting import Array, Split, accuracy, mean_score
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig

_TRAIN, _VALIDATION = 900, 400  # the other 497 of the 1,797 images are the test part
_EPOCHS = 30


def digits_objective() -> Objective:
    """Tune a multilayer perceptron on scikit-learn's digits by its validation accuracy.

    900 images train, 400 validate; the rest is for `final_test_accuracy` alone. An evaluation takes
    about half a second on one core.
    """
    space = SearchSpace(
        learning_rate_init=Float(1e-5, 1e0, log=True, description="initial learning rate"),
        solver=Categorical(["sgd", "adam"], description="optimizer of the weights"),
        momentum=Float(0.0, 0.99, when={"solver": ["sgd"]}, description="momentum of the gradient"),
        beta_1=Float(
            0.5, 0.999, when={"solver": ["adam"]}, description="decay of the first moment"
        ),
        hidden_layers=Int(1, 3, description="number of hidden layers"),
        hidden_units=Int(8, 192, log=True, description="width of each hidden layer"),
        activation=Categorical(["relu", "tanh", "logistic"], description="activation function"),
        alpha=Float(1e-6, 1e1, log=True, description="L2 regularization"),
        batch_size=Ordinal([16, 32, 64, 128, 256], description="mini-batch size"),
    )
    metadata = {
        "task": "image classification",
        "dataset": "digits",
        "dataset size": f"{_TRAIN} training examples, 64 features, 10 classes",
        "model": f"multilayer perceptron, {_EPOCHS} epochs",
    }
    config = StudyConfig(space, "accuracy", "maximize", metadata)
    return Objective("digits", config, _validation_accuracy, reserved=True)


def final_test_accuracy(params: Mapping[str, Value]) -> float:
    """Train on training and validation images together and score the test images.

    Args:
        params: A legal point of the space of `digits_objective`, usually the best trial's.

    Returns:
        Share of right classes among the 497 test images, in [0, 1].

    Raises:
        SearchSpaceError: The point is not legal.
        ObjectiveError: Training diverged.
    """
    valid = digits_objective().config.space.validate(params)
    return mean_score(lambda: _model(valid), (_split(_TRAIN + _VALIDATION, None),), accuracy)


def _validation_accuracy(params: Mapping[str, Value]) -> float:
    split = _split(_TRAIN, _TRAIN + _VALIDATION)
    return mean_score(lambda: _model(params), (split,), accuracy)


def _model(params: Mapping[str, Value]) -> Any:
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    settings = dict(params)
    layers = (settings.pop("hidden_units"),) * settings.pop("hidden_layers")
    network = MLPClassifier(layers, max_iter=_EPOCHS, random_state=0, **settings)
    return make_pipeline(StandardScaler(), network)


def _split(train: int, end: int | None) -> Split:
    """The first `train` images in a fixed random order, tested on those up to `end`."""
    inputs, targets = _shuffled()
    return Split(inputs[:train], targets[:train], inputs[train:end], targets[train:end])


@cache
def _shuffled() -> tuple[Array, Array]:
    from sklearn.datasets import load_digits

    inputs, targets = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(targets))
    return inputs[order], targets[order]
