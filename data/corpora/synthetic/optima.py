"""Where functions are best: samples that concentrate on near-optimal points, all modes among them.

A point counts by its normalised regret r (0 the best point found, 1 the median random one): the
samples follow exp(-r / t) at a low temperature t, so that neither ties nor noise pick one optimum
at random, and a parameter that does not matter keeps its whole range. Annealed Metropolis chains
draw them (Kirkpatrick et al. 1983; Del Moral et al. 2006 for the resampled start).
"""

from __future__ import annotations

import torch
from torch import Tensor

from optformer.data.corpora.synthetic.histories import Functions

UNIFORM = 256  # random points of each function, from which the chains start
CHAINS = 24  # of each function
ROUNDS = 16  # in which the temperature falls
MOVES = 4  # of each chain in a round
FIRST_TEMPERATURE = 0.3
LAST_TEMPERATURE = (0.01, 0.05)  # bounds of SHARED / P
SHARED = 0.1  # regret that all parameters share at the end, about twice the mean
STEPS = (0.01, 0.2)  # standard deviations of a step, log-uniform
REDRAWN = 0.1  # chance that a step redraws a choice


def draw_optima(functions: Functions, count: int, generator: torch.Generator) -> Tensor:
    """Draw near-optimal points of each function.

    Args:
        functions: F functions on each of S spaces with P parameters.
        count: Points of each, at most CHAINS.
        generator: Source of randomness, on the functions' device.

    Returns:
        Points, (S, F, count, P), as in `SyntheticSpaces`.
    """
    spaces = functions.spaces
    shape = (spaces.choices.shape[0], functions.per_space)
    parameters = spaces.choices.shape[1]

    def uniform(*size: int) -> Tensor:
        return torch.rand(*shape, *size, generator=generator, device=generator.device)

    values = spaces.legal(uniform(UNIFORM, parameters))
    gains = _feasible(functions.expected(values))  # (S, F, N)
    known = torch.where(gains.isinf(), torch.nan, gains)
    median = known.nanquantile(0.5, -1, keepdim=True).nan_to_num()
    best = gains.amax(-1, keepdim=True)
    last = min(max(SHARED / parameters, LAST_TEMPERATURE[0]), LAST_TEMPERATURE[1])
    cold = 0.0  # inverse of the temperature so far
    for done in torch.linspace(0.0, 1.0, ROUNDS).tolist():
        temperature = FIRST_TEMPERATURE ** (1 - done) * last**done
        scale = (best - median).clamp(min=1e-9)
        weights = _weights((best - gains) / scale, 1 / temperature - cold)
        rows = torch.multinomial(weights.flatten(0, 1), CHAINS, True, generator=generator)
        rows = rows.view(*shape, CHAINS)
        values = torch.gather(values, 2, rows[..., None].expand(-1, -1, -1, parameters))
        gains, cold = torch.gather(gains, 2, rows), 1 / temperature
        for _ in range(MOVES):
            moved = _propose(functions, values, generator)
            found = _feasible(functions.expected(moved))
            best = torch.maximum(best, found.amax(-1, keepdim=True))
            gap = ((found - gains) / (scale * temperature)).clamp(max=0.0)
            accepted = uniform(CHAINS) < gap.exp()
            values = torch.where(accepted[..., None], moved, values)
            gains = torch.where(accepted, found, gains)
    return values[:, :, :count]


def _propose(functions: Functions, values: Tensor, generator: torch.Generator) -> Tensor:
    """One parameter anywhere in its range, or a step of one parameter, or of all."""
    spaces, device = functions.spaces, generator.device
    shape, parameters = values.shape[:-1], values.shape[-1]

    def uniform(*size: int) -> Tensor:
        return torch.rand(*shape, *size, generator=generator, device=device)

    low, high = (torch.tensor(step, device=device).log() for step in STEPS)
    scale = torch.exp(low + (high - low) * uniform(1))
    stepped = spaces.mutate(values, scale, REDRAWN, generator)
    anywhere = spaces.legal(uniform(parameters))
    one = torch.nn.functional.one_hot((uniform() * parameters).long(), parameters).bool()
    kind = uniform(1)
    changed = torch.where(kind < 0.4, anywhere, stepped)
    return torch.where(one | (kind >= 0.7), changed, values)


def _feasible(gains: Tensor) -> Tensor:
    """Gains with failures below everything."""
    return gains.nan_to_num(nan=-torch.inf, posinf=torch.finfo(gains.dtype).max)


def _weights(regret: Tensor, colder: float) -> Tensor:
    """Weights of points, (S, F, N), where the inverse temperature rises by so much.

    They are equal where every point fails.
    """
    weights = torch.exp(-regret * colder).nan_to_num(nan=0.0)
    return torch.where(weights.sum(-1, keepdim=True) > 0, weights, torch.ones_like(weights))
