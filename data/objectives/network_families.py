"""Families of small networks: the hyperparameters that are tuned most, under their usual names."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from optformer.data.objectives.fitting import scaled, scaled_target
from optformer.data.objectives.sklearn_data import Kind
from optformer.data.objectives.sklearn_family import Family
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Parameter, Value
from optformer.data.studies.spaces import SearchSpace

if TYPE_CHECKING:
    from optformer.data.objectives.network_model import Architecture, Training

_FUNNEL_NETWORK = SearchSpace(
    batch_size=Int(16, 512, log=True, description="mini-batch size"),
    learning_rate=Float(1e-4, 1e-1, log=True, description="initial learning rate"),
    momentum=Float(0.1, 0.99, description="momentum of the gradient"),
    weight_decay=Float(1e-5, 1e-1, description="L2 regularization"),
    num_layers=Int(1, 5, description="number of hidden layers"),
    max_units=Int(16, 256, log=True, description="width of the first hidden layer"),
    max_dropout=Float(0.0, 1.0, description="share of the first layer's units dropped"),
)


def _build_funnel_network(kind: Kind, params: Mapping[str, Value]) -> Any:
    from optformer.data.objectives.network_model import Perceptron, Training

    architecture = partial(
        Perceptron,
        layers=params["num_layers"],
        units=params["max_units"],
        dropout=params["max_dropout"],
        funnel=True,
    )
    settings = {
        key: params[key] for key in ("batch_size", "learning_rate", "momentum", "weight_decay")
    }
    return _model(kind, architecture, Training("sgd", epochs=20, cosine=True, **settings))


_ADAPTIVE_NETWORK = SearchSpace(
    optimizer=Categorical(["sgd", "adam", "adamw", "rmsprop"], description="optimizer"),
    learning_rate=Float(1e-5, 1e0, log=True, description="learning rate"),
    momentum=Float(
        0.0, 0.99, when={"optimizer": ["sgd", "rmsprop"]}, description="momentum of the gradient"
    ),
    weight_decay=Float(
        1e-6, 1e0, log=True, when={"optimizer": ["sgd", "adamw"]}, description="weight decay"
    ),
    layers=Int(1, 4, description="number of hidden layers"),
    units=Int(8, 128, log=True, description="width of the hidden layers"),
    activation=Categorical(["relu", "tanh", "gelu"], description="activation function"),
    normalization=Categorical(
        ["none", "batch", "layer"], description="normalization before the activation"
    ),
    dropout=Float(0.0, 0.8, description="share of hidden units dropped"),
    batch_size=Ordinal([16, 32, 64, 128], description="mini-batch size"),
)


def _build_adaptive_network(kind: Kind, params: Mapping[str, Value]) -> Any:
    from optformer.data.objectives.network_model import Perceptron, Training

    settings = dict(params)
    shape = ("layers", "units", "activation", "normalization", "dropout")
    architecture = partial(Perceptron, **{key: settings.pop(key) for key in shape})
    return _model(kind, architecture, Training(epochs=12, **settings))


_RESIDUAL_SHARED: dict[str, Parameter] = {
    "learning_rate": Float(1e-5, 1e-1, log=True, description="highest learning rate"),
    "warmup": Float(0.0, 0.5, description="share of the steps that warm up"),
    "weight_decay": Float(1e-5, 1e1, log=True, description="weight decay"),
    "clip_norm": Float(1e-2, 1e1, log=True, description="longest gradient"),
    "blocks": Int(1, 3, description="number of residual blocks"),
    "width": Int(8, 128, log=True, description="width between the blocks"),
    "multiplier": Float(0.5, 3.0, description="hidden width of a block over its width"),
    "dropout": Float(0.0, 0.7, description="share of hidden units dropped"),
}
_RESIDUAL_CLASSIFIER = SearchSpace(
    **_RESIDUAL_SHARED,
    label_smoothing=Float(0.0, 0.5, description="share of a label spread over the classes"),
)
_RESIDUAL_REGRESSOR = SearchSpace(
    **_RESIDUAL_SHARED,
    huber_delta=Float(0.03, 3.0, log=True, description="error from which the loss is linear"),
)


def _build_residual_network(kind: Kind, params: Mapping[str, Value]) -> Any:
    from optformer.data.objectives.network_model import ResidualNetwork, Training

    settings = dict(params)
    shape = ("blocks", "width", "multiplier", "dropout")
    architecture = partial(ResidualNetwork, **{key: settings.pop(key) for key in shape})
    return _model(
        kind, architecture, Training("adamw", epochs=12, batch_size=48, cosine=True, **settings)
    )


_SMALL_NETWORK = SearchSpace(
    learning_rate=Float(1e-5, 1e0, log=True, description="learning rate"),
    weight_decay=Float(1e-6, 1e0, log=True, description="L2 regularization"),
    hidden_units=Int(4, 256, log=True, description="width of the hidden layer"),
    epochs=Int(2, 60, log=True, description="passes over the examples"),
)


def _build_small_network(kind: Kind, params: Mapping[str, Value]) -> Any:
    from optformer.data.objectives.network_model import Perceptron, Training

    settings = dict(params)
    architecture = partial(Perceptron, layers=1, units=settings.pop("hidden_units"))
    return _model(kind, architecture, Training("adam", **settings))


def _model(kind: Kind, architecture: Architecture, training: Training) -> Any:
    from optformer.data.objectives.network_model import NetworkClassifier, NetworkRegressor

    if kind == "classification":
        return scaled(NetworkClassifier(architecture, training))
    return scaled_target(scaled(NetworkRegressor(architecture, training)))


NETWORK_FAMILIES: dict[str, Family] = {
    "funnel-network": Family(
        model="funnel-shaped network, SGD, cosine annealing",
        spaces={"classification": _FUNNEL_NETWORK, "regression": _FUNNEL_NETWORK},
        build=_build_funnel_network,
    ),
    "adaptive-network": Family(
        model="neural network, choice of optimizer and normalization",
        spaces={"classification": _ADAPTIVE_NETWORK, "regression": _ADAPTIVE_NETWORK},
        build=_build_adaptive_network,
    ),
    "residual-network": Family(
        model="residual network, AdamW, warm-up and cosine annealing",
        spaces={"classification": _RESIDUAL_CLASSIFIER, "regression": _RESIDUAL_REGRESSOR},
        build=_build_residual_network,
    ),
    "small-network": Family(
        model="neural network, one hidden layer, Adam",
        spaces={"classification": _SMALL_NETWORK, "regression": _SMALL_NETWORK},
        build=_build_small_network,
    ),
}
"""The families by name."""
