"""Families that learn who likes what: matrix factorization, ranking, click prediction."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from optformer.data.corpora.trainings.columns import Columns
from optformer.data.corpora.trainings.examples import VALID
from optformer.data.corpora.trainings.family import TrainingFamily
from optformer.data.corpora.trainings.hyperparameters import batch, dropout, epochs, rate, schedule
from optformer.data.corpora.trainings.layers import Dropout, Units
from optformer.data.corpora.trainings.layout import Layout
from optformer.data.corpora.trainings.stacked import train_learner
from optformer.data.corpora.trainings.supervised import classification_metrics, regression_metrics
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal
from optformer.data.studies.spaces import SearchSpace

_USERS, _ITEMS = 50, 40
_FIELDS, _LEVELS = 5, 8  # of clicks


@dataclass(frozen=True)
class Interactions:
    """Users and items, (N, 2), with what came of it, (N,); some kept apart.

    Attributes:
        text: What they are like.
        pairs: Users and items, or the levels of all fields, of training.
        values: Ratings, or 1 for liked, of training.
        valid_pairs: Kept apart.
        valid_values: Kept apart.
    """

    text: str
    pairs: Tensor
    values: Tensor
    valid_pairs: Tensor
    valid_values: Tensor


def ratings(seed: int) -> Interactions:
    """Ratings that follow tastes of low rank."""
    rng = np.random.default_rng([20, seed])
    rank, noise = int(rng.integers(1, 6)), float(rng.uniform(0.1, 0.9))
    count = int(rng.choice([300, 600, 900]))
    tastes = rng.normal(size=(_USERS, rank)) @ rng.normal(size=(rank, _ITEMS)) / np.sqrt(rank)
    scores = tastes + 0.5 * rng.normal(size=(_USERS, 1)) + 0.5 * rng.normal(size=(1, _ITEMS))
    cells = rng.permutation(_USERS * _ITEMS)[: count + VALID]
    pairs = np.stack(np.divmod(cells, _ITEMS), 1)
    values = scores[pairs[:, 0], pairs[:, 1]] + noise * rng.normal(size=len(cells))
    text = (
        f"simulated ratings, {_USERS} users, {_ITEMS} items, {count} ratings, "
        f"{rank} tastes, noise {noise:.1f}"
    )
    return _interactions(text, pairs, values, count)


def likes(seed: int) -> Interactions:
    """What users chose: pairs of training are all liked, those kept apart half."""
    rng = np.random.default_rng([21, seed])
    rank, sharpness = int(rng.integers(1, 6)), float(rng.uniform(0.8, 3.0))
    count = int(rng.choice([200, 350, 500]))
    tastes = rng.normal(size=(_USERS, rank)) @ rng.normal(size=(rank, _ITEMS)) / np.sqrt(rank)
    chances = np.exp(sharpness * (tastes + 0.7 * rng.normal(size=_ITEMS))).ravel()
    half = VALID // 2
    liked = rng.choice(len(chances), count + half, replace=False, p=chances / chances.sum())
    others = rng.permutation(np.setdiff1d(np.arange(len(chances)), liked))[:half]
    pairs = np.stack(np.divmod(np.concatenate([liked, others]), _ITEMS), 1)
    values = np.concatenate([np.ones(count + half), np.zeros(half)])
    text = f"simulated likes, {_USERS} users, {_ITEMS} items, {count} likes, {rank} tastes"
    return _interactions(text, pairs, values, count)


def clicks(seed: int) -> Interactions:
    """Clicks on advertisements, by five categories that interact."""
    rng = np.random.default_rng([22, seed])
    count, rank = int(rng.choice([192, 320, 512])), int(rng.integers(1, 4))
    strength, bias = float(rng.uniform(0.5, 2.5)), float(rng.uniform(-1.5, 0.0))
    popular = rng.dirichlet(np.full(_LEVELS, 0.6), size=_FIELDS)
    levels = np.stack([rng.choice(_LEVELS, size=count + VALID, p=shares) for shares in popular], 1)
    vectors = rng.normal(size=(_FIELDS, _LEVELS, rank))
    found = vectors[np.arange(_FIELDS), levels]
    cross = 0.5 * ((found.sum(1) ** 2) - (found**2).sum(1)).sum(-1)
    single = rng.normal(size=(_FIELDS, _LEVELS))[np.arange(_FIELDS), levels].sum(1)
    score = strength * (cross / cross.std() + single / single.std()) / 1.4 + bias
    clicked = rng.random(len(score)) < 1 / (1 + np.exp(-score))
    text = f"simulated clicks, {_FIELDS} fields of {_LEVELS} categories, {count} training examples"
    return _interactions(text, levels + _LEVELS * np.arange(_FIELDS), clicked.astype(float), count)


class Factors:
    """Users and items as vectors of `factors` numbers, with a bias each."""

    def __init__(self, columns: Columns, data: Interactions) -> None:
        self.layout, self.examples = Layout(columns), len(data.pairs)
        self._data = data
        self._kept = Units(columns, "factors")
        spread = columns.numbers("init_scale") * self._kept.count.rsqrt()
        self._users = self.layout.add(_USERS, self._kept.most, scale=spread)
        self._items = self.layout.add(_ITEMS, self._kept.most, scale=spread)
        self._biases = self.layout.add(_USERS + _ITEMS)
        self._reg = columns.numbers("reg")

    def _scores(self, weights: list[Tensor], users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and squared size of what they are made of, (K, N) each."""
        mask = self._kept.mask
        user = weights[self._users][:, users] * mask
        item = weights[self._items][:, items] * mask
        bias = weights[self._biases]
        both = bias[:, users] + bias[:, _USERS + items]
        size = user.square().sum(-1) + item.square().sum(-1) + both.square()
        return (user * item).sum(-1) + both, size

    def loss(self, weights: list[Tensor], rows: Tensor, noise: torch.Generator) -> Tensor:
        """See `Learner`."""
        users, items = self._data.pairs[rows].unbind(1)
        found, size = self._scores(weights, users, items)
        error = found - self._data.values[rows]
        return 0.5 * (error.square().mean(1) + self._reg * size.mean(1))

    def measure(self, weights: list[Tensor]) -> dict[str, Tensor]:
        """See `Learner`."""
        found, _ = self._scores(weights, *self._data.valid_pairs.unbind(1))
        return regression_metrics(found[..., None].double(), self._data.valid_values[:, None])


class Ranking(Factors):
    """Items a user chose rank above random ones (Bayesian personalized ranking)."""

    def __init__(self, columns: Columns, data: Interactions) -> None:
        super().__init__(columns, data)
        self._most = columns.largest("negatives")
        self._negatives = columns.numbers("negatives")[:, None, None]

    def loss(self, weights: list[Tensor], rows: Tensor, noise: torch.Generator) -> Tensor:
        """See `Learner`."""
        users, items = self._data.pairs[rows].unbind(1)
        others = torch.randint(_ITEMS, (len(rows) * self._most,), generator=noise)
        liked, size = self._scores(weights, users, items)
        other, _ = self._scores(weights, users.repeat_interleave(self._most), others)
        gap = liked[..., None] - torch.unflatten(other, 1, (-1, self._most))
        counted = (torch.arange(self._most) < self._negatives).float()
        loss = -(functional.logsigmoid(gap) * counted).sum(-1) / self._negatives[..., 0]
        return loss.mean(1) + 0.5 * self._reg * size.mean(1)

    def measure(self, weights: list[Tensor]) -> dict[str, Tensor]:
        """See `Learner`."""
        found, _ = self._scores(weights, *self._data.valid_pairs.unbind(1))
        return {"auc": area_under_curve(found.nan_to_num(), self._data.valid_values)}


class FactorizationMachine:
    """A linear model of categories and of the products of their vectors."""

    def __init__(self, columns: Columns, data: Interactions) -> None:
        self.layout, self.examples = Layout(columns), len(data.pairs)
        self._data = data
        self._kept = Units(columns, "embed_dim")
        spread = columns.numbers("init_scale") * self._kept.count.rsqrt()
        self._vectors = self.layout.add(_FIELDS * _LEVELS, self._kept.most, scale=spread)
        self._single = self.layout.add(_FIELDS * _LEVELS)
        self._bias = self.layout.add(1)
        self._reg = columns.numbers("reg")
        self._dropout = Dropout(columns)

    def _scores(
        self, weights: list[Tensor], levels: Tensor, noise: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Scores and squared size of what they are made of, (K, N) each."""
        flat = weights[self._vectors][:, levels.flatten()] * self._kept.mask
        found = torch.unflatten(self._dropout(flat, noise), 1, levels.shape)
        cross = 0.5 * (found.sum(2).square() - found.square().sum(2)).sum(-1)
        alone = weights[self._single][:, levels.flatten()]
        single = torch.unflatten(alone, 1, levels.shape).sum(-1)
        return cross + single + weights[self._bias], found.square().sum((2, 3))

    def loss(self, weights: list[Tensor], rows: Tensor, noise: torch.Generator) -> Tensor:
        """See `Learner`."""
        found, size = self._scores(weights, self._data.pairs[rows], noise)
        wanted = self._data.values[rows].expand_as(found)
        loss = functional.binary_cross_entropy_with_logits(found, wanted, reduction="none")
        return loss.mean(1) + 0.5 * self._reg * size.mean(1)

    def measure(self, weights: list[Tensor]) -> dict[str, Tensor]:
        """See `Learner`."""
        found, _ = self._scores(weights, self._data.valid_pairs)
        wanted = self._data.valid_values
        both = torch.stack([torch.zeros_like(found), found], -1).double()
        loss = classification_metrics(both, wanted.long())["log_loss"]
        share = float(wanted.mean())
        constant = float(torch.special.entr(torch.tensor([share, 1 - share])).sum())
        auc = area_under_curve(found.nan_to_num(), wanted)
        return {"auc": auc, "log_loss": loss.clamp_max(10 * constant)}


def area_under_curve(scores: Tensor, wanted: Tensor) -> Tensor:
    """How often one of those wanted scores above one that is not, ties counting half, (K,).

    Args:
        scores: (K, M).
        wanted: 1 or 0, (M,).
    """
    good, bad = scores[:, wanted > 0, None], scores[:, None, wanted == 0]
    return (good > bad).double().mean((1, 2)) + 0.5 * (good == bad).double().mean((1, 2))


def _interactions(text: str, pairs: Any, values: Any, train: int) -> Interactions:
    told, found = torch.from_numpy(pairs).long(), torch.from_numpy(values).float()
    return Interactions(text, told[:train], found[:train], told[train:], found[train:])


_REG = Float(1e-5, 1e0, log=True, description="L2 regularization of the factors")

RECOMMENDATION_FAMILIES = (
    TrainingFamily(
        "matrix-factorization",
        ("recommendation", "rating prediction", "collaborative filtering"),
        ("matrix factorization", "biased matrix factorization", "SVD recommender"),
        SearchSpace(
            factors=Int(1, 24, log=True, description="number of latent factors"),
            learning_rate=rate(1e-3, 1e0),
            reg=_REG,
            epochs=epochs(3, 30),
            init_scale=Float(0.01, 1.0, log=True, description="size of the initial factors"),
        ),
        {"rmse": "minimize", "mae": "minimize"},
        ratings,
        partial(train_learner, learner=Factors),
        {"optimizer": "momentum", "momentum": 0.9, "batch_size": 64, "multiplier": 3.0},
    ),
    TrainingFamily(
        "adaptive-factorization",
        ("rating prediction", "recommendation"),
        ("matrix factorization trained with adaptive steps", "latent factor model"),
        SearchSpace(
            optimizer=Categorical(["adam", "adagrad", "rmsprop"], description="optimizer"),
            learning_rate=rate(1e-4, 1e0),
            factors=Int(2, 16, log=True, description="embedding dimension"),
            reg=_REG,
            batch_size=batch(32, 64, 128),
            momentum=Float(
                0.0, 0.95, when={"optimizer": ["adam", "rmsprop"]}, description="momentum"
            ),
        ),
        {"rmse": "minimize", "mae": "minimize"},
        ratings,
        partial(train_learner, learner=Factors),
        {"init_scale": 0.3, "epochs": 12, "multiplier": 4.0},
    ),
    TrainingFamily(
        "personalized-ranking",
        ("item recommendation", "implicit feedback", "ranking"),
        ("Bayesian personalized ranking", "BPR matrix factorization"),
        SearchSpace(
            factors=Int(1, 24, log=True, description="number of latent factors"),
            learning_rate=rate(1e-4, 1e0),
            reg=_REG,
            negatives=Int(1, 4, description="items sampled against each choice"),
            epochs=epochs(3, 20),
            batch_size=batch(64, 128),
        ),
        {"auc": "maximize"},
        likes,
        partial(train_learner, learner=Ranking),
        {"optimizer": "adam", "init_scale": 0.3, "multiplier": 4.0},
    ),
    TrainingFamily(
        "factorization-machine",
        ("click-through rate prediction", "classification of categories", "advertising"),
        ("factorization machine", "FM"),
        SearchSpace(
            embed_dim=Int(1, 16, log=True, description="size of the embeddings"),
            learning_rate=rate(1e-4, 1e0),
            reg=_REG,
            dropout=dropout(0.6, "dropout of the embeddings"),
            schedule=schedule("constant", "exponential"),
            epochs=epochs(1, 15),
            batch_size=Ordinal([16, 32, 64], description="mini-batch size"),
        ),
        {"auc": "maximize", "log_loss": "minimize"},
        clicks,
        partial(train_learner, learner=FactorizationMachine),
        {"optimizer": "adam", "init_scale": 0.3, "multiplier": 3.0},
    ),
)
"""Recommendation and click prediction."""
