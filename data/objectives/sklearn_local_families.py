"""Families of scikit-learn models that look at near examples, and deeper perceptrons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optformer.data.objectives.fitting import scaled, scaled_target
from optformer.data.objectives.sklearn_data import Kind
from optformer.data.objectives.sklearn_family import Family, input_transform
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Value
from optformer.data.studies.spaces import SearchSpace

_SCALER = Categorical(["standard", "quantile", "none"], description="scaling of the inputs")

_RADIUS_NEIGHBORS = SearchSpace(
    radius=Float(0.05, 2e1, log=True, description="radius that counts as near"),
    weights=Categorical(["uniform", "distance"], description="weight of a neighbour"),
    p=Float(1.0, 6.0, description="exponent of the distance"),
    reduction=Categorical(["components", "none"], description="reduction of the inputs"),
    share=Float(
        0.1, 0.999, when={"reduction": ["components"]}, description="share of variance kept"
    ),
    whiten=Categorical(
        [False, True], when={"reduction": ["components"]}, description="scale the components"
    ),
    scaler=_SCALER,
)


def _build_radius_neighbors(kind: Kind, params: Mapping[str, Value]) -> Any:
    from sklearn.neighbors import RadiusNeighborsClassifier
    from sklearn.pipeline import make_pipeline

    settings = {key: params[key] for key in ("radius", "weights", "p")}
    model = RadiusNeighborsClassifier(outlier_label="most_frequent", **settings)
    return make_pipeline(input_transform(params["scaler"]), _reduction(params), model)


_COMPONENT_NEIGHBORS = SearchSpace(
    n_neighbors=Int(1, 60, log=True, description="number of neighbours"),
    weights=Categorical(["uniform", "distance"], description="weight of a neighbour"),
    p=Float(1.0, 6.0, description="exponent of the distance"),
    reduction=Categorical(
        ["components", "selection", "none"], description="reduction of the inputs"
    ),
    share=Float(
        0.1, 0.999, when={"reduction": ["components"]}, description="share of variance kept"
    ),
    whiten=Categorical(
        [False, True], when={"reduction": ["components"]}, description="scale the components"
    ),
    percentile=Float(
        5.0,
        100.0,
        when={"reduction": ["selection"]},
        description="percentage of features kept by their F-score",
    ),
    scaler=_SCALER,
)


def _build_component_neighbors(kind: Kind, params: Mapping[str, Value]) -> Any:
    from sklearn.feature_selection import SelectPercentile, f_classif, f_regression
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
    from sklearn.pipeline import make_pipeline

    if params["reduction"] == "selection":
        score = f_classif if kind == "classification" else f_regression
        reduction = SelectPercentile(score, percentile=params["percentile"])
    else:
        reduction = _reduction(params)
    model = (KNeighborsClassifier if kind == "classification" else KNeighborsRegressor)(
        params["n_neighbors"], weights=params["weights"], p=params["p"]
    )
    return make_pipeline(input_transform(params["scaler"]), reduction, model)


def _reduction(params: Mapping[str, Value]) -> Any:
    from sklearn.decomposition import PCA

    if params["reduction"] == "none":
        return "passthrough"
    return PCA(params["share"], whiten=params["whiten"], svd_solver="full")


_LABEL_SPREADING = SearchSpace(
    kernel=Categorical(["rbf", "knn"], description="which examples are near"),
    gamma=Float(1e-3, 1e3, log=True, when={"kernel": ["rbf"]}, description="kernel coefficient"),
    n_neighbors=Int(1, 60, log=True, when={"kernel": ["knn"]}, description="number of neighbours"),
    alpha=Float(0.01, 0.99, description="share of a label that neighbours decide"),
    max_iter=Int(1, 60, log=True, description="rounds of spreading"),
    scaler=_SCALER,
)


def _build_label_spreading(kind: Kind, params: Mapping[str, Value]) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.semi_supervised import LabelSpreading

    settings = dict(params)
    scaler = input_transform(settings.pop("scaler"))
    return make_pipeline(scaler, LabelSpreading(**settings))


_DEEP_PERCEPTRON = SearchSpace(
    solver=Categorical(["sgd", "adam"], description="optimizer of the weights"),
    momentum=Float(0.0, 0.99, when={"solver": ["sgd"]}, description="momentum of the gradient"),
    learning_rate_init=Float(1e-4, 1e0, log=True, description="initial learning rate"),
    batch_size=Ordinal([8, 16, 32, 64], description="mini-batch size"),
    first_units=Int(4, 64, log=True, description="width of the first hidden layer"),
    second_units=Int(4, 64, log=True, description="width of the second hidden layer"),
    activation=Categorical(["relu", "tanh"], description="activation function"),
    alpha=Float(1e-5, 1e1, log=True, description="L2 regularization"),
    max_iter=Int(4, 24, log=True, description="epochs"),
)


def _build_deep_perceptron(kind: Kind, params: Mapping[str, Value]) -> Any:
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    settings = dict(params)
    settings["hidden_layer_sizes"] = (settings.pop("first_units"), settings.pop("second_units"))
    if kind == "classification":
        return scaled(MLPClassifier(random_state=0, **settings))
    return scaled_target(scaled(MLPRegressor(random_state=0, **settings)))


LOCAL_FAMILIES: dict[str, Family] = {
    "radius-neighbors": Family(
        model="neighbours within a radius",
        spaces={"classification": _RADIUS_NEIGHBORS},
        build=_build_radius_neighbors,
    ),
    "component-neighbors": Family(
        model="k nearest neighbours on reduced inputs",
        spaces={"classification": _COMPONENT_NEIGHBORS, "regression": _COMPONENT_NEIGHBORS},
        build=_build_component_neighbors,
    ),
    "label-spreading": Family(
        model="label spreading",
        spaces={"classification": _LABEL_SPREADING},
        build=_build_label_spreading,
    ),
    "deep-perceptron": Family(
        model="multilayer perceptron, two hidden layers",
        spaces={"classification": _DEEP_PERCEPTRON, "regression": _DEEP_PERCEPTRON},
        build=_build_deep_perceptron,
    ),
}
"""The families by name."""
