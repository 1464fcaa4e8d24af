"""Cells, factorized blocks and compound scaling: their spaces build what they say."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch

from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.data.systems.architectures import cells, compound_scaling, factorized
from optformer.data.systems.architectures.compound_scaling import (
    BASELINE,
    CoefficientGrid,
    Coefficients,
    ScaledNetwork,
    baseline_flops,
)
from optformer.data.systems.architectures.cost import count_flops
from optformer.data.systems.architectures.registry import ARCHITECTURES
from optformer.data.systems.architectures.training import Recipe

QUICK = Recipe(epochs=1)
COEFFICIENTS = StudyConfig(compound_scaling.space(), "accuracy", "maximize")


def test_cells__any_point__is_a_network_whose_loose_states_are_joined() -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        point = cells.space().sample(rng)
        network = cells.CellNetwork(point)
        assert network(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    network = cells.CellNetwork(cells.plain())
    assert isinstance(network.cells[0], cells._Cell)
    assert network.cells[0].loose == [4]  # a chain: only the last state is loose


def test_cells__system__searches_with_evolution_and_trains() -> None:
    system = ARCHITECTURES["regularized-evolution"]()
    assert 0.1 < system.measure(cells.plain())["accuracy"] < 1.0
    point = system.method(system.config, 9).suggest([], 1, np.random.default_rng(0))
    assert system.config.space.validate(point[0])


def test_factorized__any_point__is_a_network_of_equal_layers_a_block() -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        network = factorized.build(factorized.space().sample(rng))
        assert network(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    plain = factorized.reference()
    costs = [
        count_flops(factorized.build({**plain, "block2.layers": layers}), 8) for layers in (1, 2, 3)
    ]
    assert costs[2] - costs[1] == costs[1] - costs[0] > 0


def test_factorized__operations_counted__reward_repeats_and_is_the_formula() -> None:
    measure = partial(factorized.measure, latency="flops", exponent=-0.07, recipe=QUICK)
    point = {**factorized.reference(), "block1.layers": 2}
    found = measure(point)
    assert found == measure(point)
    expected = found["accuracy"] * (found["cost"] / found["target"]) ** -0.07
    assert found["reward"] == pytest.approx(expected)
    assert found["cost"] > found["target"]


def test_factorized__latency_measured__is_milliseconds_beside_the_reference() -> None:
    found = factorized.measure(
        factorized.reference(), latency="measured", exponent=-0.07, recipe=QUICK
    )
    assert 0.0 < found["cost"] < 1000.0
    assert 0.2 < found["cost"] / found["target"] < 5.0  # the same network, taking turns


def test_coefficients__any_point__keep_the_cost_product() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        coefficients = Coefficients.of(compound_scaling.space().sample(rng))
        assert coefficients.cost == pytest.approx(2.0)
        assert min(coefficients.alpha, coefficients.beta, coefficients.gamma) >= 1.0


@pytest.mark.parametrize("phi", [1.0, 2.0, 3.0])
def test_scale__counted_operations__grow_as_the_coefficients_say(phi: float) -> None:
    coefficients = Coefficients.of({"depth_share": 1 / 3, "width_share": 0.5})
    shape = coefficients.scale(phi)
    ratio = count_flops(ScaledNetwork(shape), shape.resolution) / baseline_flops()
    assert ratio == pytest.approx(2.0**phi, rel=0.3)  # whole layers, channels and pixels
    assert coefficients.scale(0.0) == BASELINE


def test_coefficient_grid__fifteen_trials__are_all_ways_to_give_four_parts_to_three() -> None:
    points = CoefficientGrid(COEFFICIENTS, 15).suggest([], 15, np.random.default_rng(0))
    shares = set()
    for point in points:
        coefficients = Coefficients.of(COEFFICIENTS.space.validate(point))
        parts = 4 * np.log2([coefficients.alpha, coefficients.beta**2, coefficients.gamma**2])
        assert parts == pytest.approx(np.round(parts), abs=1e-9)
        shares.add(tuple(np.round(parts).astype(int)))
    assert len(shares) == 15


def test_coefficient_grid__history__is_not_repeated_and_finer_points_follow() -> None:
    method = CoefficientGrid(COEFFICIENTS, 3)
    first = method.suggest([], 3, np.random.default_rng(0))
    history = [Trial(i, point).fail("crash") for i, point in enumerate(first)]
    more = method.suggest(history, 3, np.random.default_rng(0))
    assert all(point not in first for point in more)


def test_coefficient_grid__too_few_trials_or_another_space__is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 3 trials, got 2"):
        CoefficientGrid(COEFFICIENTS, 2)
    other = StudyConfig(SearchSpace(x=Float(0, 1)), "accuracy", "maximize")
    with pytest.raises(ConfigError, match=r"this space has \['x'\]"):
        CoefficientGrid(other)


def test_names__five_systems__are_described_without_torch() -> None:
    code = (
        "import sys\n"
        "from optformer.data.systems.architectures.registry import ARCHITECTURES\n"
        "lines = [ARCHITECTURES.describe(name) for name in ARCHITECTURES.names()]\n"
        "assert len(lines) == 5 and all(lines)\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_create__unknown_name__lists_the_known() -> None:
    with pytest.raises(ConfigError, match="unknown architecture search system 'x'; known are"):
        ARCHITECTURES["x"]


@pytest.mark.parametrize("name", ARCHITECTURES.names())
def test_create__every_system__has_a_described_space_and_legal_known_points(name: str) -> None:
    system = ARCHITECTURES[name]()
    assert system.name == name
    assert 2 <= len(system.config.space) <= 64
    assert all(parameter.description for parameter in system.config.space.values())
    assert {"task", "dataset", "dataset size", "model"} <= system.config.metadata.keys()
    assert system.objective.reserved
    assert system.known
    for point in system.known.values():
        system.config.space.validate(point)
    method = system.method(system.config, 15)
    for point in method.suggest([], 3, np.random.default_rng(0)):
        system.config.space.validate(point)
