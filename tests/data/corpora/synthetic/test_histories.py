from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from optformer.data.corpora.synthetic.functions import SyntheticFunctions, draw_functions
from optformer.data.corpora.synthetic.histories import METHODS, SyntheticHistory, draw_probes
from optformer.data.corpora.synthetic.spaces import draw_spaces
from optformer.data.methods.gaussian_process import expected_improvement, fit, matern52


@pytest.fixture(scope="module")
def many() -> SyntheticFunctions:
    """160 functions in 3 dimensions."""
    spaces = draw_spaces(80, 3, np.random.default_rng(5))
    return draw_functions(spaces, 2, torch.Generator().manual_seed(6))


def _run(functions: SyntheticFunctions, name: str, trials: int, seed: int = 0) -> SyntheticHistory:
    return METHODS[name](functions, trials, torch.Generator().manual_seed(seed))


def _alive(gain: Tensor) -> Tensor:
    return torch.nan_to_num(gain, nan=-math.inf)


def _incumbents(history: SyntheticHistory) -> Tensor:
    """Number of the best trial before each trial but the first, (S, F, T - 1)."""
    gain = _alive(history.gain)
    return torch.stack([gain[..., :t].argmax(-1) for t in range(1, gain.shape[-1])], -1)


def _steps(history: SyntheticHistory, functions: SyntheticFunctions) -> Tensor:
    """Largest numeric distance of each trial but the first to its incumbent, (S, F, T - 1)."""
    index = _incumbents(history)[..., None].expand(-1, -1, -1, history.values.shape[-1])
    gap = (history.values[:, :, 1:] - torch.gather(history.values, 2, index)).abs()
    return gap.masked_fill(functions.spaces.is_choice[:, None, None], 0.0).amax(-1)


@pytest.mark.parametrize("name", METHODS)
def test_method__any__gives_legal_points_with_their_outcomes(
    functions: SyntheticFunctions, name: str
) -> None:
    history = _run(functions, name, 10)
    spaces, studies = functions.mixture.shape[:2]
    assert history.values.shape == (spaces, studies, 10, 5)
    assert history.gain.shape == (spaces, studies, 10)
    assert torch.equal(functions.spaces.snap(history.values), history.values)
    mean = functions.mean(history.values)
    alive = ~history.gain.isnan()
    slack = 6 * functions.noise + 1e-4 * (1 + mean.abs())  # warped values are large
    assert ((history.gain - mean).abs() <= slack)[alive].all()
    again = _run(functions, name, 10)
    assert torch.equal(again.values, history.values)
    assert not torch.equal(_run(functions, name, 10, seed=1).values, history.values)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("trials", [1, 2])
def test_method__one_or_two_trials__gives_as_many(
    functions: SyntheticFunctions, name: str, trials: int
) -> None:
    assert _run(functions.select(slice(4)), name, trials).gain.shape == (4, 4, trials)


def test_random__many_trials__are_uniform(many: SyntheticFunctions) -> None:
    values = _run(many, "random", 50).values
    continuous = (many.spaces.choices + many.spaces.levels == 0)[:, None, None].expand_as(values)
    numbers = values[continuous]
    assert abs(float(numbers.mean()) - 0.5) < 5 * 0.29 / len(numbers) ** 0.5
    assert abs(float(numbers.std()) - 12**-0.5) < 0.01


def test_quasi_random__one_study__fills_the_space_more_evenly(many: SyntheticFunctions) -> None:
    slot = (many.spaces.choices + many.spaces.levels == 0).all(-1)

    def gaps(name: str) -> float:
        values = _run(many, name, 64).values[slot].flatten(0, 1)  # (B, T, P)
        return float(values.sort(1).values.diff(dim=1).amax(1).mean())

    assert gaps("quasi-random") < 0.75 * gaps("random")


def test_local_search__every_trial__stays_near_the_incumbent(many: SyntheticFunctions) -> None:
    continuous = (many.spaces.levels == 0).all(-1)
    steps = _steps(_run(many, "local search", 20), many)[continuous, :, 1:]
    assert float(steps.median()) < 0.2
    assert float(steps.max()) < 0.2 * 5
    uniform = _steps(_run(many, "random", 20), many)[continuous, :, 1:]
    assert float(uniform.median()) > 2 * float(steps.median())


def test_clustered__trials__are_near_and_far(many: SyntheticFunctions) -> None:
    continuous = (many.spaces.choices + many.spaces.levels == 0).all(-1)
    steps = _steps(_run(many, "clustered", 30), many)[continuous]
    near = (steps < 0.02).float().mean()
    far = (steps > 0.3).float().mean()
    assert float(near) > 0.1
    assert float(far) > 0.3
    uniform = _steps(_run(many, "random", 30), many)[continuous]
    assert float((uniform < 0.02).float().mean()) < 0.02


def test_regularized_evolution__child__has_one_change_to_one_of_the_latest_with_a_value(
    many: SyntheticFunctions,
) -> None:
    history = _run(many, "regularized evolution", 40)
    values, gain = history.values.flatten(0, 1), history.gain.flatten(0, 1)
    active = many.spaces.active(history.values).flatten(0, 1)
    children = 0
    for study in range(len(values)):
        for trial in range(30, 40):
            members = (~gain[study, :trial].isnan()).nonzero()[:, 0][-20:]
            if len(members) < 20:
                continue
            changed = (values[study, trial] != values[study, members]) & active[study, members]
            assert (changed.sum(-1) == 1).any()
            children += 1
    assert children > 1000
    founders = _run(many, "random", 20)
    assert float(founders.values.std()) == pytest.approx(float(values[:, :20].std()), rel=0.05)


def test_regularized_evolution__tournament__takes_good_members_as_parents(
    many: SyntheticFunctions,
) -> None:
    gain = _alive(_run(many, "regularized evolution", 80).gain)
    uniform = _alive(_run(many, "random", 80).gain)
    late = (gain[..., 60:].median(-1).values > uniform[..., 60:].median(-1).values).float()
    assert float(late.mean()) > 0.75


@pytest.mark.parametrize("name", ["gp ei", "gp ucb"])
def test_gp__many_functions__beats_random_search(many: SyntheticFunctions, name: str) -> None:
    """The value of the incumbent, by its rank among random points; paired over functions."""
    reference = _alive(_run(many, "random", 500, seed=77).gain)

    def rank(method: str) -> Tensor:
        history = _run(many, method, 25)
        best = _alive(history.gain).amax(-1, keepdim=True)
        return (reference > best).float().mean(-1).flatten()

    gain = (rank("random") - rank(name)).double()
    assert float(gain.mean()) > 4 * float(gain.std()) / len(gain) ** 0.5


@pytest.mark.parametrize("name", ["gp ei", "clustered", "local search"])
def test_method__many_functions__climbs_from_its_start(many: SyntheticFunctions, name: str) -> None:
    gain = _alive(_run(many, name, 25).gain)
    better = gain.amax(-1) > gain[..., :2].amax(-1)
    assert float(better.float().mean()) > 0.8


def test_gp_ei__all_trials_fail__goes_on() -> None:
    spaces = draw_spaces(2, 2, np.random.default_rng(0))
    drawn = draw_functions(spaces, 1, torch.Generator().manual_seed(0))
    threshold = torch.full_like(drawn.failing[1], -math.inf)
    failing = SyntheticFunctions(**{**vars(drawn), "failing": (drawn.failing[0], threshold)})
    for name in METHODS:
        assert _run(failing, name, 12).gain.isnan().all()
    probes = draw_probes(failing, _run(failing, "random", 5), 5, 8, torch.Generator())
    assert probes.values.isfinite().all()


@pytest.mark.parametrize(("prefix", "others"), [(0, 20), (1, 10), (4, 4), (12, 1)])
def test_probes__half__are_near_the_incumbent_or_the_best_of_the_next_function(
    many: SyntheticFunctions, prefix: int, others: int
) -> None:
    history = _run(many, "random", 12)
    probes = draw_probes(many, history, prefix, 40, torch.Generator().manual_seed(4))
    assert probes.values.shape == (80, 2, 40, 3)
    assert torch.equal(many.spaces.snap(probes.values), probes.values)
    continuous = (many.spaces.choices + many.spaces.levels == 0).all(-1)
    known = torch.cat([history.values, probes.values[:, :, :20]], 2)
    found = torch.cat([history.gain, probes.gain[..., :20]], 2)
    next_best = _place_of_best(known, found).flip(1)  # there are two functions on each space
    gaps = [_gap(probes.values[:, :, 20 : 20 + others], next_best)]
    if prefix:
        own = _place_of_best(history.values[:, :, :prefix], history.gain[..., :prefix])
        gaps.append(_gap(probes.values[:, :, 20 + others :], own))
        assert float(_gap(probes.values[:, :, :20], own)[continuous].median()) > 0.3
    for gap in gaps:
        assert float(gap[continuous].median()) < 0.05
        assert float(gap[continuous].max()) < 0.1 * 5


def test_probes__one_function_on_a_space__none_is_near_its_own_best() -> None:
    spaces = draw_spaces(80, 3, np.random.default_rng(5))
    alone = draw_functions(spaces, 1, torch.Generator().manual_seed(6))
    history = _run(alone, "random", 12)
    values = draw_probes(alone, history, 0, 40, torch.Generator().manual_seed(4)).values
    best = _place_of_best(history.values, history.gain)
    continuous = (spaces.choices + spaces.levels == 0).all(-1)
    assert float(_gap(values, best)[continuous].median()) > 0.3


def _place_of_best(values: Tensor, gain: Tensor) -> Tensor:
    """(S, F, 1, P)."""
    best = _alive(gain).argmax(-1)[..., None, None]
    return torch.gather(values, 2, best.expand(-1, -1, 1, values.shape[-1]))


def _gap(values: Tensor, centre: Tensor) -> Tensor:
    """Largest distance over the parameters, (S, F, N)."""
    return (values - centre).abs().amax(-1)


def test_matern52__known_values__agree() -> None:
    points = torch.tensor([[0.0, 0.0], [0.3, 0.4]], dtype=torch.float64)
    scaled = math.sqrt(5) * 0.5 / 0.25
    expected = (1 + scaled + scaled**2 / 3) * math.exp(-scaled)
    covariance = matern52(points, points, torch.tensor(0.25, dtype=torch.float64))
    torch.testing.assert_close(
        covariance, torch.tensor([[1.0, expected], [expected, 1.0]], dtype=torch.float64)
    )


def test_fit__samples_of_a_process__finds_its_hyperparameters() -> None:
    generator = torch.Generator().manual_seed(0)
    place = torch.rand(40, 40, 2, generator=generator, dtype=torch.float64)
    for true_scale, noise in [(0.2, 1e-4), (0.8, 1e-1)]:
        covariance = matern52(place, place, torch.tensor(true_scale)) + noise * torch.eye(40)
        factor = torch.linalg.cholesky(covariance)
        values = factor @ torch.randn(40, 40, 1, generator=generator, dtype=torch.float64)
        scale, found = fit(place, values[..., 0])
        assert scale.shape == found.shape == (40, 1, 1)
        assert 0.5 * true_scale <= float(scale.median()) <= 2 * true_scale
        assert 0.1 * noise <= float(found.median()) <= 10 * noise


def test_expected_improvement__one_point__is_the_closed_form() -> None:
    place = torch.tensor([[[0.2], [0.7]]], dtype=torch.float64)
    values = torch.tensor([[-0.5, 1.0]], dtype=torch.float64)
    where = torch.tensor([[[0.65]]], dtype=torch.float64)
    length, noise = torch.tensor([[[0.3]]]).double(), torch.tensor([[[0.01]]]).double()
    covariance = matern52(place[0], place[0], length[0]) + 0.01 * torch.eye(2)
    cross = matern52(place[0], where[0], length[0])[:, 0]
    weights = torch.linalg.solve(covariance, cross)
    mean, variance = float(weights @ values[0]), float(1 - weights @ cross)
    draws = mean + math.sqrt(variance) * torch.randn(
        400_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    sampled = (draws - 1.0).clamp(min=0)
    score = float(expected_improvement(place, values, where, length, noise))
    assert score == pytest.approx(float(sampled.mean()), abs=5 * float(sampled.std()) / 632)


def test_probes__a_quarter__has_numbers_at_the_ends_of_their_range(
    many: SyntheticFunctions,
) -> None:
    history = _run(many, "random", 12)
    probes = draw_probes(many, history, 4, 40, torch.Generator().manual_seed(4))
    numeric = (many.spaces.choices + many.spaces.levels == 0)[:, None, None]
    at_end = ((probes.values == 0) | (probes.values == 1)) & numeric
    share = at_end.sum((0, 1, 3)) / numeric.sum((0, 1, 3)) / probes.values.shape[1]
    # 160 studies: the share of a uniform rate is 0.5 with a deviation below 0.03.
    assert 0.35 < float(share[:10].mean()) < 0.65
    assert float(share[10:20].max()) == 0.0
