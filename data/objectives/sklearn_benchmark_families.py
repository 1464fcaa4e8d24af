"""The nine families of scikit-learn models of the `sklearn` benchmark suite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optformer.data.objectives.fitting import scaled, scaled_target
from optformer.data.objectives.sklearn_data import Kind
from optformer.data.objectives.sklearn_family import Family, input_transform
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Value
from optformer.data.studies.spaces import SearchSpace


def _tree_space(criteria: list[str]) -> SearchSpace:
    return SearchSpace(
        criterion=Categorical(criteria, description="split quality"),
        splitter=Categorical(["best", "random"], description="how a split is chosen"),
        max_depth=Int(1, 16, description="maximum depth of the tree"),
        min_samples_split=Int(2, 60, log=True, description="fewest examples to split"),
        min_samples_leaf=Int(1, 40, log=True, description="fewest examples in a leaf"),
        max_features=Float(0.1, 1.0, description="share of features tried at a split"),
        ccp_alpha=Float(1e-6, 1e-1, log=True, description="cost-complexity pruning"),
    )


def _build_tree(kind: Kind, params: Mapping[str, Value]) -> Any:
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    if kind == "classification":
        return DecisionTreeClassifier(random_state=0, **params)
    return scaled_target(DecisionTreeRegressor(random_state=0, **params))


def _forest_space(criteria: list[str]) -> SearchSpace:
    return SearchSpace(
        n_estimators=Int(3, 50, log=True, description="number of trees"),
        criterion=Categorical(criteria, description="split quality"),
        max_depth=Int(1, 16, description="maximum depth of a tree"),
        min_samples_leaf=Int(1, 30, log=True, description="fewest examples in a leaf"),
        max_features=Float(0.05, 1.0, description="share of features tried at a split"),
        bootstrap=Categorical([True, False], description="resample the examples for each tree"),
        max_samples=Float(
            0.1, 1.0, when={"bootstrap": [True]}, description="share of examples in a resample"
        ),
    )


def _build_forest(kind: Kind, params: Mapping[str, Value]) -> Any:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    if kind == "classification":
        return RandomForestClassifier(random_state=0, **params)
    return RandomForestRegressor(random_state=0, **params)


_NEIGHBORS = SearchSpace(
    n_neighbors=Int(1, 60, log=True, description="number of neighbours"),
    weights=Categorical(["uniform", "distance"], description="weight of a neighbour"),
    metric=Categorical(["minkowski", "chebyshev", "cosine"], description="distance"),
    p=Float(1.0, 6.0, when={"metric": ["minkowski"]}, description="exponent of the distance"),
    scaler=Categorical(["standard", "quantile", "none"], description="scaling of the inputs"),
    n_quantiles=Int(
        5, 80, log=True, when={"scaler": ["quantile"]}, description="knots of the scaling"
    ),
)


def _build_neighbors(kind: Kind, params: Mapping[str, Value]) -> Any:
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
    from sklearn.pipeline import make_pipeline

    settings = dict(params)
    transform = input_transform(settings.pop("scaler"), settings.pop("n_quantiles", 50))
    model = KNeighborsClassifier if kind == "classification" else KNeighborsRegressor
    return make_pipeline(transform, model(**settings))


_PERCEPTRON = SearchSpace(
    solver=Categorical(["lbfgs", "sgd", "adam"], description="optimizer of the weights"),
    learning_rate_init=Float(
        1e-4, 1e0, log=True, when={"solver": ["sgd", "adam"]}, description="initial learning rate"
    ),
    batch_size=Ordinal(
        [8, 16, 32, 64], when={"solver": ["sgd", "adam"]}, description="mini-batch size"
    ),
    momentum=Float(0.0, 0.99, when={"solver": ["sgd"]}, description="momentum of the gradient"),
    hidden_units=Int(2, 64, log=True, description="width of the hidden layer"),
    activation=Categorical(["relu", "tanh", "logistic"], description="activation function"),
    alpha=Float(1e-6, 1e1, log=True, description="L2 regularization"),
    max_iter=Int(5, 40, log=True, description="epochs, or steps of lbfgs"),
)


def _build_perceptron(kind: Kind, params: Mapping[str, Value]) -> Any:
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    settings = dict(params)
    settings["hidden_layer_sizes"] = (settings.pop("hidden_units"),)
    if kind == "classification":
        return scaled(MLPClassifier(random_state=0, **settings))
    return scaled_target(scaled(MLPRegressor(random_state=0, **settings)))


_SGD = SearchSpace(
    loss=Categorical(["log_loss", "modified_huber"], description="loss"),
    alpha=Float(1e-7, 1e0, log=True, description="strength of the regularization"),
    l1_ratio=Float(0.0, 1.0, description="share of the L1 penalty"),
    learning_rate=Categorical(
        ["constant", "optimal", "invscaling"], description="schedule of the learning rate"
    ),
    eta0=Float(
        1e-4,
        1e1,
        log=True,
        when={"learning_rate": ["constant", "invscaling"]},
        description="initial learning rate",
    ),
    power_t=Float(
        0.05, 1.0, when={"learning_rate": ["invscaling"]}, description="exponent of the decay"
    ),
    max_iter=Int(1, 30, log=True, description="epochs"),
    average=Categorical([False, True], description="average the weights"),
)


def _build_sgd(kind: Kind, params: Mapping[str, Value]) -> Any:
    from sklearn.linear_model import SGDClassifier

    return scaled(SGDClassifier(penalty="elasticnet", tol=None, random_state=0, **params))


_DISCRIMINANT = SearchSpace(
    components=Float(0.3, 0.999, description="share of variance the principal components keep"),
    boundary=Categorical(["linear", "quadratic"], description="shape of the class boundaries"),
    shrinkage=Float(
        0.0, 1.0, when={"boundary": ["linear"]}, description="shrinkage of the shared covariance"
    ),
    reg_param=Float(
        1e-4,
        1.0,
        log=True,
        when={"boundary": ["quadratic"]},
        description="shrinkage of each class's covariance",
    ),
    transform=Categorical(["standard", "quantile"], description="transformation of the inputs"),
)


def _build_discriminant(kind: Kind, params: Mapping[str, Value]) -> Any:
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import (
        LinearDiscriminantAnalysis,
        QuadraticDiscriminantAnalysis,
    )
    from sklearn.pipeline import make_pipeline

    transform = input_transform(params["transform"])
    if params["boundary"] == "linear":
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=params["shrinkage"])
    else:
        model = QuadraticDiscriminantAnalysis(reg_param=params["reg_param"])
    return make_pipeline(transform, PCA(params["components"], svd_solver="full"), model)


_NAIVE_BAYES = SearchSpace(
    transform=Categorical(
        ["standard", "quantile", "bins"], description="transformation of the inputs"
    ),
    n_bins=Int(2, 20, log=True, when={"transform": ["bins"]}, description="bins of a feature"),
    strategy=Categorical(
        ["uniform", "quantile"], when={"transform": ["bins"]}, description="where bins begin"
    ),
    alpha=Float(1e-3, 1e2, log=True, when={"transform": ["bins"]}, description="added counts"),
    var_smoothing=Float(
        1e-9,
        1e1,
        log=True,
        when={"transform": ["standard", "quantile"]},
        description="share of the largest variance added to all",
    ),
    features=Float(5.0, 100.0, description="percentage of features kept by their F-score"),
)


def _build_naive_bayes(kind: Kind, params: Mapping[str, Value]) -> Any:
    from sklearn.feature_selection import SelectPercentile
    from sklearn.naive_bayes import GaussianNB, MultinomialNB
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import KBinsDiscretizer

    select = SelectPercentile(percentile=params["features"])
    if params["transform"] == "bins":
        bins = KBinsDiscretizer(
            params["n_bins"], encode="onehot-dense", strategy=params["strategy"]
        )
        return make_pipeline(select, bins, MultinomialNB(alpha=params["alpha"]))
    transform = input_transform(params["transform"])
    return make_pipeline(select, transform, GaussianNB(var_smoothing=params["var_smoothing"]))


_SPLINES = SearchSpace(
    n_knots=Int(2, 20, log=True, description="knots a feature"),
    degree=Int(1, 4, description="degree of the splines"),
    knots=Categorical(["uniform", "quantile"], description="where the knots lie"),
    extrapolation=Categorical(
        ["constant", "linear", "continue"], description="beyond the last knot"
    ),
    alpha=Float(1e-6, 1e3, log=True, description="L2 regularization"),
    interactions=Categorical([False, True], description="add products of two features"),
)


def _build_splines(kind: Kind, params: Mapping[str, Value]) -> Any:
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.preprocessing import PolynomialFeatures, SplineTransformer

    settings = dict(params)
    alpha, interactions = settings.pop("alpha"), settings.pop("interactions")
    splines = SplineTransformer(include_bias=False, **settings)
    if interactions:
        splines = make_union(splines, PolynomialFeatures(2, interaction_only=True))
    return scaled_target(make_pipeline(scaled(splines), Ridge(alpha)))


_GAUSSIAN_PROCESS = SearchSpace(
    kernel=Categorical(["rbf", "matern", "rational quadratic"], description="covariance"),
    nu=Ordinal([0.5, 1.5, 2.5], when={"kernel": ["matern"]}, description="smoothness"),
    mixture=Float(
        1e-2,
        1e2,
        log=True,
        when={"kernel": ["rational quadratic"]},
        description="mixture of length scales",
    ),
    length_scale=Float(1e-2, 1e2, log=True, description="length scale of scaled inputs"),
    alpha=Float(1e-6, 1e1, log=True, description="variance of the noise"),
)


def _build_gaussian_process(kind: Kind, params: Mapping[str, Value]) -> Any:
    from sklearn.gaussian_process import GaussianProcessRegressor, kernels

    scale = params["length_scale"]
    if params["kernel"] == "rbf":
        kernel = kernels.RBF(scale)
    elif params["kernel"] == "matern":
        kernel = kernels.Matern(scale, nu=params["nu"])
    else:
        kernel = kernels.RationalQuadratic(scale, alpha=params["mixture"])
    model = GaussianProcessRegressor(kernel, alpha=params["alpha"], optimizer=None)
    return scaled_target(scaled(model))


_IMPURITIES = ["gini", "entropy"]
_DEVIATIONS = ["squared_error", "absolute_error"]

BENCHMARK_FAMILIES: dict[str, Family] = {
    "decision-tree": Family(
        model="decision tree",
        spaces={
            "classification": _tree_space(_IMPURITIES),
            "regression": _tree_space(_DEVIATIONS),
        },
        build=_build_tree,
        datasets=("breast-cancer", "impedance"),
    ),
    "random-forest": Family(
        model="random forest",
        spaces={
            "classification": _forest_space(_IMPURITIES),
            "regression": _forest_space(_DEVIATIONS),
        },
        build=_build_forest,
        datasets=("wine", "moons", "swiss-roll"),
    ),
    "nearest-neighbors": Family(
        model="k nearest neighbours",
        spaces={"classification": _NEIGHBORS, "regression": _NEIGHBORS},
        build=_build_neighbors,
        datasets=("moons", "shells", "phase"),
    ),
    "perceptron": Family(
        model="multilayer perceptron, one hidden layer",
        spaces={"classification": _PERCEPTRON, "regression": _PERCEPTRON},
        build=_build_perceptron,
        datasets=("iris", "shells", "impedance"),
    ),
    "sgd": Family(
        model="linear classifier by stochastic gradient descent",
        spaces={"classification": _SGD},
        build=_build_sgd,
        datasets=("breast-cancer", "wine"),
    ),
    "discriminant": Family(
        model="discriminant analysis of principal components",
        spaces={"classification": _DISCRIMINANT},
        build=_build_discriminant,
        datasets=("wine", "shells"),
    ),
    "naive-bayes": Family(
        model="naive Bayes on selected features",
        spaces={"classification": _NAIVE_BAYES},
        build=_build_naive_bayes,
        datasets=("breast-cancer", "iris"),
    ),
    "splines": Family(
        model="ridge regression on splines",
        spaces={"regression": _SPLINES},
        build=_build_splines,
        datasets=("phase", "low-rank"),
    ),
    "gaussian-process": Family(
        model="Gaussian process regression",
        spaces={"regression": _GAUSSIAN_PROCESS},
        build=_build_gaussian_process,
        datasets=("swiss-roll", "low-rank", "phase"),
    ),
}
"""The families by name."""
