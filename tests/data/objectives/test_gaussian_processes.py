"""Samples of Gaussian processes: covariance, gradient and optimum."""

from __future__ import annotations

import numpy as np
import pytest

from optformer.data.objectives import gaussian_processes
from optformer.data.objectives.gaussian_processes import NAMES, Sample, gp_objective
from optformer.data.studies.errors import ConfigError


def test_names__of_the_suite__are_every_kernel_in_1_to_8_dimensions() -> None:
    assert len(set(NAMES)) == 24
    assert {name.rpartition("d")[2] for name in NAMES} == set("12345678")


@pytest.mark.parametrize("name", ["rbf-d1", "matern52-d3", "matern32-d2"])
def test_objective__no_point__beats_its_optimum(name: str) -> None:
    objective = gp_objective(name)
    assert objective.config.goal == "maximize"
    rng = np.random.default_rng(1)
    values = [objective(objective.config.space.sample(rng)) for _ in range(500)]
    optimum = float(objective.optimum or 0.0)
    assert max(values) <= optimum + 1e-9
    assert optimum - max(values) < 0.3 * np.ptp(values)


def test_objective__same_name__is_the_same_function() -> None:
    point = {"x1": 0.3, "x2": 0.7}
    value = gp_objective("rbf-d2")(point)
    gaussian_processes._sample.cache_clear()
    assert gp_objective("rbf-d2")(point) == value
    assert gp_objective("matern52-d2")(point) != value


def test_objective__unknown_name__lists_the_known() -> None:
    with pytest.raises(ConfigError, match=r"'rbf-d9'.*'rbf-d1'"):
        gp_objective("rbf-d9")


def test_sample__gradient__agrees_with_differences() -> None:
    sample = gaussian_processes._sample("matern52-d4")
    point = np.array([0.2, 0.4, 0.6, 0.8])
    steps = 1e-6 * np.eye(4)
    slopes = (sample(point + steps) - sample(point - steps)) / 2e-6
    assert sample.gradient(point) == pytest.approx(slopes, abs=1e-5)


@pytest.mark.parametrize("kernel", ["rbf", "matern52", "matern32"])
def test_sample__many_draws__have_the_kernels_covariance(kernel: str) -> None:
    from sklearn.gaussian_process import kernels

    rng = np.random.default_rng(0)
    points = np.array([[0.0], [0.1], [0.4]])
    draws = np.stack([_draw(kernel, rng)(points) for _ in range(2000)])
    known = {
        "rbf": kernels.RBF(0.3),
        "matern52": kernels.Matern(0.3, nu=2.5),
        "matern32": kernels.Matern(0.3, nu=1.5),
    }
    assert np.cov(draws.T) == pytest.approx(known[kernel](points), abs=0.1)


def _draw(kernel: str, rng: np.random.Generator) -> Sample:
    return gaussian_processes.draw_sample(kernel, np.array([0.3]), rng)
