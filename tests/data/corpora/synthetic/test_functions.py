from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from optformer.data.corpora.synthetic.functions import SyntheticFunctions, draw_functions
from optformer.data.corpora.synthetic.spaces import draw_spaces


def _uniform(functions: SyntheticFunctions, count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    spaces, per_space = functions.mixture.shape[:2]
    parameters = functions.spaces.choices.shape[1]
    return functions.spaces.legal(
        torch.rand(spaces, per_space, count, parameters, generator=generator)
    )


def test_mean__before_the_warp__has_mean_0_and_deviation_1(
    functions: SyntheticFunctions,
) -> None:
    plain = replace(functions, warp=torch.zeros_like(functions.warp))
    value = plain.mean(_uniform(functions, 1000))  # (S, F, 1000)
    assert value.isfinite().all()
    # Measured on 128 other points: a mean is off by about 0.09, more where values are rare.
    assert float(value.mean(-1).abs().median()) < 0.12
    assert float(value.mean(-1).abs().max()) < 0.6
    deviation = value.std(-1)
    assert 0.9 < float(deviation.median()) < 1.1
    varied = deviation[deviation > 0.01]  # a space of one level each may have constant functions
    assert len(varied) / deviation.numel() > 0.97
    assert float(varied.min()) > 0.5
    assert float(varied.max()) < 2.0


def test_mean__warp__keeps_the_order(functions: SyntheticFunctions) -> None:
    plain = replace(functions, warp=torch.zeros_like(functions.warp))
    points = _uniform(functions, 50)
    raw, bent = plain.mean(points), functions.mean(points)
    order = raw.argsort(-1)
    inside = (torch.gather(raw, -1, order).abs() < 6).float()  # clamped beyond
    steps = torch.gather(bent, -1, order).diff(dim=-1) * inside[..., 1:] * inside[..., :-1]
    assert float(steps.min()) > -1e-4 * float(bent.abs().max())
    share = float((functions.warp != 0).float().mean())
    assert 0.2 < share < 0.5


def test_observe__failing_region__has_the_drawn_share(functions: SyntheticFunctions) -> None:
    gain = functions.observe(_uniform(functions, 400), torch.Generator().manual_seed(1))
    failed = gain.isnan().float().mean(-1)
    some = failed > 0
    assert 0.08 < float(some.float().mean()) < 0.25  # 15 % of the functions fail somewhere
    assert float(failed.max()) < 0.55  # at most 40 % of a space, as far as 128 points can tell
    safe = functions.failing[1][..., 0].isinf()
    assert not failed[safe].any()


def test_observe__noise__has_the_drawn_deviation(functions: SyntheticFunctions) -> None:
    point = _uniform(functions, 1).expand(-1, -1, 400, -1)
    gain = functions.observe(point, torch.Generator().manual_seed(1))
    gap = gain - functions.mean(point)
    alive = ~gain.isnan().any(-1)
    assert alive.any()
    ratio = gap.std(-1)[alive] / functions.noise[..., 0][alive].clamp(min=1e-6)
    noisy = functions.noise[..., 0][alive] > 0
    assert (ratio[noisy] - 1).abs().max() < 0.2
    assert ratio[~noisy].max() == 0
    assert 0.7 < float(noisy.float().mean()) < 0.9


def test_mean__inactive_parameter__has_no_influence(functions: SyntheticFunctions) -> None:
    points = _uniform(functions, 30)
    other = torch.where(functions.spaces.active(points), points, _uniform(functions, 30, seed=9))
    assert (other != points).any()
    # Only inactive values differ, unless a redrawn parent switches something on.
    same = (functions.spaces.active(other) == functions.spaces.active(points)).all(-1)
    torch.testing.assert_close(functions.mean(points)[same], functions.mean(other)[same])


def test_mean__choices_and_numbers__have_influence(functions: SyntheticFunctions) -> None:
    points = _uniform(functions, 40)
    for kind in (True, False):
        redrawn = functions.spaces.is_choice[:, None, None] == kind
        other = torch.where(redrawn, _uniform(functions, 40, seed=3), points)
        moved = (functions.mean(points) - functions.mean(other)).abs().amax(-1) > 0.1
        there = redrawn.any(-1)[:, 0, 0]
        assert float(moved[there].float().mean()) > 0.8


def test_functions__one_space__differ(functions: SyntheticFunctions) -> None:
    points = _uniform(functions, 60)[:, :1].expand(-1, 4, -1, -1)
    value = functions.mean(points)
    centred = value - value.mean(-1, keepdim=True)
    first, second = centred[:, 0], centred[:, 1]
    cosine = torch.nn.functional.cosine_similarity(first, second, dim=-1)
    assert float(cosine.abs().median()) < 0.5


def test_select__some_spaces__gives_their_values(functions: SyntheticFunctions) -> None:
    points = _uniform(functions, 5)
    part = functions.select(slice(10, 14))
    torch.testing.assert_close(part.mean(points[10:14]), functions.mean(points)[10:14])


@pytest.mark.parametrize("parameters", [1, 20])
def test_draw_functions__one_seed__is_reproducible(parameters: int) -> None:
    def values(seed: int) -> Tensor:
        spaces = draw_spaces(4, parameters, np.random.default_rng(0))
        drawn = draw_functions(spaces, 2, torch.Generator().manual_seed(seed))
        return drawn.observe(_uniform(drawn, 7), torch.Generator().manual_seed(3))

    first = values(5)
    assert torch.equal(first.nan_to_num(9), values(5).nan_to_num(9))
    assert not torch.equal(first.nan_to_num(9), values(6).nan_to_num(9))
