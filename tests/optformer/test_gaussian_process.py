"""The process that the model consults, against plain formulas and another implementation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from optformer.batch import History, Points
from optformer.data.parameters import Categorical, Float
from optformer.data.spaces import SearchSpace
from optformer.gaussian_process import GaussianProcess, fit_process, squared_gaps
from optformer.tokenization.history import MetricKind, ValueKind, encode_points

SPACE = SearchSpace(
    lr=Float(1e-5, 1.0, log=True),
    optimizer=Categorical(["sgd", "adam", "lion"]),
    momentum=Float(0.0, 0.9, when={"optimizer": ["sgd", "lion"]}),
    decay=Float(0.0, 0.1, when={"optimizer": ["adam"]}),
)


def _numbers(values: torch.Tensor) -> Points:
    return Points(values.float(), torch.full(values.shape, int(ValueKind.NUMBER)))


def _measured(points: torch.Tensor, metric: torch.Tensor) -> History:
    kinds = torch.full(metric.shape, int(MetricKind.VALUE))
    return History(_numbers(points), metric.float(), kinds)


def _smooth(studies: int, trials: int, parameters: int, seed: int = 0) -> History:
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(studies, trials, parameters, generator=generator)
    return _measured(points, 0.5 + 0.3 * torch.sin(5 * points[..., 0]))


def test_predict__fitted_hyperparameters__agree_with_scikit_learn() -> None:
    history = _smooth(1, 20, 3)
    process = fit_process(history)
    variance, mean = float(process.posterior.variance), float(process.posterior.mean)
    kernel = ConstantKernel(variance) * Matern(process.weights[0].numpy() ** -0.5, nu=2.5)
    kernel += WhiteKernel(variance * float(process.noise))
    twin = GaussianProcessRegressor(kernel, optimizer=None)
    twin.fit(history.points.values[0].numpy(), history.metric[0].numpy() - mean)
    asked = torch.rand(1, 30, 3, generator=torch.Generator().manual_seed(1))
    expected, deviation = twin.predict(asked[0].numpy(), return_std=True)
    ours = process.predict(_numbers(asked))
    np.testing.assert_allclose(ours[0][0].numpy(), expected + mean, atol=1e-6)
    np.testing.assert_allclose(ours[1][0].numpy(), deviation, rtol=1e-4)


def test_fit__function_of_one_parameter__finds_which_and_predicts_it() -> None:
    process = fit_process(_smooth(3, 30, 3))
    assert (process.weights[:, 0] > 5 * process.weights[:, 1:].amax(-1)).all()
    asked = torch.rand(3, 50, 3, generator=torch.Generator().manual_seed(5))
    mean, deviation = process.predict(_numbers(asked))
    truth = 0.5 + 0.3 * torch.sin(5 * asked[..., 0])
    assert float((mean - truth).square().mean().sqrt()) < 0.02  # the truth deviates by .2
    assert float(((mean - truth) / deviation).square().mean().sqrt()) < 2


def test_fit__noise_alone__predicts_the_mean_with_the_noise() -> None:
    generator = torch.Generator().manual_seed(2)
    points = torch.rand(1, 60, 2, generator=generator)
    history = _measured(points, 0.5 + 0.1 * torch.randn(1, 60, generator=generator))
    mean, deviation = fit_process(history).predict(_numbers(torch.rand(1, 100, 2)))
    assert float((mean - 0.5).abs().mean()) < 0.05
    assert 0.07 < float(deviation.mean()) < 0.15


def test_left_out__any_trial__is_predicted_as_without_it() -> None:
    history = _smooth(2, 9, 2, seed=3)
    process = fit_process(history)
    mean, deviation = process.left_out()
    fitted = process.posterior
    covariance = fitted.factor @ fitted.factor.mT
    for trial in range(9):
        rest = [t for t in range(9) if t != trial]
        across = covariance[:, trial, rest]
        among = covariance[:, rest][:, :, rest]
        residual = process.values[:, rest] - fitted.mean
        solved = torch.linalg.solve(among, torch.stack([residual, across], -1))
        expected = fitted.mean[:, 0] + (across * solved[..., 0]).sum(-1)
        unexplained = covariance[:, trial, trial] - (across * solved[..., 1]).sum(-1)
        torch.testing.assert_close(mean[:, trial], expected)
        torch.testing.assert_close(
            deviation[:, trial].square(), fitted.variance[:, 0] * unexplained
        )


@pytest.mark.parametrize("trials", [0, 1, 4])
def test_fit__nothing_measured__is_the_prior_everywhere(trials: int) -> None:
    history = _smooth(2, trials, 3)
    failed = History(history.points, history.metric, history.metric_kinds + int(MetricKind.FAILED))
    mean, deviation = fit_process(failed).predict(_numbers(torch.rand(2, 5, 3)))
    assert mean.unique().numel() == deviation.unique().numel() == 1
    assert 0.3 < float(mean[0, 0]) < 0.6
    assert 0.1 < float(deviation[0, 0]) < 0.3


def test_fit__failed_and_pending_trials__change_nothing() -> None:
    history = _smooth(1, 12, 2)
    more = _smooth(1, 4, 2, seed=9)
    kinds = torch.tensor([[1, 2, 1, 3]])
    longer = history.join(History(more.points, more.metric, kinds))
    asked = _numbers(torch.rand(1, 20, 2))
    _same(fit_process(history), fit_process(longer), asked)


def test_fit__batch__equals_one_study_at_a_time() -> None:
    history = _smooth(4, 10, 3)
    asked = torch.rand(4, 6, 3)
    mean, deviation = fit_process(history).predict(_numbers(asked))
    for study in range(4):
        alone = _measured(history.points.values[[study]], history.metric[[study]])
        one = fit_process(alone).predict(_numbers(asked[[study]]))
        torch.testing.assert_close(mean[[study]], one[0])
        torch.testing.assert_close(deviation[[study]], one[1])


@pytest.mark.parametrize("metric", [0.5, 0.0, 1.0])
def test_fit__the_same_point_and_value_many_times__stays_finite(metric: float) -> None:
    history = _measured(torch.full((1, 128, 5), 0.3), torch.full((1, 128), metric))
    process = fit_process(history)
    for answer in (*process.predict(_numbers(torch.rand(1, 4, 5))), *process.left_out()):
        assert torch.isfinite(answer).all()


def test_squared_gaps__conditional_space__are_those_of_a_euclidean_space() -> None:
    rng = np.random.default_rng(0)
    encoded = encode_points(SPACE, [SPACE.sample(rng) for _ in range(80)])
    points = Points(
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


def _same(first: GaussianProcess, second: GaussianProcess, asked: Points) -> None:
    for ours, theirs in zip(first.predict(asked), second.predict(asked), strict=True):
        torch.testing.assert_close(ours, theirs)
