"""What an estimator, its data and its score tell the model, in the words that it has learned."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from optformer.data.studies.study_config import Goal

_MOST_CLASSES = 10  # class names beyond so many are not told
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z]+|[0-9]+")
_ROLES = ("CV", "Classifier", "Regressor")
_MODELS = {
    "AdaBoost": "AdaBoost of decision trees",
    "Bagging": "bagging ensemble",
    "BayesianRidge": "Bayesian linear regression",
    "BernoulliNB": "naive Bayes",
    "ElasticNet": "elastic net",
    "ExtraTrees": "extremely randomized trees",
    "GaussianNB": "naive Bayes",
    "GaussianProcess": "Gaussian process",
    "GradientBoosting": "gradient boosted trees",
    "HistGradientBoosting": "histogram gradient boosting",
    "KNeighbors": "k nearest neighbours",
    "KernelRidge": "kernel ridge regression",
    "LGBM": "gradient boosted trees",
    "LinearSVC": "linear support vector machine",
    "LinearSVR": "linear support vector machine",
    "MLP": "multilayer perceptron",
    "MultinomialNB": "naive Bayes",
    "NuSVC": "support vector machine",
    "NuSVR": "support vector machine",
    "PLSRegression": "partial least squares regression",
    "Ridge": "ridge regression",
    "SGD": "linear model by stochastic gradient descent",
    "SVC": "support vector machine",
    "SVR": "support vector machine",
    "XGB": "gradient boosted trees",
}  # where the words of the class's name are not what an engineer would write
_METRICS = {
    "mean_absolute_error": "mae",
    "root_mean_squared_error": "rmse",
    "mean_squared_error": "mse",
    "r2_score": "r2",
    "accuracy_score": "accuracy",
    "roc_auc_score": "roc_auc",
    "f1_score": "f1",
    "balanced_accuracy_score": "balanced_accuracy",
}


class ToldMetric(NamedTuple):
    """A score as the model reads it.

    Attributes:
        name: The metric's name, such as `log_loss`.
        goal: Its direction.
        sign: What a score of scikit-learn, of which greater is better, is multiplied by.
    """

    name: str
    goal: Goal
    sign: float


def told_metric(scoring: Any, estimator: Any) -> ToldMetric:
    """The metric behind a score.

    `neg_log_loss` is told as `log_loss`, which is minimized: the model has learned what that means.

    Args:
        scoring: The name of a scorer, a scorer, any callable, or None for the estimator's own.
        estimator: What is scored.
    """
    from sklearn.base import is_classifier, is_regressor

    sign, name = 1.0, "score"
    if isinstance(scoring, str):
        name = scoring
    elif hasattr(scoring, "_score_func"):  # what make_scorer makes
        name, sign = scoring._score_func.__name__, float(getattr(scoring, "_sign", 1))
    elif scoring is None:
        name = "accuracy" if is_classifier(estimator) else name
        name = "r2" if is_regressor(estimator) else name
    else:
        name = getattr(scoring, "__name__", name).strip("<>")
    if name.startswith("neg_"):
        name, sign = name.removeprefix("neg_"), -1.0
    name = _METRICS.get(name, name)
    return ToldMetric(name, "minimize" if sign < 0 else "maximize", sign)


def told_task(estimator: Any, inputs: Any, targets: Any) -> dict[str, str]:
    """Metadata about an estimator and its data: `task`, `model`, `dataset size`, `classes`."""
    from sklearn.base import is_classifier, is_regressor

    told = {}
    if is_classifier(estimator):
        told["task"] = "classification"
    elif is_regressor(estimator):
        told["task"] = "regression"
    told["model"] = _model_name(estimator)
    size = _size(inputs)
    classes = _classes(targets) if is_classifier(estimator) else []
    if classes:
        size.append(f"{len(classes)} classes")
    if size:
        told["dataset size"] = ", ".join(size)
    if 0 < len(classes) <= _MOST_CLASSES and all(isinstance(name, str) for name in classes):
        told["classes"] = ", ".join(classes)
    return told


def final_step(estimator: Any) -> tuple[str, Any]:
    """The model inside of pipelines and target transformations, and its parameters' prefix.

    Without the prefix, "" for any other estimator, parameters have the names that are learned.
    """
    steps = getattr(estimator, "steps", None)
    if isinstance(steps, list) and steps:
        name, inner = steps[-1]
    elif getattr(estimator, "regressor", None) is not None:
        name, inner = "regressor", estimator.regressor
    else:
        return "", estimator
    prefix, model = final_step(inner)
    return f"{name}__{prefix}", model


def _model_name(estimator: Any) -> str:
    _, model = final_step(estimator)
    name = type(model).__name__
    for role in _ROLES:
        name = name.removesuffix(role) or name
    if name in _MODELS:
        return _MODELS[name]
    words = _WORD.findall(name) or [name]
    return " ".join(word if word.isupper() else word.lower() for word in words)


def _size(inputs: Any) -> list[str]:
    shape = getattr(inputs, "shape", None)
    if shape is None:
        try:
            return [f"{len(inputs)} examples"]
        except TypeError:
            return []
    columns = [f"{shape[1]} features"] if len(shape) == 2 else []
    return [f"{shape[0]} examples", *columns] if len(shape) else []


def _classes(targets: Any) -> list[Any]:
    """The distinct labels of a target in one column."""
    import numpy as np

    try:
        values = np.asarray(targets)
        return sorted(set(values.tolist())) if values.ndim == 1 else []
    except (TypeError, ValueError):  # labels that no one can sort: the estimator tells the user
        return []
