from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from optformer.data.corpora.synthetic.functions import SyntheticFunctions, draw_functions
from optformer.data.corpora.synthetic.optima import CHAINS, draw_optima
from optformer.data.corpora.synthetic.spaces import SyntheticSpaces, draw_spaces


class _TwoPeaks:
    """Peaks at .2 and .8 of the first of two parameters; the second does not matter."""

    per_space = 1

    def __init__(self, spaces: SyntheticSpaces):
        self.spaces = spaces

    def select(self, rows: slice) -> _TwoPeaks:
        return _TwoPeaks(self.spaces.select(rows))

    def observe(self, values: Tensor, generator: torch.Generator) -> Tensor:
        return self.expected(values)

    def expected(self, values: Tensor) -> Tensor:
        first = values[..., 0]
        gap = torch.minimum((first - 0.2).abs(), (first - 0.8).abs())
        return (-gap).masked_fill((first > 0.79) & (first < 0.81), torch.nan)


def _continuous(count: int, parameters: int) -> SyntheticSpaces:
    for seed in range(1000):
        spaces = draw_spaces(count, parameters, np.random.default_rng(seed))
        if not spaces.choices.any() and not spaces.levels.any():
            return spaces
    raise AssertionError("no such space")


def test_draw_optima__two_peaks__finds_both_and_leaves_what_does_not_matter() -> None:
    functions = _TwoPeaks(_continuous(1, 2))
    points = torch.cat(
        [draw_optima(functions, CHAINS, torch.Generator().manual_seed(s)) for s in range(20)], 2
    )[0, 0]
    first, second = points[:, 0], points[:, 1]
    low, high = (first - 0.2).abs() < 0.1, (first - 0.8).abs() < 0.1
    assert float((low | high).float().mean()) > 0.97
    assert 0.2 < float(low.float().mean()) < 0.8
    assert float(second.std()) == pytest.approx(12**-0.5, abs=0.05)  # uniform


def test_draw_optima__points_that_fail__are_never_among_them() -> None:
    functions = _TwoPeaks(_continuous(1, 2))
    points = draw_optima(functions, CHAINS, torch.Generator().manual_seed(0))
    assert not functions.expected(points).isnan().any()


def test_draw_optima__random_functions__are_far_better_than_random_points(
    functions: SyntheticFunctions,
) -> None:
    generator = torch.Generator().manual_seed(3)
    best = functions.expected(draw_optima(functions, 4, generator))
    shape = (*best.shape[:2], 1024, functions.spaces.choices.shape[1])
    random = functions.spaces.legal(torch.rand(shape, generator=generator))
    values = functions.expected(random)
    top = torch.maximum(values.nan_to_num(nan=-9e9).amax(-1), best.amax(-1))
    median = values.nanmedian(-1).values
    regret = (top[..., None] - best) / (top - median).clamp(min=1e-6)[..., None]
    assert float(regret.mean()) < 0.1


def test_draw_optima__points__are_legal(functions: SyntheticFunctions) -> None:
    points = draw_optima(functions, 8, torch.Generator().manual_seed(3))
    assert points.shape == (60, 4, 8, 5)
    assert torch.equal(functions.spaces.snap(points), points)
    choices = functions.spaces.choices[:, None, None]
    assert ((points < choices) | (choices == 0)).all()


def test_draw_optima__same_seed__same_points() -> None:
    generator = torch.Generator().manual_seed(5)
    functions = draw_functions(draw_spaces(3, 4, np.random.default_rng(0)), 2, generator)
    first, second = (draw_optima(functions, 3, torch.Generator().manual_seed(7)) for _ in "ab")
    assert torch.equal(first, second)
