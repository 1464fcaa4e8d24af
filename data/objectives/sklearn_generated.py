"""Seeded generated data sets without end: `classification-<seed>` and `regression-<seed>`.

The seed decides everything: how many examples and features there are, which features carry signal,
how they are distributed and scaled, the shape of the signal, the noise, and the metric. None is of
the Friedman family, which the development suite uses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from optformer.data.objectives import fitting
from optformer.data.objectives.fitting import Array, Score
from optformer.data.objectives.sklearn_data import DataSet, Kind
from optformer.data.studies.study_config import Goal

KINDS: tuple[Kind, Kind] = ("classification", "regression")
_TEST = 250
_METRICS: Mapping[Kind, Mapping[str, tuple[Goal, Score]]] = {
    "classification": {
        "accuracy": ("maximize", fitting.accuracy),
        "balanced_accuracy": ("maximize", fitting.balanced_accuracy),
        "log_loss": ("minimize", fitting.log_loss),
        "roc_auc": ("maximize", fitting.roc_auc),
        "f1_macro": ("maximize", fitting.f1_macro),
    },
    "regression": {
        "rmse": ("minimize", fitting.rmse),
        "mae": ("minimize", fitting.mae),
        "r2": ("maximize", fitting.r2),
    },
}
_MARGINALS = {
    "normal": "",
    "uniform": ", bounded features",
    "skewed": ", skewed features",
    "heavy-tailed": ", heavy-tailed features",
    "discrete": ", partly discrete features",
}
_FEWEST = 0.1  # share of the rarest class


def is_generated(name: str) -> bool:
    """Whether this is the name of a generated data set."""
    kind, _, seed = name.partition("-")
    return kind in KINDS and seed.isascii() and seed.isdigit() and str(int(seed)) == seed


def generated_dataset(name: str) -> DataSet:
    """The data set of that name; only its description is drawn until it is loaded.

    Args:
        name: `classification-<seed>` or `regression-<seed>`.
    """
    kind: Kind = "classification" if name.startswith("classification") else "regression"
    seed = int(name.rpartition("-")[2])
    rng = np.random.default_rng([KINDS.index(kind), seed])
    train = round(80 * (250 / 80) ** rng.random())
    features = round(2 * 12 ** rng.random())
    informative = max(1, round(features * rng.uniform(0.25, 1.0)))
    marginal = str(rng.choice(list(_MARGINALS)))
    inputs = partial(
        _inputs,
        features=features,
        marginal=marginal,
        mixed=rng.random() < 0.5,
        units=rng.random() < 0.4,
    )
    if kind == "classification":
        text, targets, classes = _classes(rng)
    else:
        text, targets, classes = *_response(rng), 0
    metric = str(rng.choice(list(_METRICS[kind])))
    goal, score = _METRICS[kind][metric]
    size = f"{train} training examples, {features} features"
    return DataSet(
        kind=kind,
        text=f"simulated: {text}, {informative} of {features} features informative"
        + _MARGINALS[marginal],
        size=size + (f", {classes} classes" if classes else ""),
        metric=metric,
        goal=goal,
        score=score,
        load=partial(_load, kind, seed, train + _TEST, informative, inputs, targets),
        holdout=(train, _TEST),
    )


def _load(
    kind: Kind,
    seed: int,
    examples: int,
    informative: int,
    inputs: Callable[[int, np.random.Generator], tuple[Array, Array]],
    targets: Callable[[Array, np.random.Generator], Array],
) -> tuple[Array, Array]:
    rng = np.random.default_rng([KINDS.index(kind), seed, 1])
    latent, shown = inputs(examples, rng)
    carriers = rng.permutation(latent.shape[1])[:informative]
    return shown, targets(latent[:, carriers], rng)


def _inputs(
    examples: int,
    rng: np.random.Generator,
    *,
    features: int,
    marginal: str,
    mixed: bool,
    units: bool,
) -> tuple[Array, Array]:
    """Normal latent features, and the same as the model sees them."""
    latent = rng.normal(size=(examples, features))
    if mixed:
        latent = latent @ (np.eye(features) + 0.7 * rng.normal(size=(features, features)))
        latent /= latent.std(axis=0)
    if marginal == "uniform":
        shown = np.tanh(0.8 * latent)
    elif marginal == "skewed":
        shown = np.exp(latent)
    elif marginal == "heavy-tailed":
        shown = np.sinh(1.3 * latent)
    elif marginal == "discrete":
        shown = np.where(rng.random(features) < 0.6, np.round(1.5 * latent), latent)
    else:
        shown = latent
    if units:
        shown = shown * 10 ** rng.uniform(-2, 3, features) + 10 * rng.normal(size=features)
    return latent, shown


def _classes(
    rng: np.random.Generator,
) -> tuple[str, Callable[[Array, np.random.Generator], Array], int]:
    """What divides the classes, in words and as a function, and how many there are."""
    count = int(rng.choice([2, 2, 2, 3, 4, 5]))
    shares = np.full(count, 1 / count)
    balance = "balanced"
    if rng.random() < 0.5:
        shares = _FEWEST + (1 - count * _FEWEST) * rng.dirichlet(np.ones(count))
        balance = "imbalanced"
    wrong = float(rng.choice([0.0, 0.02, 0.05, 0.1, 0.2]))
    shape = str(rng.choice(["clusters", *_SIGNALS]))
    noise = f"{100 * wrong:.0f} % wrong labels" if wrong else "clean labels"
    targets = partial(_labels, shape=shape, shares=shares, wrong=wrong)
    return f"{balance} classes, {_WORDS[shape]}, {noise}", targets, count


def _labels(
    latent: Array, rng: np.random.Generator, *, shape: str, shares: Array, wrong: float
) -> Array:
    examples, features = latent.shape
    if shape == "clusters":  # the nearest of several centres, each class owning some
        centres = rng.normal(size=(3 * len(shares), features))
        near = ((latent[:, None] - centres) ** 2).sum(-1) + rng.gumbel(size=len(centres))
        signal = (near.argmin(1) % len(shares)) + 0.01 * rng.random(examples)
    else:
        signal = _SIGNALS[shape](latent, rng)
    ranks = signal.argsort().argsort()
    labels: Array = np.searchsorted(np.cumsum(shares)[:-1], (ranks + 0.5) / examples)
    swapped = rng.random(examples) < wrong
    return np.where(swapped, rng.integers(len(shares), size=examples), labels)


def _response(
    rng: np.random.Generator,
) -> tuple[str, Callable[[Array, np.random.Generator], Array]]:
    """How the target comes about, in words and as a function."""
    shape = str(rng.choice(list(_SIGNALS)))
    noise = float(0.03 * (1.0 / 0.03) ** rng.random())
    errors = str(rng.choice(["normal", "normal", "heavy-tailed", "growing"]))
    skewed = bool(rng.random() < 0.3)
    targets = partial(_values, shape=shape, noise=noise, errors=errors, skewed=skewed)
    return f"{'skewed target, ' if skewed else ''}{_WORDS[shape]}, {errors} noise", targets


def _values(
    latent: Array,
    rng: np.random.Generator,
    *,
    shape: str,
    noise: float,
    errors: str,
    skewed: bool,
) -> Array:
    signal = _SIGNALS[shape](latent, rng)
    signal = (signal - signal.mean()) / (signal.std() or 1.0)
    draw = (
        rng.standard_t(2, len(signal)) if errors == "heavy-tailed" else rng.normal(size=len(signal))
    )
    if errors == "growing":
        draw = draw * np.exp(signal.clip(-3, 3)) / 2
    target = signal + noise * draw
    if skewed:
        target = np.exp(target.clip(-5, 5))
    unit = 10 ** rng.uniform(-2, 4)
    values: Array = unit * (target + rng.normal())
    return values


def _linear(latent: Array, rng: np.random.Generator) -> Array:
    signal: Array = latent @ rng.normal(size=latent.shape[1])
    return signal


def _additive(latent: Array, rng: np.random.Generator) -> Array:
    effects: list[Callable[[Array], Array]] = [np.abs, np.square, np.sin, np.tanh]
    columns = [
        rng.normal() * effects[int(rng.integers(len(effects)))](2 * column + rng.normal())
        for column in latent.T
    ]
    signal: Array = np.sum(columns, axis=0)
    return signal


def _smooth(latent: Array, rng: np.random.Generator) -> Array:
    hidden = np.tanh(latent @ rng.normal(size=(latent.shape[1], 10)) + rng.normal(size=10))
    signal: Array = hidden @ rng.normal(size=10)
    return signal


def _interactions(latent: Array, rng: np.random.Generator) -> Array:
    pairs = rng.integers(latent.shape[1], size=(2, latent.shape[1] + 1))
    products = latent[:, pairs[0]] * latent[:, pairs[1]]
    signal: Array = products @ rng.normal(size=pairs.shape[1]) + 0.5 * _linear(latent, rng)
    return signal


def _steps(latent: Array, rng: np.random.Generator) -> Array:
    corners = rng.integers(latent.shape[1], size=(2, 12))
    boxes = (latent[:, corners[0]] > rng.normal(size=12)) & (
        latent[:, corners[1]] > rng.normal(size=12)
    )
    return boxes @ rng.normal(size=12) + 1e-3 * rng.normal(size=len(latent))


def _waves(latent: Array, rng: np.random.Generator) -> Array:
    waves = rng.normal(size=(latent.shape[1], 3)) * rng.uniform(1.0, 3.0) / latent.shape[1] ** 0.5
    signal: Array = np.cos(latent @ waves + rng.uniform(0, 6, 3)) @ rng.normal(size=3)
    return signal


def _radial(latent: Array, rng: np.random.Generator) -> Array:
    signal: Array = np.linalg.norm(latent - 0.5 * rng.normal(size=latent.shape[1]), axis=1)
    return signal


_SIGNALS: dict[str, Callable[[Array, np.random.Generator], Array]] = {
    "linear": _linear,
    "additive": _additive,
    "smooth": _smooth,
    "interactions": _interactions,
    "steps": _steps,
    "waves": _waves,
    "radial": _radial,
}
_WORDS = {
    "clusters": "several clusters a class",
    "linear": "linear signal",
    "additive": "sum of one-dimensional effects",
    "smooth": "smooth nonlinear signal",
    "interactions": "products of features",
    "steps": "axis-aligned steps",
    "waves": "periodic signal",
    "radial": "distance from a centre",
}
