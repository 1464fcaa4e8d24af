"""Generated data sets: a seed decides size, noise and what there is to learn."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

VALID = 256
"""Examples that metrics are measured on."""
SIDE = 8
"""Height and width of images."""
VOCABULARY = 10
"""Tokens of a language."""

_Array = NDArray[np.float64]


@dataclass(frozen=True)
class Examples:
    """Examples to learn from and examples to measure on.

    Attributes:
        text: What an engineer would say of them.
        inputs: Of training, (N, ...), float32.
        targets: Of training: classes, int64, (N, ...), or numbers, (N, outputs).
        valid_inputs: To measure on, (M, ...).
        valid_targets: Their targets.
        outputs: Classes, or numbers to predict.
    """

    text: str
    inputs: Tensor
    targets: Tensor
    valid_inputs: Tensor
    valid_targets: Tensor
    outputs: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return tuple(self.inputs.shape[1:])


def tabular_classes(seed: int) -> Examples:
    """Rows of numbers in 2 to 6 classes, some of which are labelled wrongly."""
    rng = np.random.default_rng([1, seed])
    train, classes, wrong = _size(rng), int(rng.integers(2, 7)), _wrong(rng)
    inputs, signal, text = _table(rng, train + VALID, classes)
    if rng.random() < 0.35:  # rare classes
        shift = rng.normal(size=classes)
        signal = signal + 1.2 * shift
        text += ", imbalanced"
    labels = _mislabelled(signal.argmax(1), classes, wrong, train, rng)
    text = (
        f"simulated table, {train} training examples, {inputs.shape[1]} features, "
        f"{classes} classes, {text}{_noise_text(wrong)}"
    )
    return _examples(text, inputs, labels, train, classes)


def tabular_values(seed: int) -> Examples:
    """Rows of numbers with a number to predict, standardized."""
    rng = np.random.default_rng([2, seed])
    train, noise = _size(rng), float(rng.choice([0.02, 0.1, 0.3, 0.6, 1.0]))
    inputs, signal, text = _table(rng, train + VALID, 1)
    target = signal[:, 0] / signal[:, 0].std()
    heavy = rng.random() < 0.3
    errors = rng.standard_t(2, len(target)) if heavy else rng.normal(size=len(target))
    target = target + noise * errors * (np.arange(len(target)) < train)  # measured without noise
    text = (
        f"simulated table, {train} training examples, {inputs.shape[1]} features, {text}, "
        f"{'heavy-tailed' if heavy else 'normal'} noise of {noise:g}"
    )
    return _examples(text, inputs, target[:, None], train, 1)


def images(seed: int) -> Examples:
    """Images of 8 by 8 in 3 to 6 classes: stripes, blobs or random textures, moved about."""
    rng = np.random.default_rng([3, seed])
    train, classes, wrong = int(rng.choice([96, 160, 256])), int(rng.integers(3, 7)), _wrong(rng)
    kind = str(rng.choice(["stripes", "blobs", "textures"]))
    noise, moved = float(rng.uniform(0.2, 1.2)), int(rng.integers(0, 3))
    labels = rng.integers(classes, size=train + VALID)
    grid = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij")) / SIDE
    if kind == "stripes":
        angle = np.pi * np.arange(classes) / classes
        phase = rng.uniform(0, 6.3, len(labels))[:, None, None] * (moved > 0)
        waves = rng.uniform(8, 16)
        along = np.cos(angle)[:, None, None] * grid[0] + np.sin(angle)[:, None, None] * grid[1]
        shown = np.sin(waves * along[labels] + phase)
    else:
        spots = 2 if kind == "blobs" else 12
        centres = rng.uniform(0.1, 0.9, size=(classes, spots, 2))
        signs = rng.choice([-1, 1], size=(classes, spots))
        away = ((grid[None, None] - centres[..., None, None]) ** 2).sum(2)
        patterns = (signs[..., None, None] * np.exp(-away / 0.02)).sum(1)
        shown = patterns[labels]
        steps = rng.integers(-moved, moved + 1, size=(len(labels), 2))
        shown = np.stack([np.roll(s, m, (0, 1)) for s, m in zip(shown, steps, strict=True)])
    shown = shown / shown.std() + noise * rng.normal(size=shown.shape)
    labels = _mislabelled(labels, classes, wrong, train, rng)
    text = (
        f"simulated images of {kind}, {SIDE} by {SIDE}, {train} training examples, "
        f"{classes} classes, moved by up to {moved} pixels, noise {noise:.1f}{_noise_text(wrong)}"
    )
    return _examples(text, shown, labels, train, classes)


def series(seed: int) -> Examples:
    """Time series of 12 steps with two channels in 2 to 5 classes of rhythm or order."""
    rng = np.random.default_rng([4, seed])
    train, classes, wrong = int(rng.choice([96, 160, 256])), int(rng.integers(2, 6)), _wrong(rng)
    kind = str(rng.choice(["rhythms", "bursts", "dynamics"]))
    noise, length = float(rng.uniform(0.1, 0.9)), 12
    labels = rng.integers(classes, size=train + VALID)
    time = np.arange(length)
    if kind == "rhythms":
        pace = rng.uniform(0.4, 2.6, size=(classes, 2))
        phase = rng.uniform(0, 6.3, size=(len(labels), 1, 2))
        shown = np.sin(time[None, :, None] * pace[labels][:, None] + phase)
    elif kind == "bursts":  # the class is when one channel fires after the other
        first = rng.integers(0, length - classes, size=len(labels))
        shown = np.zeros((len(labels), length, 2))
        shown[np.arange(len(labels)), first, 0] = 2
        shown[np.arange(len(labels)), first + labels, 1] = 2
    else:
        turns = rng.normal(size=(classes, 2, 2))
        turns = 0.95 * turns / np.linalg.norm(turns, 2, axis=(1, 2))[:, None, None]
        state, states = rng.normal(size=(len(labels), 2)), []
        for _ in time:
            state = np.einsum("nij,nj->ni", turns[labels], state)
            state = state + 0.3 * rng.normal(size=state.shape)
            states.append(state)
        shown = np.stack(states, 1)
    shown = shown / shown.std() + noise * rng.normal(size=shown.shape)
    labels = _mislabelled(labels, classes, wrong, train, rng)
    text = (
        f"simulated time series of {kind}, {length} steps, {train} training examples, "
        f"{classes} classes, noise {noise:.1f}{_noise_text(wrong)}"
    )
    return _examples(text, shown, labels, train, classes)


def forecasts(seed: int) -> Examples:
    """Windows of 12 values of a series with trend, seasons and shocks, and the value after."""
    rng = np.random.default_rng([5, seed])
    train, noise = int(rng.choice([128, 192, 256])), float(rng.uniform(0.05, 0.6))
    period, kind = float(rng.uniform(5, 20)), str(rng.choice(["seasonal", "chaotic", "drifting"]))
    length = train + VALID + 13
    if kind == "chaotic":
        value, values = rng.random(), []
        for _ in range(length):
            value = 3.9 * value * (1 - value)
            values.append(value)
        signal = np.array(values)
    else:
        time = np.arange(length)
        signal = np.sin(2 * np.pi * time / period) + 0.5 * np.sin(4 * np.pi * time / period + 1)
        if kind == "drifting":
            signal = signal + 0.2 * np.cumsum(rng.normal(size=length))
    signal = (signal - signal.mean()) / signal.std() + noise * rng.normal(size=length)
    windows = np.lib.stride_tricks.sliding_window_view(signal, 13)
    text = f"simulated {kind} series, {train} training windows, noise {noise:.2f}"
    return _examples(text, windows[:, :12, None], windows[:, 12:], train, 1)


def language(seed: int) -> Examples:
    """Texts of 8 tokens of a random grammar: each token depends on one or two before it."""
    rng = np.random.default_rng([6, seed])
    train, order = int(rng.choice([96, 144, 208])), 1 + int(rng.random() < 0.25)
    sharpness = float(rng.uniform(1.5, 4.0))
    shape = (VOCABULARY,) * (order + 1)
    chances = np.exp(sharpness * rng.normal(size=shape))
    chances /= chances.sum(-1, keepdims=True)
    count, length = train + VALID // 2, 8
    tokens = rng.integers(VOCABULARY, size=(count, length + 1))
    for place in range(order, length + 1):
        given = chances[tuple(tokens[:, place - order + i] for i in range(order))]
        tokens[:, place] = (given.cumsum(-1) > rng.random((count, 1))).argmax(-1)
    text = (
        f"simulated language of {VOCABULARY} tokens, {train} training texts, "
        f"order {order}, sharpness {sharpness:.1f}"
    )
    return _examples(text, np.eye(VOCABULARY)[tokens[:, :-1]], tokens[:, 1:], train, VOCABULARY)


def algorithms(seed: int) -> Examples:
    """Sequences of 8 tokens and the answer of a small algorithm."""
    rng = np.random.default_rng([7, seed])
    train, length = int(rng.choice([160, 256])), 8
    vocabulary = int(rng.integers(4, 9))
    kind = str(rng.choice(["majority", "comparison", "second token", "parity", "recall"]))
    tokens = rng.integers(vocabulary, size=(train + VALID, length))
    outputs = vocabulary
    if kind == "majority":
        answers = np.array([np.bincount(row, minlength=vocabulary).argmax() for row in tokens])
    elif kind == "comparison":  # whether the first half outweighs the second
        outputs = 2
        answers = (tokens[:, : length // 2].sum(1) > tokens[:, length // 2 :].sum(1)).astype(int)
    elif kind == "second token":
        answers = tokens[:, 1]
    elif kind == "parity":
        outputs, answers = 2, (tokens[:, :2] > vocabulary // 2).sum(1) % 2
    else:  # the token after the first place that holds the last one
        answers = np.array(
            [r[(list(r).index(r[-1]) + 1) % length] if r[-1] in r[:-1] else r[0] for r in tokens]
        )
    text = (
        f"simulated algorithm: {kind}, {length} tokens of {vocabulary}, {train} training examples"
    )
    return _examples(text, np.eye(vocabulary)[tokens], answers, train, outputs)


def point_clouds(seed: int) -> Examples:
    """Sets of 12 points in the plane, in 2 to 4 classes of shape, turned at random."""
    rng = np.random.default_rng([8, seed])
    train, classes, wrong = int(rng.choice([128, 224])), int(rng.integers(2, 5)), _wrong(rng)
    noise, count = float(rng.uniform(0.02, 0.15)), 12
    labels = rng.integers(classes, size=train + VALID)
    around = rng.uniform(0, 2 * np.pi, size=(len(labels), count))
    bumps, flat = np.arange(classes) + 1, rng.uniform(0.3, 1.0, classes)
    sizes = rng.uniform(0.8, 1.3, classes)
    far = (1 + 0.4 * np.cos(bumps[labels][:, None] * around)) * sizes[labels][:, None]
    points = np.stack([far * np.cos(around), flat[labels][:, None] * far * np.sin(around)], -1)
    turn = rng.uniform(0, 2 * np.pi, len(labels)) * (rng.random() < 0.5)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = np.einsum("ijn,npj->npi", matrix, points) + noise * rng.normal(size=points.shape)
    labels = _mislabelled(labels, classes, wrong, train, rng)
    text = (
        f"simulated point clouds, {train} training examples, {classes} classes, "
        f"noise {noise:.2f}{_noise_text(wrong)}"
    )
    return _examples(text, points, labels, train, classes)


def picture(seed: int) -> Examples:
    """Places of one picture of 24 by 24 and its brightness there: half to learn, half to check."""
    rng = np.random.default_rng([9, seed])
    side, detail = 24, float(rng.uniform(1.0, 5.0))
    line = np.linspace(-1, 1, side)
    places = np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    waves = detail * rng.normal(size=(2, 12))
    bright = np.sin(places @ waves + rng.uniform(0, 6, 12)) @ rng.normal(size=12)
    if rng.random() < 0.5:
        bright = np.sign(bright) + 0.1 * bright
    bright = (bright - bright.mean()) / bright.std()
    order = rng.permutation(len(places))[: 288 + VALID]
    text = f"simulated picture, 288 training pixels, detail {detail:.1f}"
    return _examples(text, places[order], bright[order, None], 288, 1)


def _table(rng: np.random.Generator, count: int, outputs: int) -> tuple[_Array, _Array, str]:
    """Inputs, one signal an output, and what they are like."""
    features = int(rng.integers(4, 21))
    used = max(2, round(features * rng.uniform(0.3, 1.0)))
    inputs = rng.normal(size=(count, features))
    if rng.random() < 0.4:  # correlated
        inputs = inputs @ (np.eye(features) + 0.5 * rng.normal(size=(features, features)))
        inputs /= inputs.std(0)
    known = inputs[:, :used]
    kind = str(rng.choice(["linear", "smooth", "clusters", "products", "steps"]))
    if kind == "linear":
        signal = known @ rng.normal(size=(used, outputs))
    elif kind == "smooth":
        width = 12
        hidden = np.tanh(1.5 * known @ rng.normal(size=(used, width)) / math.sqrt(used))
        signal = hidden @ rng.normal(size=(width, outputs))
    elif kind == "clusters":
        centres = rng.normal(size=(3 * max(outputs, 2), used))
        near = np.exp(-((known[:, None] - centres) ** 2).sum(-1) / used)
        signal = near @ rng.normal(size=(len(centres), outputs))
    elif kind == "products":
        pairs = rng.integers(used, size=(2, 2 * used))
        signal = (known[:, pairs[0]] * known[:, pairs[1]]) @ rng.normal(size=(2 * used, outputs))
    else:
        corners = rng.integers(used, size=10)
        signal = (known[:, corners] > rng.normal(size=10)) @ rng.normal(size=(10, outputs))
    signal = signal / (signal.std() + 1e-9)
    return inputs, signal, f"{kind} signal of {used} features"


def _examples(
    text: str, inputs: _Array, targets: NDArray[np.generic], train: int, outputs: int
) -> Examples:
    shown = torch.from_numpy(np.array(inputs)).float()
    wanted = torch.from_numpy(np.array(targets))
    wanted = wanted.float() if wanted.is_floating_point() else wanted.long()
    return Examples(text, shown[:train], wanted[:train], shown[train:], wanted[train:], outputs)


def _size(rng: np.random.Generator) -> int:
    return int(rng.choice([80, 128, 192, 320]))


def _wrong(rng: np.random.Generator) -> float:
    return float(rng.choice([0.0, 0.0, 0.05, 0.15, 0.3]))


def _noise_text(wrong: float) -> str:
    return f", {100 * wrong:.0f} % wrong labels" if wrong else ", clean labels"


def _mislabelled(
    labels: NDArray[np.int64], classes: int, wrong: float, train: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Labels of which some of those of training are wrong."""
    swapped = (rng.random(len(labels)) < wrong) & (np.arange(len(labels)) < train)
    return np.where(swapped, rng.integers(classes, size=len(labels)), labels)
