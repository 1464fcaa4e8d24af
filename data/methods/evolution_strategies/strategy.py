"""The learned evolution strategy: a Gaussian search distribution that a network moves.

Each generation samples candidates from a Gaussian with a deviation for every dimension, and then
moves it: with recombination weights w from the losses (see `network`),

    mean      <- mean + rate_m sum_j w_j (x_j - mean)
    deviation <- deviation + rate_s (sqrt(sum_j w_j (x_j - mean)^2) - deviation)

where the two learning rates of a dimension come from its evolution paths (running averages, on
three time scales, of the steps of the mean in deviations and of the change of the deviation).
The search lies in the unit cube: candidates are clipped to it, and it starts in the middle with a
deviation of 0.25.

Source: US20240127071A1; Lange et al. 2023, "Discovering evolution strategies via
meta-black-box optimization".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from optformer.data.methods.evolution_strategies.network import (
    PATH_RATES,
    Weights,
    fitness_features,
    learning_rates,
    recombination_weights,
)

INITIAL_MEAN, INITIAL_DEVIATION = 0.5, 0.25
_SMALLEST_DEVIATION = 1e-6  # keeps steps in units of the deviation finite


@dataclass(frozen=True)
class SearchState:
    """Where search distributions stand: one for each of M networks, and any dimensions after.

    Attributes:
        mean: Shape (..., D), in [0, 1].
        deviation: Shape (..., D), above 0.
        mean_path: Running averages of the mean's steps in deviations, shape (M, ..., D, 3).
        deviation_path: Running averages of the deviation's relative change, shape (M, ..., D, 3).
        best: Smallest loss so far, infinite at first, shape (M, ...).
        generation: Generations so far.
    """

    mean: Tensor
    deviation: Tensor
    mean_path: Tensor
    deviation_path: Tensor
    best: Tensor
    generation: int


def initial_state(*shape: int, dtype: torch.dtype = torch.float64) -> SearchState:
    """The start in the middle of the cube; `shape` is (M, ..., D)."""
    paths = torch.zeros(*shape, len(PATH_RATES), dtype=dtype)
    return SearchState(
        mean=torch.full(shape, INITIAL_MEAN, dtype=dtype),
        deviation=torch.full(shape, INITIAL_DEVIATION, dtype=dtype),
        mean_path=paths,
        deviation_path=paths,
        best=torch.full(shape[:-1], torch.inf, dtype=dtype),
        generation=0,
    )


def candidates(state: SearchState, noise: Tensor) -> Tensor:
    """Candidates of a generation from standard normal noise, both of shape (M, ..., N, D)."""
    points = state.mean.unsqueeze(-2) + state.deviation.unsqueeze(-2) * noise
    return points.clamp(0.0, 1.0)


def update(weights: Weights, state: SearchState, points: Tensor, losses: Tensor) -> SearchState:
    """The search distribution after one generation.

    Args:
        weights: The networks.
        state: Before the generation.
        points: The candidates, shape (M, ..., N, D), in [0, 1].
        losses: Their values, smaller is better, finite, shape (M, ..., N).
    """
    share = recombination_weights(weights, fitness_features(losses, state.best)).unsqueeze(-1)
    offsets = points - state.mean.unsqueeze(-2)
    step = (share * offsets).sum(-2)
    spread = (share * offsets.square()).sum(-2).sqrt()
    mean_path = _follow(state.mean_path, step / state.deviation)
    deviation_path = _follow(state.deviation_path, spread / state.deviation - 1.0)
    mean_rate, deviation_rate = learning_rates(
        weights, mean_path, deviation_path, state.generation, losses.shape[-1]
    )
    deviation = state.deviation + deviation_rate * (spread - state.deviation)
    return SearchState(
        mean=(state.mean + mean_rate * step).clamp(0.0, 1.0),
        deviation=deviation.clamp_min(_SMALLEST_DEVIATION),
        mean_path=mean_path,
        deviation_path=deviation_path,
        best=torch.minimum(state.best, losses.amin(-1)),
        generation=state.generation + 1,
    )


def minimize(
    weights: Weights,
    function: Callable[[Tensor], Tensor],
    shape: tuple[int, int, int],
    generations: int,
    population: int,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Run the strategy and follow the smallest loss.

    Args:
        weights: The networks. They share the random numbers.
        function: Maps points (M, K, N, D) to losses (M, K, N).
        shape: M, number of functions K, dimension D.
        generations: Number of generations T.
        population: Candidates a generation N.
        generator: Source of randomness.
        dtype: Type of the search.

    Returns:
        Smallest loss after each generation, shape (M, K, T).
    """
    state = initial_state(*shape, dtype=dtype)
    best = []
    for _ in range(generations):
        noise = torch.randn(shape[-2], population, shape[-1], generator=generator, dtype=dtype)
        points = candidates(state, noise)
        state = update(weights, state, points, function(points))
        best.append(state.best)
    return torch.stack(best, dim=-1)


def _follow(path: Tensor, target: Tensor) -> Tensor:
    """Every running average a step nearer to the target, shape (M, ..., D, 3)."""
    rates = path.new_tensor(PATH_RATES)
    return path + rates * (target.unsqueeze(-1) - path)
