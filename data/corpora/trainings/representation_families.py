"""Families that learn representations: autoencoders, contrastive learning, embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from optformer.data.corpora.trainings.columns import Columns
from optformer.data.corpora.trainings.examples import VALID, Examples, images, tabular_classes
from optformer.data.corpora.trainings.family import TrainingFamily
from optformer.data.corpora.trainings.hyperparameters import (
    batch,
    decay,
    dropout,
    epochs,
    rate,
    schedule,
    width,
)
from optformer.data.corpora.trainings.layers import Activation, Linear, Units
from optformer.data.corpora.trainings.layout import Layout
from optformer.data.corpora.trainings.networks import Perceptron
from optformer.data.corpora.trainings.stacked import train_learner
from optformer.data.corpora.trainings.supervised import WORST, regression_metrics
from optformer.data.studies.parameters import Categorical, Float, Int, Ordinal
from optformer.data.studies.spaces import SearchSpace

_WORDS = 40  # of the vocabulary whose words are embedded


class Autoencoder:
    """One hidden layer before and after a code of `code` units, learned from noisy inputs."""

    def __init__(self, columns: Columns, data: Examples) -> None:
        self.layout, self.examples = Layout(columns), len(data.inputs)
        self._data, self._noise = data, columns.numbers("input_noise")[:, None, None]
        size = data.inputs[0].numel()
        self._units, self._code = Units(columns), Units(columns, "code")
        most, count = self._units.most, self._units.count
        self._in = Linear(self.layout, size, most, gain=1.4)
        self._encode = Linear(self.layout, most, self._code.most, fan_in=count)
        self._decode = Linear(self.layout, self._code.most, most, fan_in=self._code.count, gain=1.4)
        self._out = Linear(self.layout, most, size, fan_in=count)
        self._activation = Activation(columns)

    def _rebuilt(self, weights: list[Tensor], inputs: Tensor) -> Tensor:
        hidden = self._activation(self._in(weights, inputs)) * self._units.mask
        code = self._encode(weights, hidden) * self._code.mask
        return self._out(weights, self._activation(self._decode(weights, code)) * self._units.mask)

    def loss(self, weights: list[Tensor], rows: Tensor, noise: torch.Generator) -> Tensor:
        """See `Learner`."""
        inputs = self._data.inputs[rows].flatten(1)
        draw = torch.randn(inputs.shape, generator=noise)
        return (self._rebuilt(weights, inputs + self._noise * draw) - inputs).square().mean((1, 2))

    def measure(self, weights: list[Tensor]) -> dict[str, Tensor]:
        """See `Learner`: noise of a fixed size is to be removed from examples kept apart."""
        inputs = self._data.valid_inputs.flatten(1)
        draw = torch.randn(inputs.shape, generator=torch.Generator().manual_seed(0))
        found = regression_metrics(self._rebuilt(weights, inputs + 0.3 * draw), inputs)
        return {"reconstruction_error": found["rmse"]}


class VariationalAutoencoder:
    """A Gaussian code of `latent` numbers, its divergence weighted by `kl_weight`."""

    def __init__(self, columns: Columns, data: Examples) -> None:
        self.layout, self.examples = Layout(columns), len(data.inputs)
        self._data = data
        self._beta = columns.numbers("kl_weight")
        size = data.inputs[0].numel()
        self._units, self._code = Units(columns), Units(columns, "latent")
        most, count, code = self._units.most, self._units.count, self._code.most
        self._in = Linear(self.layout, size, most, gain=1.4)
        self._mean = Linear(self.layout, most, code, fan_in=count)
        self._spread = Linear(self.layout, most, code, fan_in=count, gain=0.1)
        self._decode = Linear(self.layout, code, most, fan_in=self._code.count, gain=1.4)
        self._out = Linear(self.layout, most, size, fan_in=count)

    def _terms(self, weights: list[Tensor], inputs: Tensor, draw: Tensor) -> tuple[Tensor, Tensor]:
        """Squared error and divergence, nats an example, (K,) each."""
        hidden = torch.relu(self._in(weights, inputs)) * self._units.mask
        mean, spread = self._mean(weights, hidden), self._spread(weights, hidden).clamp(-8, 8)
        code = (mean + (0.5 * spread).exp() * draw) * self._code.mask
        rebuilt = self._out(weights, torch.relu(self._decode(weights, code)) * self._units.mask)
        error = 2.0 * (rebuilt - inputs).square().sum(-1)  # noise of the outputs: .5
        divergence = 0.5 * (mean.square() + spread.exp() - 1 - spread) * self._code.mask
        return error.mean(1), divergence.sum(-1).mean(1)

    def loss(self, weights: list[Tensor], rows: Tensor, noise: torch.Generator) -> Tensor:
        """See `Learner`."""
        inputs = self._data.inputs[rows].flatten(1)
        draw = torch.randn(len(inputs), self._code.most, generator=noise)
        error, divergence = self._terms(weights, inputs, draw)
        return error + self._beta * divergence

    def measure(self, weights: list[Tensor]) -> dict[str, Tensor]:
        """See `Learner`."""
        inputs = self._data.valid_inputs.flatten(1)
        draw = torch.randn(len(inputs), self._code.most, generator=torch.Generator().manual_seed(0))
        error, divergence = self._terms(weights, inputs, draw)
        worst = WORST * float(2.0 * inputs.square().sum(-1).mean())
        return {"negative_elbo": _bounded(error + divergence, worst)}


class Contrastive:
    """A perceptron whose outputs are alike for two views of one example."""

    def __init__(self, columns: Columns, data: Examples) -> None:
        self.network = Perceptron(columns, (data.inputs[0].numel(),), 8)
        self.layout, self.examples, self._data = self.network.layout, len(data.inputs), data
        self._temperature = columns.numbers("temperature")[:, None, None]
        self._noise = columns.numbers("augmentation")[:, None, None]
        self._dropped = columns.numbers("mask_rate")[:, None, None]

    def _view(self, inputs: Tensor, noise: torch.Generator) -> Tensor:
        draw = torch.randn(inputs.shape, generator=noise)
        kept = torch.rand(inputs.shape, generator=noise) >= self._dropped
        return (inputs + self._noise * draw) * kept

    def loss(self, weights: list[Tensor], rows: Tensor, noise: torch.Generator) -> Tensor:
        """See `Learner`."""
        inputs = self._data.inputs[rows].flatten(1)
        one, other = (
            functional.normalize(self.network(weights, self._view(inputs, noise)), dim=-1)
            for _ in range(2)
        )
        alike = one @ other.transpose(1, 2) / self._temperature
        own = alike.diagonal(dim1=1, dim2=2)
        return (alike.logsumexp(-1) - own).mean(1)

    def measure(self, weights: list[Tensor]) -> dict[str, Tensor]:
        """See `Learner`: the class with the nearest mean representation."""
        data = self._data
        learned, shown = (
            self.network.hidden(weights, inputs.flatten(1)).nan_to_num(0.0, 0.0, 0.0)
            for inputs in (data.inputs, data.valid_inputs)
        )
        centres = torch.stack(
            [learned[:, data.targets == c].mean(1) for c in range(data.outputs)], 1
        ).nan_to_num()
        nearest = torch.cdist(shown, centres).argmin(-1)
        return {"accuracy": (nearest == data.valid_targets).double().mean(1)}


class Metric:
    """A perceptron that puts examples of one class nearer than those of others, by a margin."""

    def __init__(self, columns: Columns, data: Examples) -> None:
        self.network = Perceptron(columns, (data.inputs[0].numel(),), columns.largest("dimension"))
        self._kept = Units(columns, "dimension").mask
        self.layout, self.examples, self._data = self.network.layout, len(data.inputs), data
        self._margin = columns.numbers("margin")[:, None]
        self._unit = columns.where("normalize", True)[:, None, None]

    def _embedded(self, weights: list[Tensor], inputs: Tensor) -> Tensor:
        raw = self.network(weights, inputs.flatten(1)) * self._kept
        return torch.where(self._unit, functional.normalize(raw, dim=-1), raw)

    def loss(self, weights: list[Tensor], rows: Tensor, noise: torch.Generator) -> Tensor:
        """See `Learner`."""
        targets = self._data.targets[rows]
        found = self._embedded(weights, self._data.inputs[rows])
        alike = (targets[:, None] == targets).float()
        chance = torch.rand(alike.shape, generator=noise)
        near = (alike - torch.eye(len(rows)) + 0.5 * chance).argmax(1)
        far = (1 - alike + 0.5 * chance).argmax(1)
        pull, push = (
            (found - found[:, other]).square().sum(-1).add(1e-9).sqrt() for other in (near, far)
        )
        return (pull - push + self._margin).clamp_min(0).mean(1)

    def measure(self, weights: list[Tensor]) -> dict[str, Tensor]:
        """See `Learner`: whether the nearest other example is of the same class."""
        found = self._embedded(weights, self._data.valid_inputs).nan_to_num(0.0, 0.0, 0.0)
        away = torch.cdist(found, found) + 1e9 * torch.eye(found.shape[1])
        targets = self._data.valid_targets
        return {"recall_at_1": (targets[away.argmin(-1)] == targets).double().mean(1)}


@dataclass(frozen=True)
class Corpus:
    """Pairs of words that occur near each other, and how alike words are in truth.

    Attributes:
        text: What it is like.
        pairs: Two words each and their distance, (N, 3).
        alike: Similarity of all words, (W, W).
    """

    text: str
    pairs: Tensor
    alike: Tensor


def word_corpus(seed: int) -> Corpus:
    """A text whose topic drifts over a plane on which the words lie."""
    rng = np.random.default_rng([10, seed])
    length, reach = int(rng.choice([250, 400])), float(rng.uniform(0.15, 0.5))
    drift = float(rng.uniform(0.05, 0.4))
    places = rng.uniform(-1, 1, size=(_WORDS, 2))
    popular = rng.exponential(size=_WORDS) ** float(rng.uniform(0.2, 1.2))
    topic, text = np.zeros(2), []
    for _ in range(length):
        topic = np.clip(topic + drift * rng.normal(size=2), -1, 1)
        chances = popular * np.exp(-((places - topic) ** 2).sum(1) / (2 * reach**2)) + 1e-9
        text.append(int(rng.choice(_WORDS, p=chances / chances.sum())))
    pairs = [
        (text[i], text[i + away], away)
        for i in range(length)
        for away in range(1, 7)
        if i + away < length
    ]
    alike = -np.linalg.norm(places[:, None] - places, axis=-1)
    return Corpus(
        f"simulated text of {length} words, vocabulary {_WORDS}, drift {drift:.2f}",
        torch.tensor(pairs),
        torch.from_numpy(alike).float(),
    )


class SkipGram:
    """Word vectors that tell neighbours from random words."""

    def __init__(self, columns: Columns, data: Corpus) -> None:
        self.layout, self.examples, self._data = Layout(columns), len(data.pairs), data
        self._kept = Units(columns, "dimension")
        spread = self._kept.count.rsqrt()
        self._words = self.layout.add(_WORDS, self._kept.most, scale=0.5 * spread)
        self._contexts = self.layout.add(_WORDS, self._kept.most, scale=0.1 * spread)
        self._window = columns.numbers("window")[:, None]
        self._most = columns.largest("negative")
        self._negative = columns.numbers("negative")[:, None, None]

    def loss(self, weights: list[Tensor], rows: Tensor, noise: torch.Generator) -> Tensor:
        """See `Learner`."""
        word, context, away = self._data.pairs[rows].unbind(1)
        used = (away <= self._window).float()
        words = weights[self._words][:, word] * self._kept.mask
        others = torch.randint(_WORDS, (len(rows) * self._most,), generator=noise)
        near = (words * weights[self._contexts][:, context]).sum(-1)
        far = weights[self._contexts][:, others]
        far = torch.unflatten(far, 1, (len(rows), self._most))
        scores = (words[:, :, None] * far).sum(-1)
        counted = (torch.arange(self._most) < self._negative).float()
        loss = -functional.logsigmoid(near) - (functional.logsigmoid(-scores) * counted).sum(-1)
        return (loss * used).sum(1) / used.sum(1).clamp_min(1)

    def measure(self, weights: list[Tensor]) -> dict[str, Tensor]:
        """See `Learner`: correlation of the vectors' cosines with the words' true similarity."""
        words = (weights[self._words] * self._kept.mask).nan_to_num(0.0, 0.0, 0.0)
        words = functional.normalize(words, dim=-1)
        upper = torch.ones(_WORDS, _WORDS).triu(1).bool()
        found = (words @ words.transpose(1, 2))[:, upper].double()
        truth = self._data.alike[upper].double()
        found, truth = found - found.mean(1, keepdim=True), truth - truth.mean()
        size = found.norm(dim=1) * truth.norm()
        return {"similarity_correlation": (found @ truth) / size.clamp_min(1e-9)}


def _bounded(values: Tensor, worst: float) -> Tensor:
    """Values where they are finite and not worse, else the worst."""
    return values.nan_to_num(worst, worst, worst).clamp_max(worst)


def _latent_table(seed: int) -> Examples:
    """Rows of 16 numbers that come from a few latent ones; the rows are their own targets."""
    rng = np.random.default_rng([11, seed])
    train, latent = int(rng.choice([96, 160, 256])), int(rng.integers(2, 7))
    noise, curved = float(rng.uniform(0.02, 0.4)), bool(rng.random() < 0.6)
    hidden = rng.normal(size=(train + VALID, latent))
    shown = hidden @ rng.normal(size=(latent, 16))
    if curved:
        shown = np.tanh(shown) + 0.3 * np.sin(2 * hidden @ rng.normal(size=(latent, 16)))
    shown = shown / shown.std() + noise * rng.normal(size=shown.shape)
    inputs = torch.from_numpy(shown).float()
    text = (
        f"simulated table, {train} training rows, 16 columns from {latent} latent factors, "
        f"{'curved' if curved else 'linear'}, noise {noise:.2f}"
    )
    return Examples(text, inputs[:train], inputs[:train], inputs[train:], inputs[train:], 16)


REPRESENTATION_FAMILIES = (
    TrainingFamily(
        "denoising-autoencoder",
        ("dimensionality reduction", "denoising", "representation learning"),
        ("denoising autoencoder", "autoencoder"),
        SearchSpace(
            learning_rate=rate(1e-4, 1e-1),
            code=Int(1, 12, description="size of the code"),
            width=width(4, 40),
            input_noise=Float(0.0, 1.5, description="noise added to the inputs"),
            activation=Categorical(["relu", "tanh", "gelu"], description="activation function"),
            weight_decay=decay(1e-6, 1e-1),
            epochs=epochs(3, 20),
        ),
        {"reconstruction_error": "minimize"},
        _latent_table,
        partial(train_learner, learner=Autoencoder),
        {"optimizer": "adamw"},
    ),
    TrainingFamily(
        "image-autoencoder",
        ("image denoising", "image reconstruction"),
        ("autoencoder on images", "denoising autoencoder"),
        SearchSpace(
            learning_rate=rate(1e-4, 1e-1),
            code=Ordinal([2, 4, 8, 16], description="bottleneck size"),
            width=width(8, 48),
            input_noise=Float(0.0, 1.5, description="corruption of the inputs"),
            schedule=schedule("constant", "cosine", "exponential"),
            batch_size=batch(16, 32, 64),
        ),
        {"reconstruction_error": "minimize"},
        images,
        partial(train_learner, learner=Autoencoder),
        {"optimizer": "adam", "epochs": 10},
    ),
    TrainingFamily(
        "variational-autoencoder",
        ("density estimation", "generative modeling", "representation learning"),
        ("variational autoencoder", "VAE"),
        SearchSpace(
            learning_rate=rate(1e-4, 1e-1),
            latent=Int(1, 12, description="latent dimensions"),
            kl_weight=Float(0.03, 10.0, log=True, description="weight of the divergence"),
            width=width(4, 40),
            batch_size=batch(16, 32, 64),
            epochs=epochs(3, 20),
        ),
        {"negative_elbo": "minimize"},
        _latent_table,
        partial(train_learner, learner=VariationalAutoencoder),
        {"optimizer": "adam"},
    ),
    TrainingFamily(
        "contrastive",
        ("self-supervised learning", "contrastive learning", "representation learning"),
        ("contrastive encoder", "SimCLR"),
        SearchSpace(
            learning_rate=rate(1e-4, 1e-1),
            temperature=Float(0.03, 2.0, log=True, description="temperature of the similarities"),
            augmentation=Float(0.02, 1.5, log=True, description="noise of the two views"),
            mask_rate=Float(0.0, 0.7, description="share of the inputs hidden from a view"),
            batch_size=batch(16, 32, 64),
            width=width(8, 40),
            weight_decay=decay(1e-6, 1e-1),
        ),
        {"accuracy": "maximize"},
        tabular_classes,
        partial(train_learner, learner=Contrastive),
        {"optimizer": "adam", "layers": 1, "epochs": 8},
    ),
    TrainingFamily(
        "triplet",
        ("metric learning", "similarity learning", "retrieval"),
        ("triplet network", "embedding network with triplet loss"),
        SearchSpace(
            learning_rate=rate(1e-4, 1e-1),
            margin=Float(0.02, 5.0, log=True, description="margin of the triplet loss"),
            dimension=Int(1, 16, log=True, description="size of the embedding"),
            normalize=Categorical([True, False], description="whether embeddings have length one"),
            dropout=dropout(0.5),
            batch_size=batch(16, 32, 64),
            epochs=epochs(2, 12),
        ),
        {"recall_at_1": "maximize"},
        tabular_classes,
        partial(train_learner, learner=Metric),
        {"optimizer": "adam", "layers": 1, "width": 24, "multiplier": 12.0},
    ),
    TrainingFamily(
        "skip-gram",
        ("word embeddings", "learning word vectors"),
        ("skip-gram with negative sampling", "word2vec"),
        SearchSpace(
            learning_rate=rate(1e-3, 3e0),
            dimension=Int(2, 32, log=True, description="size of the vectors"),
            window=Int(1, 6, description="words before and after"),
            negative=Int(1, 8, log=True, description="negative samples"),
            epochs=epochs(1, 8),
            schedule=schedule("constant", "linear"),
        ),
        {"similarity_correlation": "maximize"},
        word_corpus,
        partial(train_learner, learner=SkipGram),
        {"optimizer": "adagrad", "batch_size": 64, "multiplier": 3.0},
    ),
)
"""Learning without, or beyond, labels."""
