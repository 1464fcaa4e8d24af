"""Families of scikit-learn models that are linear in fixed features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optformer.data.objectives.fitting import scaled_target
from optformer.data.objectives.sklearn_data import Kind
from optformer.data.objectives.sklearn_family import Family, input_transform
from optformer.data.studies.parameters import Categorical, Float, Int, Value
from optformer.data.studies.spaces import SearchSpace

_SCALER = Categorical(["standard", "quantile", "none"], description="scaling of the inputs")

_LOGISTIC_REGRESSION = SearchSpace(
    C=Float(1e-5, 1e5, log=True, description="inverse regularization strength"),
    features=Categorical(
        ["plain", "interactions", "polynomial"], description="terms made of the inputs"
    ),
    scaler=_SCALER,
    class_weight=Categorical(["none", "balanced"], description="weight of a class"),
    max_iter=Int(2, 100, log=True, description="steps of lbfgs"),
    tol=Float(1e-6, 1e0, log=True, description="tolerance of the stopping criterion"),
)


def _build_logistic_regression(kind: Kind, params: Mapping[str, Value]) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = LogisticRegression(
        C=params["C"],
        class_weight=None if params["class_weight"] == "none" else "balanced",
        max_iter=params["max_iter"],
        tol=params["tol"],
    )
    return make_pipeline(input_transform(params["scaler"]), _terms(params["features"]), model)


_RANDOM_FEATURES = SearchSpace(
    mapping=Categorical(["fourier", "landmarks"], description="random features"),
    n_components=Int(3, 120, log=True, description="number of random features"),
    gamma=Float(1e-5, 1e2, log=True, description="kernel coefficient"),
    penalty=Float(1e-6, 1e4, log=True, description="L2 regularization"),
    scaler=_SCALER,
)


def _build_random_features(kind: Kind, params: Mapping[str, Value]) -> Any:
    from sklearn.kernel_approximation import Nystroem, RBFSampler
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline

    mapping = (RBFSampler if params["mapping"] == "fourier" else Nystroem)(
        gamma=params["gamma"], n_components=params["n_components"], random_state=0
    )
    if kind == "classification":
        model = LogisticRegression(C=1 / params["penalty"], max_iter=40)
        return make_pipeline(input_transform(params["scaler"]), mapping, model)
    return scaled_target(
        make_pipeline(input_transform(params["scaler"]), mapping, Ridge(params["penalty"]))
    )


_BINNED_LINEAR = SearchSpace(
    n_bins=Int(2, 40, log=True, description="bins of a feature"),
    strategy=Categorical(["uniform", "quantile"], description="where bins begin"),
    encode=Categorical(["onehot-dense", "ordinal"], description="encoding of a bin"),
    penalty=Float(1e-5, 1e4, log=True, description="L2 regularization"),
    features=Float(5.0, 100.0, description="percentage of columns kept by their F-score"),
)


def _build_binned_linear(kind: Kind, params: Mapping[str, Value]) -> Any:
    from sklearn.feature_selection import SelectPercentile, f_classif, f_regression
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import KBinsDiscretizer

    score = f_classif if kind == "classification" else f_regression
    bins = KBinsDiscretizer(params["n_bins"], encode=params["encode"], strategy=params["strategy"])
    select = SelectPercentile(score, percentile=params["features"])
    if kind == "classification":
        model = LogisticRegression(C=1 / params["penalty"], max_iter=30)
        return make_pipeline(bins, select, model)
    return scaled_target(make_pipeline(bins, select, Ridge(params["penalty"])))


_LASSO = SearchSpace(
    alpha=Float(1e-5, 1e1, log=True, description="strength of the L1 penalty"),
    scaler=_SCALER,
    target=Categorical(["standard", "quantile"], description="transformation of the target"),
    positive=Categorical([False, True], description="allow no negative weight"),
    selection=Categorical(["cyclic", "random"], description="order of coordinate descent"),
    max_iter=Int(1, 300, log=True, description="rounds of coordinate descent"),
)


def _build_lasso(kind: Kind, params: Mapping[str, Value]) -> Any:
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.linear_model import Lasso
    from sklearn.pipeline import make_pipeline

    settings = dict(params)
    scaler, target = (
        input_transform(settings.pop("scaler")),
        input_transform(settings.pop("target")),
    )
    model = make_pipeline(scaler, Lasso(random_state=0, **settings))
    return TransformedTargetRegressor(model, transformer=target)


_BAYESIAN_LINEAR = SearchSpace(
    prior=Categorical(["shared", "automatic relevance"], description="prior of the weights"),
    threshold_lambda=Float(
        1e0,
        1e6,
        log=True,
        when={"prior": ["automatic relevance"]},
        description="precision beyond which a weight is dropped",
    ),
    alpha_1=Float(1e-9, 1e4, log=True, description="shape of the noise's prior"),
    alpha_2=Float(1e-9, 1e4, log=True, description="rate of the noise's prior"),
    lambda_1=Float(1e-9, 1e4, log=True, description="shape of the weights' prior"),
    lambda_2=Float(1e-9, 1e4, log=True, description="rate of the weights' prior"),
    max_iter=Int(1, 40, log=True, description="rounds of evidence maximization"),
    features=Categorical(
        ["plain", "interactions", "polynomial"], description="terms made of the inputs"
    ),
)


def _build_bayesian_linear(kind: Kind, params: Mapping[str, Value]) -> Any:
    from sklearn.linear_model import ARDRegression, BayesianRidge
    from sklearn.pipeline import make_pipeline

    settings = dict(params)
    prior, terms = settings.pop("prior"), _terms(settings.pop("features"))
    model = (BayesianRidge if prior == "shared" else ARDRegression)(**settings)
    return scaled_target(make_pipeline(input_transform("standard"), terms, model))


_RANSAC = SearchSpace(
    min_samples=Float(0.03, 0.95, description="share of examples in a random sample"),
    residual_threshold=Float(
        1e-2, 1e1, log=True, description="largest error of an inlier, in deviations of the target"
    ),
    max_trials=Int(1, 20, log=True, description="number of random samples"),
    loss=Categorical(["absolute_error", "squared_error"], description="error of an example"),
    penalty=Float(1e-4, 1e4, log=True, description="L2 regularization"),
    scaler=_SCALER,
)


def _build_ransac(kind: Kind, params: Mapping[str, Value]) -> Any:
    from sklearn.linear_model import RANSACRegressor, Ridge
    from sklearn.pipeline import make_pipeline

    settings = dict(params)
    scaler, base = input_transform(settings.pop("scaler")), Ridge(settings.pop("penalty"))
    model = RANSACRegressor(base, random_state=0, **settings)
    return scaled_target(make_pipeline(scaler, model))


_PARTIAL_LEAST_SQUARES = SearchSpace(
    n_components=Int(1, 20, log=True, description="number of components"),
    features=Categorical(
        ["splines", "interactions", "polynomial"], description="terms made of the inputs"
    ),
    n_knots=Int(2, 20, log=True, when={"features": ["splines"]}, description="knots a feature"),
    degree=Int(1, 4, when={"features": ["splines"]}, description="degree of the splines"),
    scale=Categorical([True, False], description="scale the terms"),
    max_iter=Int(1, 200, log=True, description="rounds of the power method"),
    tol=Float(1e-8, 1e0, log=True, description="tolerance of the power method"),
)


def _build_partial_least_squares(kind: Kind, params: Mapping[str, Value]) -> Any:
    from sklearn.cross_decomposition import PLSRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import SplineTransformer

    if params["features"] == "splines":
        terms = SplineTransformer(
            params["n_knots"], params["degree"], extrapolation="linear", include_bias=False
        )
    else:
        terms = _terms(params["features"])
    model = PLSRegression(
        params["n_components"],
        scale=params["scale"],
        max_iter=params["max_iter"],
        tol=params["tol"],
    )
    return make_pipeline(input_transform("standard"), terms, model)


def _terms(name: str) -> Any:
    """The inputs, with products of two, and with squares as well."""
    from sklearn.preprocessing import PolynomialFeatures

    if name == "plain":
        return "passthrough"
    return PolynomialFeatures(2, interaction_only=name == "interactions", include_bias=False)


LINEAR_FAMILIES: dict[str, Family] = {
    "logistic-regression": Family(
        model="logistic regression",
        spaces={"classification": _LOGISTIC_REGRESSION},
        build=_build_logistic_regression,
    ),
    "random-features": Family(
        model="linear model on random kernel features",
        spaces={"classification": _RANDOM_FEATURES, "regression": _RANDOM_FEATURES},
        build=_build_random_features,
    ),
    "binned-linear": Family(
        model="linear model on binned features",
        spaces={"classification": _BINNED_LINEAR, "regression": _BINNED_LINEAR},
        build=_build_binned_linear,
    ),
    "lasso": Family(model="lasso", spaces={"regression": _LASSO}, build=_build_lasso),
    "bayesian-linear": Family(
        model="Bayesian linear regression",
        spaces={"regression": _BAYESIAN_LINEAR},
        build=_build_bayesian_linear,
    ),
    "ransac": Family(
        model="ridge regression by random sample consensus",
        spaces={"regression": _RANSAC},
        build=_build_ransac,
    ),
    "partial-least-squares": Family(
        model="partial least squares regression",
        spaces={"regression": _PARTIAL_LEAST_SQUARES},
        build=_build_partial_least_squares,
    ),
}
"""The families by name."""
