"""Live tuning tasks: scikit-learn models trained for real in milliseconds.

The tasks here are for development and reporting. Everything they use is reserved: no training data
of a shipped checkpoint may come from `RESERVED_DATASETS` or from `RESERVED_FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from optformer.data.objectives.base import Objective
from optformer.data.objectives.fitting import (
    Split,
    accuracy,
    folds,
    holdout,
    log_loss,
    mean_score,
    r2,
    rmse,
    scaled,
    scaled_target,
)
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig

RESERVED_DATASETS = ("digits", "diabetes")
"""scikit-learn's data sets that no training data may come from."""

RESERVED_FAMILIES = ("histogram gradient boosting", "support vector machine")
"""Model families that no training data may come from, on any data set."""


def dev_tasks() -> list[Objective]:
    """The live tasks of the development suite, each under 0.3 s an evaluation on one core."""
    return [
        _svm_digits(),
        _mlp_digits(),
        _extra_trees_digits(),
        _boosting_generated(),
        _boosting_diabetes(),
        _kernel_ridge_diabetes(),
        _elastic_net_diabetes(),
        _sgd_diabetes(),
        _svr_generated(),
    ]


def _svm_digits() -> Objective:
    kernels = ["linear", "rbf", "poly", "sigmoid"]
    space = SearchSpace(
        C=Float(1e-3, 1e3, log=True, description="inverse regularization strength"),
        kernel=Categorical(kernels, description="kernel function"),
        gamma=Float(
            1e-5, 1.0, log=True, when={"kernel": kernels[1:]}, description="kernel coefficient"
        ),
        degree=Int(2, 6, when={"kernel": ["poly"]}, description="degree of the polynomial"),
        coef0=Float(
            -1.0, 1.0, when={"kernel": ["poly", "sigmoid"]}, description="constant in the kernel"
        ),
        tol=Float(1e-5, 1e-1, log=True, description="tolerance of the stopping criterion"),
    )
    metadata = {
        "task": "image classification",
        "dataset": "digits",
        "dataset size": "500 training examples, 64 features, 10 classes",
        "model": "support vector machine",
    }
    return _task("svm-digits", space, "accuracy", "maximize", metadata, _fit_svm_digits)


def _fit_svm_digits(params: Mapping[str, Value]) -> float:
    from sklearn.svm import SVC

    return mean_score(lambda: scaled(SVC(**params, max_iter=2000)), _digits(500, 1000), accuracy)


def _mlp_digits() -> Objective:
    space = SearchSpace(
        learning_rate_init=Float(1e-4, 3e-1, log=True, description="initial learning rate"),
        solver=Categorical(["sgd", "adam"], description="optimizer of the weights"),
        momentum=Float(0.0, 0.99, when={"solver": ["sgd"]}, description="momentum of the gradient"),
        beta_1=Float(
            0.5, 0.999, when={"solver": ["adam"]}, description="decay of the first moment"
        ),
        hidden_units=Int(8, 128, log=True, description="width of the hidden layer"),
        activation=Categorical(["relu", "tanh", "logistic"], description="activation function"),
        alpha=Float(1e-6, 1e0, log=True, description="L2 regularization"),
        batch_size=Ordinal([16, 32, 64, 128], description="mini-batch size"),
    )
    metadata = {
        "task": "image classification",
        "dataset": "digits",
        "dataset size": "500 training examples, 64 features, 10 classes",
        "model": "multilayer perceptron, one hidden layer, 12 epochs",
    }
    return _task("mlp-digits", space, "log_loss", "minimize", metadata, _fit_mlp_digits)


def _fit_mlp_digits(params: Mapping[str, Value]) -> float:
    from sklearn.neural_network import MLPClassifier

    settings = dict(params)
    width = settings.pop("hidden_units")
    return mean_score(
        lambda: scaled(
            MLPClassifier(hidden_layer_sizes=(width,), max_iter=12, random_state=0, **settings)
        ),
        _digits(500, 1000),
        log_loss,
    )


def _extra_trees_digits() -> Objective:
    space = SearchSpace(
        n_estimators=Int(5, 60, log=True, description="number of trees"),
        max_depth=Int(2, 20, description="maximum depth of a tree"),
        max_features=Float(0.02, 1.0, log=True, description="share of features tried at a split"),
        min_samples_leaf=Int(1, 20, log=True, description="fewest examples in a leaf"),
        criterion=Categorical(["gini", "entropy"], description="split quality"),
        bootstrap=Categorical([False, True], description="resample the examples for each tree"),
        max_samples=Float(
            0.1, 1.0, when={"bootstrap": [True]}, description="share of examples in a resample"
        ),
    )
    metadata = {
        "task": "image classification",
        "dataset": "digits",
        "dataset size": "400 training examples, 64 features, 10 classes",
        "model": "extremely randomized trees",
    }
    return _task(
        "extra-trees-digits", space, "log_loss", "minimize", metadata, _fit_extra_trees_digits
    )


def _fit_extra_trees_digits(params: Mapping[str, Value]) -> float:
    from sklearn.ensemble import ExtraTreesClassifier

    return mean_score(
        lambda: ExtraTreesClassifier(random_state=0, **params), _digits(400, 800), log_loss
    )


def _boosting_generated() -> Objective:
    space = SearchSpace(
        learning_rate=Float(1e-3, 1.0, log=True, description="shrinkage of each tree"),
        max_iter=Int(5, 60, log=True, description="number of boosting rounds"),
        max_leaf_nodes=Int(2, 63, log=True, description="maximum number of leaves of a tree"),
        min_samples_leaf=Int(2, 100, log=True, description="fewest examples in a leaf"),
        l2_regularization=Float(1e-6, 1e2, log=True, description="L2 regularization of leaves"),
        max_features=Float(0.1, 1.0, description="share of features tried at a split"),
    )
    metadata = {
        "task": "binary classification",
        "dataset": "generated clusters with label noise",
        "dataset size": "600 training examples, 20 features, 2 classes",
        "model": "histogram gradient boosting",
    }
    return _task(
        "boosting-generated", space, "log_loss", "minimize", metadata, _fit_boosting_generated
    )


def _fit_boosting_generated(params: Mapping[str, Value]) -> float:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return mean_score(
        lambda: HistGradientBoostingClassifier(random_state=0, early_stopping=False, **params),
        _clusters(),
        log_loss,
    )


def _boosting_diabetes() -> Objective:
    space = SearchSpace(
        loss=Categorical(["squared_error", "absolute_error", "quantile"], description="loss"),
        quantile=Float(
            0.2, 0.8, when={"loss": ["quantile"]}, description="quantile that is predicted"
        ),
        learning_rate=Float(1e-3, 1.0, log=True, description="shrinkage of each tree"),
        max_iter=Int(5, 60, log=True, description="number of boosting rounds"),
        max_depth=Int(1, 8, description="maximum depth of a tree"),
        min_samples_leaf=Int(2, 80, log=True, description="fewest examples in a leaf"),
        l2_regularization=Float(1e-4, 1e3, log=True, description="L2 regularization of leaves"),
    )
    metadata = {
        "task": "regression of disease progression",
        "dataset": "diabetes",
        "dataset size": "442 examples, 10 features",
        "model": "histogram gradient boosting",
    }
    return _task("boosting-diabetes", space, "r2", "maximize", metadata, _fit_boosting_diabetes)


def _fit_boosting_diabetes(params: Mapping[str, Value]) -> float:
    from sklearn.ensemble import HistGradientBoostingRegressor

    return mean_score(
        lambda: HistGradientBoostingRegressor(random_state=0, early_stopping=False, **params),
        _diabetes(2),
        r2,
    )


def _kernel_ridge_diabetes() -> Objective:
    kernels = ["rbf", "laplacian", "polynomial"]
    space = SearchSpace(
        alpha=Float(1e-4, 1e3, log=True, description="L2 regularization"),
        kernel=Categorical(kernels, description="kernel function"),
        gamma=Float(1e-5, 1e1, log=True, description="kernel coefficient"),
        degree=Int(1, 5, when={"kernel": ["polynomial"]}, description="degree of the polynomial"),
        coef0=Float(
            0.0, 2.0, when={"kernel": ["polynomial"]}, description="constant in the kernel"
        ),
    )
    metadata = {
        "task": "regression of disease progression",
        "dataset": "diabetes",
        "dataset size": "442 examples, 10 features",
        "model": "kernel ridge regression",
    }
    return _task(
        "kernel-ridge-diabetes", space, "r2", "maximize", metadata, _fit_kernel_ridge_diabetes
    )


def _fit_kernel_ridge_diabetes(params: Mapping[str, Value]) -> float:
    from sklearn.kernel_ridge import KernelRidge

    # Kernel ridge has no intercept, so the target is centred.
    return mean_score(lambda: scaled_target(scaled(KernelRidge(**params))), _diabetes(3), r2)


def _elastic_net_diabetes() -> Objective:
    space = SearchSpace(
        alpha=Float(1e-4, 1e2, log=True, description="strength of the regularization"),
        l1_ratio=Float(0.0, 1.0, description="share of the L1 penalty"),
        degree=Ordinal([1, 2], description="degree of the polynomial features"),
        interaction_only=Categorical(
            [False, True], when={"degree": [2]}, description="leave out squares"
        ),
        scaler=Categorical(["standard", "quantile", "none"], description="scaling of the inputs"),
    )
    metadata = {
        "task": "regression of disease progression",
        "dataset": "diabetes",
        "dataset size": "442 examples, 10 features",
        "model": "elastic net on polynomial features",
    }
    return _task(
        "elastic-net-diabetes", space, "rmse", "minimize", metadata, _fit_elastic_net_diabetes
    )


def _fit_elastic_net_diabetes(params: Mapping[str, Value]) -> float:
    from sklearn.linear_model import ElasticNet
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, QuantileTransformer, StandardScaler

    def make_model() -> Any:
        scalers = {
            "standard": StandardScaler(),
            "quantile": QuantileTransformer(n_quantiles=100, output_distribution="normal"),
            "none": "passthrough",
        }
        features = PolynomialFeatures(
            params["degree"],
            interaction_only=params.get("interaction_only", False),
            include_bias=False,
        )
        net = ElasticNet(alpha=params["alpha"], l1_ratio=params["l1_ratio"], max_iter=300)
        return make_pipeline(scalers[params["scaler"]], features, net)

    return mean_score(make_model, _diabetes(3), rmse)


def _sgd_diabetes() -> Objective:
    space = SearchSpace(
        eta0=Float(1e-4, 1e0, log=True, description="initial learning rate"),
        power_t=Float(0.0, 1.0, description="exponent of the learning rate's decay"),
        alpha=Float(1e-6, 1e0, log=True, description="strength of the regularization"),
        l1_ratio=Float(0.0, 1.0, description="share of the L1 penalty"),
        epsilon=Float(1e-2, 1e1, log=True, description="Huber loss: where it turns linear"),
    )
    metadata = {
        "task": "regression of disease progression",
        "dataset": "diabetes",
        "dataset size": "442 examples, 10 features, standardized target",
        "model": "linear model by stochastic gradient descent with Huber loss, 10 epochs",
    }
    return _task("sgd-diabetes", space, "rmse", "minimize", metadata, _fit_sgd_diabetes)


def _fit_sgd_diabetes(params: Mapping[str, Value]) -> float:
    from sklearn.linear_model import SGDRegressor

    def make_model() -> Any:
        model = SGDRegressor(
            loss="huber", penalty="elasticnet", max_iter=10, tol=None, random_state=0, **params
        )
        return scaled_target(scaled(model))

    return mean_score(make_model, _diabetes(3), rmse)


def _svr_generated() -> Objective:
    space = SearchSpace(
        C=Float(1e-2, 1e4, log=True, description="inverse regularization strength"),
        epsilon=Float(1e-3, 1e1, log=True, description="width of the tube without a penalty"),
        gamma=Float(1e-4, 1e1, log=True, description="kernel coefficient"),
        feature_power=Float(0.3, 3.0, log=True, description="exponent applied to the inputs"),
    )
    metadata = {
        "task": "regression",
        "dataset": "Friedman 1 with noise",
        "dataset size": "300 training examples, 8 features in [0, 1]",
        "model": "support vector machine with an RBF kernel",
    }
    return _task("svr-generated", space, "rmse", "minimize", metadata, _fit_svr_generated)


def _fit_svr_generated(params: Mapping[str, Value]) -> float:
    from sklearn.svm import SVR

    settings = dict(params)
    power = settings.pop("feature_power")
    splits = tuple(
        Split(
            split.train_inputs**power,
            split.train_targets,
            split.test_inputs**power,
            split.test_targets,
        )
        for split in _friedman()
    )
    return mean_score(lambda: SVR(max_iter=20_000, **settings), splits, rmse)


def _task(
    name: str,
    space: SearchSpace,
    metric: str,
    goal: Any,
    metadata: Mapping[str, str],
    function: Callable[[Mapping[str, Value]], float],
) -> Objective:
    config = StudyConfig(space, metric, goal, metadata)
    return Objective(name, config, function, reserved=True)


@cache
def _digits(train: int, test: int) -> tuple[Split, ...]:
    from sklearn.datasets import load_digits

    inputs, targets = load_digits(return_X_y=True)
    return (holdout(inputs, targets, train, test),)


@cache
def _diabetes(count: int) -> tuple[Split, ...]:
    from sklearn.datasets import load_diabetes

    inputs, targets = load_diabetes(return_X_y=True, scaled=False)
    return folds(inputs, targets, count)


@cache
def _clusters() -> tuple[Split, ...]:
    from sklearn.datasets import make_classification

    inputs, targets = make_classification(
        1600, 20, n_informative=6, n_redundant=4, n_clusters_per_class=3, flip_y=0.1, random_state=0
    )
    return (holdout(inputs, targets, 600, 1000),)


@cache
def _friedman() -> tuple[Split, ...]:
    from sklearn.datasets import make_friedman1

    inputs, targets = make_friedman1(1300, 8, noise=1.0, random_state=0)
    return (holdout(inputs, targets, 300, 1000),)
