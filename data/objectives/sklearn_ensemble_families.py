"""Families of scikit-learn ensembles: boosting, bagging and voting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optformer.data.objectives.fitting import scaled_target
from optformer.data.objectives.sklearn_data import Kind
from optformer.data.objectives.sklearn_family import Family, input_transform
from optformer.data.studies.parameters import Categorical, Float, Int, Value
from optformer.data.studies.spaces import SearchSpace

_GRADIENT_BOOSTING = SearchSpace(
    learning_rate=Float(1e-3, 3.0, log=True, description="shrinkage of each tree"),
    n_estimators=Int(2, 24, log=True, description="number of boosting rounds"),
    max_depth=Int(1, 8, description="maximum depth of a tree"),
    min_samples_leaf=Int(1, 50, log=True, description="fewest examples in a leaf"),
    subsample=Float(0.1, 1.0, description="share of examples for each tree"),
    max_features=Float(0.05, 1.0, description="share of features tried at a split"),
)
_GRADIENT_BOOSTING_LOSSES = SearchSpace(
    {
        "loss": Categorical(["squared_error", "absolute_error", "huber"], description="loss"),
        "alpha": Float(
            0.5, 0.99, when={"loss": ["huber"]}, description="quantile where the loss turns linear"
        ),
        **_GRADIENT_BOOSTING,
    }
)


def _build_gradient_boosting(kind: Kind, params: Mapping[str, Value]) -> Any:
    from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

    if kind == "classification":
        return GradientBoostingClassifier(random_state=0, **params)
    return scaled_target(GradientBoostingRegressor(random_state=0, **params))


_ADABOOST = SearchSpace(
    n_estimators=Int(1, 16, log=True, description="number of boosting rounds"),
    learning_rate=Float(1e-3, 1e1, log=True, description="weight of each round"),
    max_depth=Int(1, 8, description="maximum depth of a tree"),
    min_samples_leaf=Int(1, 50, log=True, description="fewest examples in a leaf"),
    max_features=Float(0.1, 1.0, description="share of features tried at a split"),
)
_ADABOOST_LOSSES = SearchSpace(
    {
        **_ADABOOST,
        "loss": Categorical(["linear", "square", "exponential"], description="loss of an example"),
    }
)


def _build_adaboost(kind: Kind, params: Mapping[str, Value]) -> Any:
    from sklearn.ensemble import AdaBoostClassifier, AdaBoostRegressor
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    settings = dict(params)
    tree = {key: settings.pop(key) for key in ("max_depth", "min_samples_leaf", "max_features")}
    if kind == "classification":
        return AdaBoostClassifier(DecisionTreeClassifier(**tree), random_state=0, **settings)
    return AdaBoostRegressor(DecisionTreeRegressor(**tree), random_state=0, **settings)


_BAGGING = SearchSpace(
    base=Categorical(["tree", "neighbours", "linear"], description="model that is repeated"),
    max_depth=Int(1, 12, when={"base": ["tree"]}, description="maximum depth of a tree"),
    n_neighbors=Int(
        1, 30, log=True, when={"base": ["neighbours"]}, description="number of neighbours"
    ),
    penalty=Float(1e-4, 1e4, log=True, when={"base": ["linear"]}, description="L2 regularization"),
    n_estimators=Int(1, 12, log=True, description="number of repetitions"),
    max_samples=Float(0.05, 1.0, description="share of examples for each repetition"),
    max_features=Float(0.1, 1.0, description="share of features for each repetition"),
    bootstrap=Categorical([True, False], description="draw examples with replacement"),
)


def _build_bagging(kind: Kind, params: Mapping[str, Value]) -> Any:
    from sklearn.ensemble import BaggingClassifier, BaggingRegressor
    from sklearn.pipeline import make_pipeline

    settings = dict(params)
    name = settings.pop("base")
    if name == "tree":
        base = tree(kind, settings.pop("max_depth"))
    elif name == "neighbours":
        base = neighbors(kind, settings.pop("n_neighbors"))
    else:
        base = linear(kind, settings.pop("penalty"))
    model = BaggingClassifier if kind == "classification" else BaggingRegressor
    bagging = make_pipeline(input_transform("standard"), model(base, random_state=0, **settings))
    return bagging if kind == "classification" else scaled_target(bagging)


_VOTING = SearchSpace(
    tree_weight=Float(0.0, 1.0, description="weight of the decision tree"),
    neighbours_weight=Float(0.0, 1.0, description="weight of the nearest neighbours"),
    linear_weight=Float(0.01, 1.0, description="weight of the linear model"),
    max_depth=Int(1, 14, description="maximum depth of the tree"),
    n_neighbors=Int(1, 60, log=True, description="number of neighbours"),
    penalty=Float(1e-4, 1e4, log=True, description="L2 regularization of the linear model"),
    scaler=Categorical(["standard", "quantile", "none"], description="scaling of the inputs"),
)


def _build_voting(kind: Kind, params: Mapping[str, Value]) -> Any:
    from sklearn.ensemble import VotingClassifier, VotingRegressor
    from sklearn.pipeline import make_pipeline

    models = [
        ("tree", tree(kind, params["max_depth"])),
        ("neighbours", neighbors(kind, params["n_neighbors"])),
        ("linear", linear(kind, params["penalty"])),
    ]
    weights = [params[f"{name}_weight"] for name, _ in models]
    if kind == "classification":
        voting = VotingClassifier(models, voting="soft", weights=weights)
        return make_pipeline(input_transform(params["scaler"]), voting)
    voting = VotingRegressor(models, weights=weights)
    return scaled_target(make_pipeline(input_transform(params["scaler"]), voting))


def tree(kind: Kind, max_depth: int) -> Any:
    """A decision tree."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    model = DecisionTreeClassifier if kind == "classification" else DecisionTreeRegressor
    return model(max_depth=max_depth, random_state=0)


def neighbors(kind: Kind, count: int) -> Any:
    """The vote of the nearest neighbours."""
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

    return (KNeighborsClassifier if kind == "classification" else KNeighborsRegressor)(count)


def linear(kind: Kind, penalty: float) -> Any:
    """Logistic or ridge regression."""
    from sklearn.linear_model import LogisticRegression, Ridge

    return (
        LogisticRegression(C=1 / penalty, max_iter=50)
        if kind == "classification"
        else Ridge(penalty)
    )


ENSEMBLE_FAMILIES: dict[str, Family] = {
    "gradient-boosting": Family(
        model="gradient boosted trees",
        spaces={
            "classification": _GRADIENT_BOOSTING,
            "regression": _GRADIENT_BOOSTING_LOSSES,
        },
        build=_build_gradient_boosting,
    ),
    "adaboost": Family(
        model="AdaBoost of decision trees",
        spaces={"classification": _ADABOOST, "regression": _ADABOOST_LOSSES},
        build=_build_adaboost,
    ),
    "bagging": Family(
        model="bagging ensemble",
        spaces={"classification": _BAGGING, "regression": _BAGGING},
        build=_build_bagging,
    ),
    "voting": Family(
        model="weighted vote of tree, neighbours and linear model",
        spaces={"classification": _VOTING, "regression": _VOTING},
        build=_build_voting,
    ),
}
"""The families by name."""
