"""Data sets for live training: small ones that come with scikit-learn, and seeded generated ones.

None is reserved: see `RESERVED_DATASETS` in `sklearn_tasks`.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from optformer.data.objectives.fitting import Array, Split, accuracy, log_loss, r2, rmse
from optformer.data.objectives.sklearn_data import DataSet
from optformer.data.objectives.sklearn_generated import generated_dataset, is_generated

_GENERATED_TRAIN, _GENERATED_TEST = 300, 1000
_GENERATED = _GENERATED_TRAIN + _GENERATED_TEST


@cache
def dataset(name: str) -> DataSet:
    """One of `DATASETS`, or a generated one by its seed."""
    return generated_dataset(name) if is_generated(name) else DATASETS[name]


@cache
def splits(name: str) -> tuple[Split, ...]:
    """The fixed splits of the data set of that name."""
    return dataset(name).split()


def _iris() -> tuple[Array, Array]:
    from sklearn.datasets import load_iris

    inputs, targets = load_iris(return_X_y=True)
    return inputs, targets


def _wine() -> tuple[Array, Array]:
    from sklearn.datasets import load_wine

    inputs, targets = load_wine(return_X_y=True)
    return inputs, targets


def _breast_cancer() -> tuple[Array, Array]:
    from sklearn.datasets import load_breast_cancer

    inputs, targets = load_breast_cancer(return_X_y=True)
    return inputs, targets


def _moons() -> tuple[Array, Array]:
    """Two moons, with four inputs that say nothing."""
    from sklearn.datasets import make_moons

    inputs, targets = make_moons(_GENERATED, noise=0.3, random_state=0)
    return np.hstack([inputs, np.random.default_rng(0).normal(size=(_GENERATED, 4))]), targets


def _shells() -> tuple[Array, Array]:
    from sklearn.datasets import make_gaussian_quantiles

    inputs, targets = make_gaussian_quantiles(
        n_samples=_GENERATED, n_features=5, n_classes=3, random_state=0
    )
    return inputs, targets


def _circuit() -> tuple[Array, Array]:
    from sklearn.datasets import make_friedman2

    inputs, targets = make_friedman2(_GENERATED, noise=50.0, random_state=0)
    return inputs, targets


def _phase() -> tuple[Array, Array]:
    from sklearn.datasets import make_friedman3

    inputs, targets = make_friedman3(_GENERATED, noise=0.1, random_state=0)
    return inputs, targets


def _swiss_roll() -> tuple[Array, Array]:
    from sklearn.datasets import make_swiss_roll

    inputs, targets = make_swiss_roll(_GENERATED, noise=0.5, random_state=0)
    return inputs, targets


def _sparse_linear() -> tuple[Array, Array]:
    from sklearn.datasets import make_regression

    inputs, targets = make_regression(
        _GENERATED, 20, n_informative=5, effective_rank=12, noise=1.0, random_state=0
    )
    return inputs, targets


DATASETS: dict[str, DataSet] = {
    "iris": DataSet(
        kind="classification",
        text="iris",
        size="150 examples, 4 features, 3 classes",
        metric="log_loss",
        goal="minimize",
        score=log_loss,
        load=_iris,
        holdout=None,
    ),
    "wine": DataSet(
        kind="classification",
        text="wine",
        size="178 examples, 13 features, 3 classes",
        metric="log_loss",
        goal="minimize",
        score=log_loss,
        load=_wine,
        holdout=None,
    ),
    "breast-cancer": DataSet(
        kind="classification",
        text="breast cancer Wisconsin",
        size="569 examples, 30 features, 2 classes",
        metric="accuracy",
        goal="maximize",
        score=accuracy,
        load=_breast_cancer,
        holdout=None,
    ),
    "moons": DataSet(
        kind="classification",
        text="two moons with noise features",
        size=f"{_GENERATED_TRAIN} training examples, 6 features, 2 classes",
        metric="accuracy",
        goal="maximize",
        score=accuracy,
        load=_moons,
        holdout=(_GENERATED_TRAIN, _GENERATED_TEST),
    ),
    "shells": DataSet(
        kind="classification",
        text="concentric Gaussian shells",
        size=f"{_GENERATED_TRAIN} training examples, 5 features, 3 classes",
        metric="log_loss",
        goal="minimize",
        score=log_loss,
        load=_shells,
        holdout=(_GENERATED_TRAIN, _GENERATED_TEST),
    ),
    "impedance": DataSet(
        kind="regression",
        text="impedance of a circuit (Friedman 2)",
        size=f"{_GENERATED_TRAIN} training examples, 4 features",
        metric="r2",
        goal="maximize",
        score=r2,
        load=_circuit,
        holdout=(_GENERATED_TRAIN, _GENERATED_TEST),
    ),
    "phase": DataSet(
        kind="regression",
        text="phase of a circuit (Friedman 3)",
        size=f"{_GENERATED_TRAIN} training examples, 4 features",
        metric="rmse",
        goal="minimize",
        score=rmse,
        load=_phase,
        holdout=(_GENERATED_TRAIN, _GENERATED_TEST),
    ),
    "swiss-roll": DataSet(
        kind="regression",
        text="position on a swiss roll",
        size=f"{_GENERATED_TRAIN} training examples, 3 features",
        metric="r2",
        goal="maximize",
        score=r2,
        load=_swiss_roll,
        holdout=(_GENERATED_TRAIN, _GENERATED_TEST),
    ),
    "low-rank": DataSet(
        kind="regression",
        text="sparse linear target on correlated inputs",
        size=f"{_GENERATED_TRAIN} training examples, 20 features",
        metric="rmse",
        goal="minimize",
        score=rmse,
        load=_sparse_linear,
        holdout=(_GENERATED_TRAIN, _GENERATED_TEST),
    ),
}
"""The data sets by name."""
