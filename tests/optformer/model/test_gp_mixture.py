"""The mixture that the model consults: what it expects, and that nothing else moves it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from optformer.model.gp_mixture import GPMixturePrediction, OutcomeWarp, fit_gp_mixture
from optformer.model.tensors import HistoryTensors, PointTensors
from optformer.tokenization.history import MetricKind, ValueKind
from optformer.tokenization.objective_scale import fit_scale


def _numbers(values: torch.Tensor) -> PointTensors:
    return PointTensors(values.float(), torch.full(values.shape, int(ValueKind.NUMBER)))


def _measured(points: torch.Tensor, metric: torch.Tensor) -> HistoryTensors:
    kinds = torch.full(metric.shape, int(MetricKind.VALUE))
    return HistoryTensors(_numbers(points), metric.float(), kinds)


def _smooth(studies: int, trials: int, parameters: int, seed: int = 0) -> HistoryTensors:
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(studies, trials, parameters, generator=generator)
    return _measured(points, 0.5 + 0.3 * torch.sin(5 * points[..., 0]))


def _random(*shape: int, seed: int = 5) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_outcome_warp__values_on_the_objectives_scale__are_unwarped_and_warped_back() -> None:
    values = 3 * torch.randn(2, 15, generator=torch.Generator().manual_seed(0)).double() + 7
    measured = torch.ones(2, 15, dtype=torch.bool)
    measured[1, 9:] = False
    values[0, 3] = -500.0  # an exploded run, which the scale clips
    scale = fit_scale(values, measured)
    unit = scale.to_unit(values)
    inside = measured & (unit > scale.floor)
    warp = OutcomeWarp.fit(unit, measured)
    unwarped = warp.unwarp(unit)
    affine = scale.offset + scale.slope * (values - scale.median) / scale.spread
    assert int(inside.sum()) == 23
    torch.testing.assert_close(unwarped[inside], affine[inside])
    torch.testing.assert_close(warp.warp(unwarped), unit)
    step = 1e-6
    slope = (warp.unwarp(unit + step) - warp.unwarp(unit - step)) / (2 * step)
    torch.testing.assert_close(warp.log_slope(unit), slope.log(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("values", [[0.5, 0.5, 0.5], [0.2, 0.7, 0.7, 0.7], []])
def test_outcome_warp__nothing_above_the_median__changes_nothing(values: list[float]) -> None:
    unit = torch.tensor([values]).double().reshape(1, -1)
    warp = OutcomeWarp.fit(unit, torch.ones_like(unit, dtype=torch.bool))
    asked = torch.linspace(0, 1, 9).double()[None]
    assert (warp.unwarp(asked) == asked).all()
    assert (warp.warp(asked) == asked).all()
    assert (warp.log_slope(asked) == 0).all()


def test_predict__function_of_one_parameter__predicts_it() -> None:
    asked = _random(3, 50, 3)
    mean, deviation = fit_gp_mixture(_smooth(3, 30, 3)).predict(_numbers(asked)).moments()
    truth = 0.5 + 0.3 * torch.sin(5 * asked[..., 0])
    assert float((mean - truth).square().mean().sqrt()) < 0.02  # the truth deviates by .2
    assert float(((mean - truth) / deviation).square().mean().sqrt()) < 2


def test_predict__noise_alone__is_the_mean_with_the_noise() -> None:
    generator = torch.Generator().manual_seed(2)
    points = torch.rand(1, 60, 2, generator=generator)
    history = _measured(points, 0.5 + 0.1 * torch.randn(1, 60, generator=generator))
    mean, deviation = fit_gp_mixture(history).predict(_numbers(_random(1, 100, 2))).moments()
    assert float((mean - 0.5).abs().mean()) < 0.05
    assert 0.07 < float(deviation.mean()) < 0.15


@pytest.mark.parametrize("warps", [False, True])
def test_fit__smooth_before_or_after_the_scale_warps_it__prefers_those_processes(
    warps: bool,
) -> None:
    points = _random(1, 40, 1)
    height = torch.sin(7 * points[..., 0])
    sharp = OutcomeWarp(torch.tensor([[0.6]]).double(), torch.tensor([[0.1]]).double())
    values = 0.5 + 0.3 * height
    if warps:  # a sine, and what the logarithmic half makes of it
        middle, best = height.median(), height.max()
        affine = 0.6 + 0.1 * (height - middle) / (best - middle)
        values = sharp.warp(affine.double())
    fitted = fit_gp_mixture(_measured(points, values))
    chance = float((fitted.weights * fitted.unwarped).sum())
    assert chance > 0.9 if warps else chance < 0.1


@pytest.mark.parametrize("parameters", [1, 4])
def test_log_density__any_mixture__sum_to_one_and_have_its_moments(parameters: int) -> None:
    fitted = fit_gp_mixture(_smooth(4, 12, parameters))
    expected = fitted.predict(_numbers(_random(4, 20, parameters)))
    chances = expected.log_density(1000).exp()
    mean, deviation = expected.moments()
    inside = (mean - 3 * deviation > 0) & (mean + 3 * deviation < 1)
    assert int(inside.sum()) > 10
    torch.testing.assert_close(
        chances.mean(-1)[inside], torch.ones(int(inside.sum())), atol=0.01, rtol=0
    )
    centres = (torch.arange(1000) + 0.5) / 1000
    found = (chances * centres).mean(-1)
    # Mean and deviation of an unwarped component are taken from three of its points.
    assert float((found - mean)[inside].abs().mean()) < 0.01


def test_log_density__narrower_than_a_bin__are_not_lost_between_two() -> None:
    fitted = fit_gp_mixture(_smooth(1, 5, 2))
    means = torch.full((1, 5, 1), 0.5).double()
    flat = OutcomeWarp(torch.tensor([[0.5]]).double(), torch.tensor([[torch.inf]]).double())
    expected = GPMixturePrediction(
        means, 1e-6 * means, fitted.weights, fitted.unwarped, flat, torch.ones(1)
    )
    chances = expected.log_density(1000).exp()[0, 0]
    assert float(chances[499:501].sum()) > 400
    assert float(chances.mean()) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("trials", [0, 1, 4])
def test_fit__nothing_measured__is_the_prior_everywhere(trials: int) -> None:
    history = _smooth(2, trials, 3)
    failed = HistoryTensors(
        history.points, history.metric, history.metric_kinds + int(MetricKind.FAILED)
    )
    mean, deviation = fit_gp_mixture(failed).predict(_numbers(_random(2, 5, 3))).moments()
    assert mean.unique().numel() == deviation.unique().numel() == 1
    assert 0.3 < float(mean[0, 0]) < 0.6
    assert 0.1 < float(deviation[0, 0]) < 0.3


def test_fit__failed_and_pending_trials__change_nothing() -> None:
    history = _smooth(1, 12, 2)
    more = _smooth(1, 4, 2, seed=9)
    longer = history.join(HistoryTensors(more.points, more.metric, torch.tensor([[1, 2, 1, 3]])))
    asked = _numbers(_random(1, 20, 2))
    first, second = (fit_gp_mixture(each).predict(asked).moments() for each in (history, longer))
    torch.testing.assert_close(first, second)


def test_fit__batch__equals_one_study_at_a_time() -> None:
    history = _smooth(4, 10, 3)
    asked = _random(4, 6, 3)
    together = fit_gp_mixture(history)
    mean, deviation = together.predict(_numbers(asked)).moments()
    for study in range(4):
        alone = _measured(history.points.values[[study]], history.metric[[study]])
        one = fit_gp_mixture(alone)
        own = one.predict(_numbers(asked[[study]])).moments()
        torch.testing.assert_close((mean[[study]], deviation[[study]]), own)
        torch.testing.assert_close(
            together.leave_one_out().moments()[0][[study]], one.leave_one_out().moments()[0]
        )


def test_predict__points_that_may_not_see_all_trials__are_marked() -> None:
    fitted = fit_gp_mixture(_smooth(1, 8, 2))
    expected = fitted.predict(_numbers(_random(1, 3, 2)), torch.tensor([7, 8, 9]))
    assert expected.visible.tolist() == [0.0, 1.0, 1.0]


@pytest.mark.parametrize("metric", [0.5, 0.0, 1.0])
def test_fit__the_same_point_and_value_many_times__stays_finite(metric: float) -> None:
    history = _measured(torch.full((1, 128, 5), 0.3), torch.full((1, 128), metric))
    fitted = fit_gp_mixture(history)
    for expected in (fitted.predict(_numbers(_random(1, 4, 5))), fitted.leave_one_out()):
        for answer in (*expected.moments(), expected.log_density(100)):
            assert torch.isfinite(answer).all()


def test_condition_on__what_it_predicted_itself__changes_no_mean_and_is_surer_there() -> None:
    history = _smooth(2, 8, 2)
    fitted = fit_gp_mixture(history)
    new, far = _random(2, 1, 2, seed=11), _random(2, 30, 2, seed=12)
    ahead = fitted.predict(_numbers(new))
    # A component predicts the value that all are conditioned on only if it is alone.
    only = replace(fitted, weights=torch.eye(5, dtype=torch.float64)[:1].expand(2, -1))
    value = ahead.warp.warp(ahead.means[:, 0]).where(only.unwarped[:, :1], ahead.means[:, 0])
    conditioned = only.condition_on(history.join(_measured(new, value.float())))
    for probe in (new, far):
        before, after = only.predict(_numbers(probe)), conditioned.predict(_numbers(probe))
        torch.testing.assert_close(after.means[:, 0], before.means[:, 0], atol=1e-5, rtol=0)
        assert (after.stddevs[:, 0] <= before.stddevs[:, 0] + 1e-9).all()
    after = conditioned.predict(_numbers(new))
    assert (after.stddevs[:, 0] < 0.9 * ahead.stddevs[:, 0]).all()
    assert torch.equal(
        conditioned.inverse_squared_lengthscales, fitted.inverse_squared_lengthscales
    )
    assert torch.equal(conditioned.posterior.variance, fitted.posterior.variance)


def test_condition_on__the_same_trials__is_what_it_was() -> None:
    history = _smooth(3, 12, 3)
    fitted = fit_gp_mixture(history)
    probe = _numbers(_random(3, 20, 3))
    for again, before in zip(
        fitted.condition_on(history).predict(probe).moments(),
        fitted.predict(probe).moments(),
        strict=True,
    ):
        torch.testing.assert_close(again, before, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("spread", [1e-3, 6e-3, 0.019, 0.021, 0.05])
def test_log_density__trials_hardly_above_their_median__stay_finite(spread: float) -> None:
    values = torch.tensor([[0.9, 0.9 - spread, 0.9 - 2 * spread]])
    fitted = fit_gp_mixture(_measured(_random(1, 3, 2), values))
    expected = fitted.predict(_numbers(_random(1, 50, 2, seed=9)))
    assert expected.log_density(1000).isfinite().all()
    assert all(part.isfinite().all() for part in expected.moments())


def test_fit__further_trials__are_conditioned_on_and_left_out_one_by_one() -> None:
    every = _smooth(2, 60, 2)
    further, read = every.first(40), _from(every, 40)
    fitted = fit_gp_mixture(read, further)
    asked = _random(2, 50, 2)
    truth = 0.5 + 0.3 * torch.sin(5 * asked[..., 0])
    errors = [
        (each.predict(_numbers(asked)).moments()[0] - truth).square().mean()
        for each in (fitted, fit_gp_mixture(read))
    ]
    assert float(errors[0]) < 0.25 * float(errors[1])
    left_out = fitted.leave_one_out().means
    assert left_out.shape[-1] == fitted.length == 20
    # The slow way: each trial is predicted by the posterior of all others.
    for trial in (0, 7, 19):
        others = [i for i in range(60) if i != 40 + trial]
        rest = every.points.select(torch.tensor(others))
        metric, kinds = every.metric[:, others], every.metric_kinds[:, others]
        hidden = replace(fitted, further=fitted.further.first(0))
        alone = hidden.condition_on(HistoryTensors(rest, metric, kinds))
        means = alone.predict(every.points.select(torch.tensor([40 + trial]))).means
        torch.testing.assert_close(means[..., 0], left_out[..., trial])


def _from(history: HistoryTensors, start: int) -> HistoryTensors:
    points = history.points.select(slice(start, None))
    return HistoryTensors(points, history.metric[:, start:], history.metric_kinds[:, start:])
