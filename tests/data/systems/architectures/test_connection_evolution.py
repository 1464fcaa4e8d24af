"""What defines evolution by connection weights: strong connections survive."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from optformer.data.studies.errors import ConfigError, MetricError
from optformer.data.studies.parameters import Float, Value
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.data.systems.architectures import connections, genes
from optformer.data.systems.architectures.connection_evolution import (
    ConnectionEvolution,
    evolve_connections,
    mutate_block,
)
from optformer.data.systems.architectures.training import Recipe

CONFIG = StudyConfig(genes.space(), "reward", "maximize")


def names(params: dict[str, Value]) -> list[str]:
    return [name for name in params if name.startswith("connect") and params[name]]


def graph(share: float = 0.5, seed: int = 0) -> dict[str, Value]:
    """All six blocks, with a share of the connections."""
    rng = np.random.default_rng(seed)
    point = {genes.block_gene(k, "operation"): "convolution" for k in range(1, genes.BLOCKS + 1)}
    params = CONFIG.space.repair(point, rng)
    return {
        name: bool(rng.random() < share) if name.startswith("connect") else value
        for name, value in params.items()
    }


def measured(params: dict[str, Value], number: int = 0, value: float = 0.5) -> Trial:
    """A trial whose gates are 0.9 for connections from the stem and 0.2 for others."""
    gates = {
        genes.gate_metric(name.removeprefix("connect ")): 0.9 if " 0-" in name else 0.2
        for name in names(params)
    }
    return Trial(number, params).finish(value, metrics=gates)


def test_evolve_connections__strong_and_weak_ones__survive_by_their_weight() -> None:
    parent = measured(graph())
    rng = np.random.default_rng(0)
    children = [evolve_connections(parent, rng) for _ in range(300)]
    for name in names(dict(parent.params)):
        kept = np.mean([child[name] for child in children])
        assert kept == pytest.approx(0.9 if " 0-" in name else 0.2, abs=0.09)


def test_evolve_connections__absent_ones__replace_the_dropped_in_number() -> None:
    parent = measured(graph())
    rng = np.random.default_rng(1)
    children = [evolve_connections(parent, rng) for _ in range(300)]
    before = len(names(dict(parent.params)))
    assert np.mean([len(names(child)) for child in children]) == pytest.approx(before, abs=0.5)
    fresh = {name for child in children for name in names(child)} - set(names(dict(parent.params)))
    assert len(fresh) == 21 - before


def test_evolve_connections__gate_not_measured__is_named() -> None:
    parent = Trial(3, connections.chain()).finish(0.5)
    with pytest.raises(MetricError, match="needs metric 'gate 0-1' of trial 3"):
        evolve_connections(parent, np.random.default_rng(0))


def test_mutate_block__many_times__splits_merges_and_changes_into_legal_graphs() -> None:
    rng = np.random.default_rng(0)
    counts = set()
    for seed in range(60):
        params: dict[str, Value] = connections.chain()
        before = dict(params)
        mutate_block(params, np.random.default_rng(seed))
        legal = CONFIG.space.validate(CONFIG.space.repair(params, rng))
        counts.add(len(genes.present_blocks(legal)))
        assert params != before
    assert counts == {3, 4}  # the chain's sizes differ, so no two of its blocks can merge


def test_mutate_block__split__halves_the_filters_and_keeps_the_neighbours() -> None:
    for seed in range(40):
        params: dict[str, Value] = connections.chain()
        mutate_block(params, np.random.default_rng(seed))
        blocks = genes.present_blocks(params)
        if blocks == [1, 2, 3, 4]:
            filters = [params[genes.block_gene(k, "filters")] for k in blocks]
            assert sum(filters) == 8 + 16 + 16
            return
    pytest.fail("no split in 40 mutations")


def test_mutate_block__merge__joins_filters_and_connections() -> None:
    params = {**graph(0.0), **{genes.block_gene(k, "size"): 4 for k in (1, 2)}}
    params |= {genes.block_gene(k, "filters"): 8 for k in range(1, 7)}
    params |= {genes.block_gene(k, "size"): 8 for k in range(3, 7)}
    params |= {genes.connection_gene(0, 2): True}
    for seed in range(200):
        child = dict(params)
        mutate_block(child, np.random.default_rng(seed))
        if genes.present_blocks(child) == [1, 3, 4, 5, 6]:
            assert child[genes.block_gene(1, "filters")] == 16
            assert child[genes.connection_gene(0, 1)]
            return
    pytest.fail("blocks 1 and 2 never merged")


def test_suggest__founders__are_dense_and_children_come_from_the_fittest() -> None:
    method = ConnectionEvolution(CONFIG, population_size=4, sample_size=200)
    founders = method.suggest([], 20, np.random.default_rng(0))
    history = [measured(point, i, value=float(i == 2)) for i, point in enumerate(founders)]
    assert np.mean([len(names(dict(t.params))) > 0 for t in history]) > 0.8
    before = copy.deepcopy(history)
    parent = history[2].params
    sizes = [genes.block_gene(k, "operation") for k in range(1, genes.BLOCKS + 1)]
    for child in method.suggest(history, 10, np.random.default_rng(1)):
        CONFIG.space.validate(child)
        assert sum(child[name] != parent[name] for name in sizes) <= 1
    assert history == before


def test_suggest__pending_and_failed__are_read() -> None:
    method = ConnectionEvolution(CONFIG, population_size=2)
    history = [Trial(0, graph(seed=1)), Trial(1, graph(seed=2)).fail("crash")]
    history += [measured(graph(seed=3), 2), measured(graph(seed=4), 3)]
    points = [method.suggest(history, 4, np.random.default_rng(5)) for _ in range(2)]
    assert points[0] == points[1]
    for point in points[0]:
        CONFIG.space.validate(point)


def test_connection_evolution__another_space__is_refused() -> None:
    config = StudyConfig(SearchSpace(x=Float(0, 1)), "reward", "maximize")
    with pytest.raises(ConfigError, match=r"this space has no 'block6\.operation'"):
        ConnectionEvolution(config)


def test_graph_network__any_point__trains_and_tells_its_gates() -> None:
    rng = np.random.default_rng(0)
    for _ in range(12):
        network = connections.GraphNetwork(CONFIG.space.sample(rng))
        assert network(torch.rand(3, 1, 8, 8)).shape == (3, 10)
    metrics = connections.measure(connections.chain(), Recipe(epochs=1))
    gates = {name: value for name, value in metrics.items() if name.startswith("gate")}
    assert set(gates) == {"gate 0-1", "gate 1-2", "gate 2-3"}
    start = float(torch.sigmoid(torch.tensor(connections.GATE_GAIN * connections.GATE_START)))
    assert all(0 < value < 1 and abs(value - start) > 1e-4 for value in gates.values())
    assert metrics["reward"] == pytest.approx(metrics["accuracy"])  # the chain is the target
