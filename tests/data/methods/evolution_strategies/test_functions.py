"""The family of functions."""

from __future__ import annotations

import torch

from optformer.data.methods.evolution_strategies.functions import draw_bowls


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_functions__optimum__is_the_zero_and_the_least() -> None:
    family = draw_bowls(50, 4, generator(), torch.float64)
    assert torch.allclose(family(family.optimum[:, None, :]), torch.zeros(50, 1).double())
    assert bool((family(torch.rand(50, 200, 4, generator=generator(1)).double()) > 0).all())


def test_functions__typical_value__is_about_one() -> None:
    family = draw_bowls(50, 3, generator(), torch.float64)
    points = torch.rand(50, 4000, 3, generator=generator(1), dtype=torch.float64)
    assert bool(((family(points).mean(-1) - 1).abs() < 0.3).all())


def test_functions__one_seed__repeats_itself_and_another_does_not() -> None:
    points = torch.rand(5, 7, 3, generator=generator(1))
    first, again, other = (draw_bowls(5, 3, generator(seed))(points) for seed in (0, 0, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_functions__leading_dimensions__are_evaluated_alike() -> None:
    family = draw_bowls(5, 3, generator())
    points = torch.rand(2, 5, 7, 3, generator=generator(1))
    assert torch.allclose(family(points)[1], family(points[1]))
