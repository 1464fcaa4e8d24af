"""The network of the learned evolution strategy: fitness to weights, paths to learning rates.

Its weights are plain tensors whose first dimension counts networks (M), so that meta-training runs
many at once; in use there is one. Two parts share them:

- *Attention*: the features of each candidate's fitness (z-score, centred rank, improved on the
  best so far) attend to those of the whole population; a softmax over the attended values gives
  recombination weights. Nothing depends on the candidates' order.
- *Rates*: for every dimension, a small network reads the evolution paths of mean and deviation,
  the progress in generations, the dimension and the population size, and answers with the two
  learning rates in (0, 1). Dimension and population size are our addition to the paper.

Source: US20240127071A1; Lange et al. 2023, "Discovering evolution strategies via
meta-black-box optimization".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from optformer.data.studies.errors import CheckpointError

Weights: TypeAlias = Mapping[str, Tensor]
"""Weights of M networks by name, each of shape (M, *SHAPES[name])."""

PATH_RATES = (0.1, 0.5, 0.9)
"""How fast the three evolution paths forget."""

SHIPPED = Path(__file__).parent / "learned_evolution.safetensors"
"""The meta-trained weights inside the package."""

_TIME_SCALES = (1.0, 3.0, 10.0, 30.0, 100.0)  # generations
_FEATURES, _WIDTH, _HIDDEN = 3, 8, 8
_RATE_INPUTS = 2 * len(PATH_RATES) + len(_TIME_SCALES) + 2

SHAPES: dict[str, tuple[int, ...]] = {
    "attention.key": (_FEATURES, _WIDTH),
    "attention.query": (_FEATURES, _WIDTH),
    "attention.value": (_FEATURES,),
    "rates.hidden.bias": (_HIDDEN,),
    "rates.hidden.weight": (_RATE_INPUTS, _HIDDEN),
    "rates.out.bias": (2,),
    "rates.out.weight": (_HIDDEN, 2),
}
"""Name to shape of every weight."""

NUM_WEIGHTS = sum(math.prod(shape) for shape in SHAPES.values())
"""How many numbers the network has."""


def unflatten(vectors: Tensor) -> dict[str, Tensor]:
    """Weights from one vector a network, shape (M, NUM_WEIGHTS)."""
    sizes = [math.prod(shape) for shape in SHAPES.values()]
    parts = torch.split(vectors, sizes, dim=-1)
    return {
        name: part.reshape(-1, *shape)
        for (name, shape), part in zip(SHAPES.items(), parts, strict=True)
    }


def flatten(weights: Weights) -> Tensor:
    """The vectors that `unflatten` makes weights from, shape (M, NUM_WEIGHTS)."""
    return torch.cat([weights[name].flatten(1) for name in SHAPES], dim=1)


def random_weights(generator: torch.Generator, dtype: torch.dtype = torch.float64) -> Weights:
    """An untrained network, from which meta-training starts: normal weights of deviation 0.5."""
    return unflatten(0.5 * torch.randn(1, NUM_WEIGHTS, generator=generator, dtype=dtype))


def load_weights(path: Path = SHIPPED, dtype: torch.dtype = torch.float64) -> Weights:
    """Read a network that `meta_training` wrote; by default the shipped one.

    Raises:
        CheckpointError: The file is missing or does not hold these weights.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read the learned strategy {path}: {error}") from error
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    if shapes != SHAPES:
        raise CheckpointError(
            f"{path} holds weights {shapes}, expected {SHAPES}; meta-train it again"
        )
    return {name: weight.to(dtype).unsqueeze(0) for name, weight in weights.items()}


def save_weights(weights: Weights, path: Path) -> None:
    """Write one network (M = 1) as float32 safetensors."""
    from safetensors.torch import save_file

    save_file({name: weights[name][0].to(torch.float32).contiguous() for name in SHAPES}, path)


def fitness_features(losses: Tensor, best: Tensor) -> Tensor:
    """What the attention reads of each candidate.

    Args:
        losses: Smaller is better, finite, shape (..., N).
        best: Smallest loss of the generations before, maybe infinite, shape (...).

    Returns:
        Z-score, rank centred to [-0.5, 0.5] (ties share one), and whether the candidate improved
        on `best`; shape (..., N, 3).
    """
    centred = losses - losses.mean(-1, keepdim=True)
    deviation = centred.square().mean(-1, keepdim=True).sqrt()
    # The smallest normal number keeps equal losses at zero without moving any other.
    z_score = centred / (deviation + torch.finfo(losses.dtype).tiny)
    pairs = losses.unsqueeze(-1) - losses.unsqueeze(-2)
    rank = pairs.sign().mean(-1) / 2
    improved = (losses < best.unsqueeze(-1)).to(losses.dtype)
    return torch.stack([z_score, rank, improved], dim=-1)


def recombination_weights(weights: Weights, features: Tensor) -> Tensor:
    """How much each candidate counts.

    Args:
        weights: The networks.
        features: `fitness_features`, shape (M, ..., N, 3).

    Returns:
        Positive and adding up to one over the population, shape (M, ..., N).
    """
    query = _linear(features, weights["attention.query"])
    key = _linear(features, weights["attention.key"])
    value = torch.einsum("m...f,mf->m...", features, weights["attention.value"])
    # (M, ..., keys, queries): a softmax over the last dimension would be several times slower.
    attention = (key @ query.transpose(-1, -2) / math.sqrt(_WIDTH)).softmax(-2)
    return (attention * value.unsqueeze(-1)).sum(-2).softmax(-1)


def learning_rates(
    weights: Weights, mean_path: Tensor, deviation_path: Tensor, generation: int, population: int
) -> tuple[Tensor, Tensor]:
    """How far mean and deviation of every dimension move.

    Args:
        weights: The networks.
        mean_path: Evolution paths of the mean, in deviations, shape (M, ..., D, 3).
        deviation_path: Evolution paths of the deviation, shape (M, ..., D, 3).
        generation: Generations before this one.
        population: Candidates of this generation.

    Returns:
        Two rates in (0, 1), each of shape (M, ..., D).
    """
    dimension = mean_path.shape[-2]
    constants = [math.tanh(generation / scale - 1.0) for scale in _TIME_SCALES]
    constants += [math.log(dimension) - 1.5, math.log(population) - 2.0]
    shared = mean_path.new_tensor(constants).expand(*mean_path.shape[:-1], len(constants))
    inputs = torch.cat([mean_path, deviation_path, shared], dim=-1)
    hidden = torch.tanh(
        _linear(inputs, weights["rates.hidden.weight"], weights["rates.hidden.bias"])
    )
    rates = torch.sigmoid(_linear(hidden, weights["rates.out.weight"], weights["rates.out.bias"]))
    return rates[..., 0], rates[..., 1]


def _linear(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Each network's own linear map of inputs (M, ..., in) by its weight (M, in, out)."""
    outputs = torch.einsum("m...i,mio->m...o", inputs, weight)
    if bias is None:
        return outputs
    return outputs + bias.reshape(len(bias), *[1] * (inputs.dim() - 2), -1)
