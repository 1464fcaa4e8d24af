"""Fit and score scikit-learn models: fixed data, one thread, no warnings let out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from optformer.data.studies.errors import ObjectiveError

Array: TypeAlias = NDArray[Any]
Score: TypeAlias = Callable[[Any, Array, Array], float]
"""Takes a fitted model, test inputs and test targets."""


@dataclass(frozen=True)
class Split:
    """Training and test examples.

    Attributes:
        train_inputs: float64, shape (N, features).
        train_targets: shape (N,).
        test_inputs: float64, shape (M, features).
        test_targets: shape (M,).
    """

    train_inputs: Array
    train_targets: Array
    test_inputs: Array
    test_targets: Array


def holdout(inputs: Array, targets: Array, train: int, test: int, seed: int = 0) -> Split:
    """A random split into `train` and `test` examples; the rest is left out."""
    order = np.random.default_rng(seed).permutation(len(targets))
    first, second = order[:train], order[train : train + test]
    return Split(inputs[first], targets[first], inputs[second], targets[second])


def folds(inputs: Array, targets: Array, count: int, seed: int = 0) -> tuple[Split, ...]:
    """Splits of a `count`-fold cross-validation in random order."""
    parts = np.array_split(np.random.default_rng(seed).permutation(len(targets)), count)
    splits = []
    for i, test in enumerate(parts):
        train = np.concatenate([part for j, part in enumerate(parts) if j != i])
        splits.append(Split(inputs[train], targets[train], inputs[test], targets[test]))
    return tuple(splits)


def mean_score(make_model: Callable[[], Any], splits: tuple[Split, ...], score: Score) -> float:
    """Fit a fresh model on each split and average its test scores.

    Raises:
        ObjectiveError: A fit diverged, or its predictions did.
    """
    scores = []
    with _one_quiet_thread():
        for split in splits:
            model = make_model()
            try:
                model.fit(split.train_inputs, split.train_targets)
                scores.append(score(model, split.test_inputs, split.test_targets))
            except ValueError as error:  # how scikit-learn reports numbers that are not finite
                raise ObjectiveError(f"training failed: {error}") from error
    return float(np.mean(scores))


def accuracy(model: Any, inputs: Array, targets: Array) -> float:
    """Share of right classes."""
    return float(np.mean(model.predict(inputs) == targets))


def log_loss(model: Any, inputs: Array, targets: Array) -> float:
    """Mean negative log-likelihood of the right classes, in nats."""
    from sklearn import metrics

    probabilities = np.asarray(model.predict_proba(inputs), dtype=np.float64)
    return float(metrics.log_loss(targets, probabilities, labels=model.classes_))


def balanced_accuracy(model: Any, inputs: Array, targets: Array) -> float:
    """Mean over the classes of the share of their examples that are recognized."""
    right = model.predict(inputs) == targets
    return float(np.mean([np.mean(right[targets == label]) for label in np.unique(targets)]))


def f1_macro(model: Any, inputs: Array, targets: Array) -> float:
    """Mean over the classes of the harmonic mean of precision and recall."""
    predicted = model.predict(inputs)
    shares = [
        2
        * np.sum((predicted == label) & (targets == label))
        / (np.sum(predicted == label) + np.sum(targets == label))
        for label in np.unique(targets)
    ]
    return float(np.mean(shares))


def roc_auc(model: Any, inputs: Array, targets: Array) -> float:
    """Area under the ROC curve; with more than two classes the mean of one against the rest."""
    from scipy.stats import rankdata

    probabilities = np.asarray(model.predict_proba(inputs), dtype=np.float64)
    if not np.isfinite(probabilities).all():
        raise ValueError("a predicted probability is not finite")
    columns = range(1, 2) if len(model.classes_) == 2 else range(len(model.classes_))
    areas = []
    for column in columns:
        positive = targets == model.classes_[column]
        ranks, count = rankdata(probabilities[:, column]), int(positive.sum())
        above = ranks[positive].sum() - count * (count + 1) / 2
        areas.append(above / (count * (len(targets) - count)))
    return float(np.mean(areas))


def mae(model: Any, inputs: Array, targets: Array) -> float:
    """Mean absolute error, in the target's units."""
    return float(np.mean(np.abs(model.predict(inputs) - targets)))


def rmse(model: Any, inputs: Array, targets: Array) -> float:
    """Root mean squared error, in the target's units."""
    return float(np.sqrt(np.mean((model.predict(inputs) - targets) ** 2)))


def r2(model: Any, inputs: Array, targets: Array) -> float:
    """Share of the variance explained; 1 is perfect, 0 is the mean."""
    residual = np.mean((model.predict(inputs) - targets) ** 2)
    return float(1.0 - residual / np.var(targets))


def scaled(model: Any) -> Any:
    """The model behind a scaling of its inputs to mean 0 and deviation 1."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), model)


def scaled_target(model: Any) -> Any:
    """The model behind a scaling of its target to mean 0 and deviation 1."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.preprocessing import StandardScaler

    return TransformedTargetRegressor(model, transformer=StandardScaler())


@contextmanager
def _one_quiet_thread() -> Iterator[None]:
    """One thread, so that sums round alike everywhere; odd settings are no reason to warn."""
    from sklearn import config_context

    # The space has checked the parameters already.
    checked = config_context(skip_parameter_validation=True)
    with warnings.catch_warnings(), _thread_pools().limit(limits=1), checked:
        warnings.simplefilter("ignore")
        yield


@cache
def _thread_pools() -> Any:
    import threadpoolctl

    return threadpoolctl.ThreadpoolController()
