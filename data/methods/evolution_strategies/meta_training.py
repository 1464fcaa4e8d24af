"""Meta-train the learned evolution strategy.

The command is `python -m optformer.data.methods.evolution_strategies.meta_training`.

An outer evolution strategy (CMA-ES of the cmaes library) searches the network's weights. Each
outer generation draws functions of the family in `functions`, of one random dimension, and a
random population size and budget; every candidate network runs the inner strategy on all of them
with the same random numbers. A network's fitness is the mean over functions of the z-score, among
the networks, of the logarithm of its best loss. Then the weights are frozen and shipped.

Parameters with defaults: 1,523 outer generations of 32 networks on 32 functions, initial deviation
0.5 around one random network; dimensions 2 to 8, populations 6 to 16, budgets 50 to 250.

Source: US20240127071A1; Lange et al. 2023, "Discovering evolution strategies via
meta-black-box optimization".
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from optformer.data.methods.evolution_strategies.functions import Bowls, draw_bowls
from optformer.data.methods.evolution_strategies.network import (
    SHIPPED,
    Weights,
    flatten,
    random_weights,
    save_weights,
    unflatten,
)
from optformer.data.methods.evolution_strategies.strategy import minimize
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.extras import importing

DIMENSIONS, POPULATIONS, BUDGETS = (2, 8), (6, 16), (50, 250)
"""Ranges of the inner searches, bounds included."""

_NETWORKS, _FUNCTIONS = 32, 32
_INITIAL_DEVIATION = 0.5
_FLOOR = 1e-8  # losses below this are as good as zero


def meta_train(
    generations: int,
    seed: int,
    *,
    networks: int = _NETWORKS,
    functions: int = _FUNCTIONS,
    report: Callable[[int, float], None] = lambda generation, loss: None,
) -> Weights:
    """Search the network's weights.

    Args:
        generations: Outer generations, at least 1.
        seed: Decides everything.
        networks: Candidate networks an outer generation.
        functions: Functions each of them is run on.
        report: Called after each outer generation with its number and the mean over functions and
            networks of the decimal logarithm of the best loss (0 is a random point's).

    Returns:
        The outer strategy's mean when it ended.

    Raises:
        ConfigError: `generations` is below 1.
        MissingExtraError: cmaes is not installed.
    """
    with importing("meta-training", "cmaes"):
        from cmaes import CMA
    if generations < 1:
        raise ConfigError(f"generations must be at least 1, got {generations}")
    generator = torch.Generator().manual_seed(seed)
    start = flatten(random_weights(generator))[0]
    outer = CMA(mean=start.numpy(), sigma=_INITIAL_DEVIATION, population_size=networks, seed=seed)
    for generation in range(generations):
        vectors = [outer.ask() for _ in range(networks)]
        weights = unflatten(torch.tensor(np.stack(vectors), dtype=torch.float32))
        losses = _final_losses(weights, networks, functions, generator)  # (networks, functions)
        deviation = losses.std(0).clamp_min(1e-6)
        fitness = ((losses - losses.mean(0)) / deviation).mean(1)
        outer.tell(list(zip(vectors, fitness.tolist(), strict=True)))
        report(generation, float(losses.mean()))
    return unflatten(torch.tensor(outer.mean).unsqueeze(0))


def _final_losses(
    weights: Weights, networks: int, functions: int, generator: torch.Generator
) -> Tensor:
    """Logarithm of the best loss of every network on every function of a random setting."""

    def draw(bounds: tuple[int, int]) -> int:
        return int(torch.randint(bounds[0], bounds[1] + 1, (), generator=generator))

    dimension, population, budget = draw(DIMENSIONS), draw(POPULATIONS), draw(BUDGETS)
    members: Bowls = draw_bowls(functions, dimension, generator)
    best = minimize(
        weights,
        members,
        (networks, functions, dimension),
        generations=max(budget // population, 2),
        population=population,
        generator=generator,
        dtype=torch.float32,
    )
    return (best[..., -1] + _FLOOR).log10()


def main(arguments: Sequence[str] | None = None) -> None:
    """Meta-train from the command line and write the weights."""
    from tqdm import tqdm

    parser = argparse.ArgumentParser(description="Meta-train the learned evolution strategy.")
    parser.add_argument("--generations", type=int, default=1523, help="outer generations")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=SHIPPED, help="file of the weights")
    options = parser.parse_args(arguments)
    if options.generations < 1 or options.seed < 0:
        parser.error("--generations must be at least 1 and --seed at least 0")
    if not options.out.parent.is_dir():  # it is written when the search of hours has ended
        parser.error(f"there is no folder {options.out.parent} for --out")
    with tqdm(total=options.generations, unit="generation", mininterval=5) as bar:
        running: list[float] = []

        def report(generation: int, loss: float) -> None:
            running.append(loss)
            recent = running[-100:]
            bar.set_postfix(log10_loss=f"{sum(recent) / len(recent):.3f}", refresh=False)
            bar.update()

        weights = meta_train(
            options.generations,
            options.seed,
            report=report,
        )
    save_weights(weights, options.out)


if __name__ == "__main__":
    main()
