"""One process, against plain formulas and another implementation."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from optformer.data.studies.parameters import Categorical, Float
from optformer.data.studies.spaces import SearchSpace
from optformer.model.gaussian_process import (
    GRID,
    Posterior,
    covariances,
    fit_lengthscales,
    grid_log_posterior,
    grid_points,
    noisy,
    squared_gaps,
)
from optformer.model.tensors import PointTensors
from optformer.tokenization.history import ValueKind, encode_points

SPACE = SearchSpace(
    lr=Float(1e-5, 1.0, log=True),
    optimizer=Categorical(["sgd", "adam", "lion"]),
    momentum=Float(0.0, 0.9, when={"optimizer": ["sgd", "lion"]}),
    decay=Float(0.0, 0.1, when={"optimizer": ["adam"]}),
)


def _gaps(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return (first[:, :, None] - second[:, None]).square()


def _trials(studies: int, trials: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gaps, values that depend on the first of three parameters, and which are measured."""
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(studies, trials, 3, generator=generator).double()
    values = 0.5 + 0.3 * torch.sin(5 * points[..., 0])
    return _gaps(points, points), values, torch.ones(studies, trials, dtype=torch.bool)


def test_posterior__given_hyperparameters__agrees_with_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(1)
    points = torch.rand(1, 20, 3, generator=generator).double()
    asked = torch.rand(1, 30, 3, generator=generator).double()
    values = 0.5 + 0.3 * torch.sin(5 * points[..., 0])
    weights, noise = torch.tensor([[[9.0, 1.0, 0.2]]]).double(), torch.tensor([[[0.003]]]).double()
    measured = torch.ones(1, 1, 20, dtype=torch.bool)
    covariance = noisy(covariances(_gaps(points, points), weights), noise, measured)
    posterior = Posterior.fit(covariance, values[:, None], measured)
    mean, deviation = posterior.predict(covariances(_gaps(asked, points), weights), noise)

    variance, constant = float(posterior.variance), float(posterior.mean)
    kernel = ConstantKernel(variance) * Matern(weights[0, 0].numpy() ** -0.5, nu=2.5)
    kernel += WhiteKernel(variance * float(noise))
    twin = GaussianProcessRegressor(kernel, optimizer=None)
    twin.fit(points[0].numpy(), values[0].numpy() - constant)
    expected, spread = twin.predict(asked[0].numpy(), return_std=True)
    np.testing.assert_allclose(mean[0, 0].numpy(), expected + constant, atol=1e-6)
    np.testing.assert_allclose(deviation[0, 0].numpy(), spread, rtol=1e-4)


def test_leave_one_out__any_trial__is_predicted_as_without_it() -> None:
    gaps, values, measured = _trials(2, 9)
    noise = torch.tensor([[0.01]]).double()
    weights = torch.tensor([[[9.0, 1.0, 0.2]]]).double().expand(2, -1, -1)
    covariance = noisy(covariances(gaps, weights)[:, 0], noise, measured)
    fitted = Posterior.fit(covariance, values, measured)
    mean, deviation = fitted.leave_one_out(values)
    for trial in range(9):
        rest = [t for t in range(9) if t != trial]
        across = covariance[:, trial, rest]
        among = covariance[:, rest][:, :, rest]
        residual = values[:, rest] - fitted.mean
        solved = torch.linalg.solve(among, torch.stack([residual, across], -1))
        expected = fitted.mean[:, 0] + (across * solved[..., 0]).sum(-1)
        unexplained = covariance[:, trial, trial] - (across * solved[..., 1]).sum(-1)
        torch.testing.assert_close(mean[:, trial], expected)
        torch.testing.assert_close(
            deviation[:, trial].square(), fitted.variance[:, 0] * unexplained
        )


def test_likelihood_gradient__any_covariance__is_its_derivative() -> None:
    gaps, values, measured = _trials(1, 7)
    weights = torch.ones(1, 1, 3).double()
    covariance = noisy(covariances(gaps, weights)[:, 0], torch.tensor([[0.01]]).double(), measured)
    change = torch.randn(7, 7, generator=torch.Generator().manual_seed(3)).double()
    change = 1e-6 * (change + change.mT)
    high, low = (
        Posterior.fit(covariance + side * change, values, measured).log_marginal_likelihood
        for side in (1, -1)
    )
    # The variance is at its mode, the mean nearly so: through them it changes in second order.
    slope = (Posterior.fit(covariance, values, measured).likelihood_gradient() * change).sum()
    torch.testing.assert_close((high - low)[0, 0] / 2, slope, rtol=0.01, atol=0.0)


def test_grid_log_posterior__long_and_short_functions__are_told_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(1, 40, 2, generator=generator).double()
    slow, fast = (0.5 + 0.2 * torch.sin(cycles * points[..., 0]) for cycles in (1.5, 20.0))
    measured = torch.ones(1, 40, dtype=torch.bool)
    fitness = grid_log_posterior(_gaps(points, points), torch.stack([slow, fast], 1), measured)
    assert fitness.shape == (1, 2, len(GRID))
    (long, _), (short, _) = (GRID[int(best)] for best in fitness[0].argmax(-1))
    assert long > 3 * short
    weight, noise = grid_points(fitness[0].argmax(-1), 8)
    torch.testing.assert_close(weight, torch.tensor([long, short]).double() ** -2 / 4)
    assert set(noise.tolist()) <= {noise for _, noise in GRID}


def test_fit_lengthscales__function_of_one_parameter__finds_which_and_fits_better() -> None:
    gaps, values, measured = _trials(3, 30)
    fitness = grid_log_posterior(gaps, values[:, None], measured)[:, 0]
    reached, start = fitness.max(-1, keepdim=True)
    inverse_squared, noise, fitted = fit_lengthscales(gaps, start, values, measured)
    assert (inverse_squared[:, 0] > 5 * inverse_squared[:, 1:].amax(-1)).all()
    assert (noise < 1e-3).all()
    assert (fitted > reached).all()


def test_squared_gaps__conditional_space__are_those_of_a_euclidean_space() -> None:
    rng = np.random.default_rng(0)
    encoded = encode_points(SPACE, [SPACE.sample(rng) for _ in range(80)])
    points = PointTensors(
        torch.from_numpy(encoded.values).float()[None], torch.from_numpy(encoded.kinds)[None]
    )
    gaps = squared_gaps(points, points)[0].double()  # (N, N, P)
    assert gaps.amax() <= 1
    for gap in gaps.unbind(-1):
        # Minus half of the centred squared distances are inner products (Schoenberg 1935).
        centred = gap - gap.mean(0) - gap.mean(1, keepdim=True) + gap.mean()
        assert float(torch.linalg.eigvalsh(-0.5 * centred).min()) > -1e-6
    by_name = dict(zip(SPACE.names, gaps.unbind(-1), strict=True))
    sgd, adam = (torch.from_numpy(encoded.values[:, 1] == k) for k in (0, 1))
    assert (by_name["optimizer"][sgd][:, adam] == 1).all()
    assert (by_name["momentum"][adam][:, adam] == 0).all()
    assert (by_name["momentum"][sgd][:, adam] >= 0.25).all()
    assert (points.kinds[0] == ValueKind.INACTIVE).any()
