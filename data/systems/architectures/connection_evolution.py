"""Evolution guided by learned connection weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from optformer.data.methods.base import check_count
from optformer.data.methods.points import draw_or_move, tried_keys
from optformer.data.studies.errors import ConfigError, MetricError
from optformer.data.studies.parameters import Value
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.data.systems.architectures.genes import (
    BLOCKS,
    FILTERS,
    OPERATIONS,
    SIZES,
    block_gene,
    connection_gene,
    gate_metric,
    present_blocks,
)

_STEP = 0.2  # of numbers when a neighbour is taken, on the unit interval
_DENSE = 0.75  # share of connections the first graphs have: learning says which to drop


class ConnectionEvolution:
    """Breeds graphs; a child keeps its parent's connections the likelier the heavier they grew.

    The population starts as random graphs with most connections present. From then on, each new
    point is a child of the fittest of a random few: a connection with learned weight g (the gate,
    in [0, 1]) is kept with probability g; each absent one is added with the share of connections
    that were dropped among the absent ones, so that their number stays about the same; then one
    block is split into two of half the filters, or two are merged into one, or one changes its
    operation, filters or size. A child that is evaluated joins the population, and the least fit
    member leaves it. Trials need the gates as metrics, as `connections.measure` gives them. Failed
    trials never join.

    Source: US20220189154A1; Ryoo, Piergiovanni, Tan, Angelova, "AssembleNet: searching for
    multi-stream neural connectivity in video architectures", 2020.

    Args:
        config: A study of the space of `genes`.
        population_size: Members alive at a time, at least 1.
        sample_size: Members drawn for a parent, at least 1.

    Raises:
        ConfigError: A setting is out of range, or the space is another one.
    """

    def __init__(
        self, config: StudyConfig, population_size: int = 10, sample_size: int = 3
    ) -> None:
        if population_size < 1 or sample_size < 1:
            raise ConfigError(
                "population_size and sample_size must be at least 1, "
                f"got {population_size} and {sample_size}"
            )
        for name in (block_gene(BLOCKS, "operation"), connection_gene(0, BLOCKS)):
            if name not in config.space:
                raise ConfigError(
                    f"connection evolution searches graphs of {BLOCKS} blocks, and this space has "
                    f"no {name!r}; take the space of optformer.data.systems.architectures.genes"
                )
        self._config = config
        self._population_size = population_size
        self._sample_size = sample_size

    def suggest(
        self, history: Sequence[Trial], count: int, rng: np.random.Generator
    ) -> list[dict[str, Value]]:
        """See `SearchMethod.suggest`.

        Raises:
            MetricError: A member of the population lacks the gate of a connection.
        """
        check_count(count)
        space, fixed = self._config.space, self._config.fixed
        scored = [trial for trial in history if trial.has_value]
        scored.sort(key=lambda trial: -self._config.sign * (trial.value or 0.0))
        members = scored[: self._population_size]
        born = sum(trial.status is not TrialStatus.FAILED for trial in history)
        tried = tried_keys(history)

        def draw() -> dict[str, Value]:
            if not members or number < self._population_size:
                params = self._founder(rng)
            else:
                # Members stand from fittest to least fit: the smallest place wins.
                parent = members[int(rng.integers(len(members), size=self._sample_size).min())]
                params = evolve_connections(parent, rng)
                mutate_block(params, rng)
            return space.repair({**params, **fixed}, rng)

        points = []
        for number in range(born, born + count):  # noqa: B007 (draw reads it)
            points.append(draw_or_move(draw, space, tried, rng, step_size=_STEP, fixed=fixed))
        return points

    def _founder(self, rng: np.random.Generator) -> dict[str, Value]:
        params = self._config.space.sample(rng)
        for name in _connections(params):
            params[name] = bool(rng.random() < _DENSE)
        return params


def evolve_connections(parent: Trial, rng: np.random.Generator) -> dict[str, Value]:
    """A copy of the parent's point with connections kept by weight, dropped and added.

    Raises:
        MetricError: The parent lacks the gate of one of its connections.
    """
    params = dict(parent.params)
    names = _connections(params)
    present = [name for name in names if params[name]]
    absent = [name for name in names if not params[name]]
    dropped = [name for name in present if not rng.random() < _gate(parent, name)]
    share = len(dropped) / len(absent) if absent else 0.0
    added = [name for name in absent if rng.random() < share]
    return params | dict.fromkeys(dropped, False) | dict.fromkeys(added, True)


def mutate_block(params: dict[str, Value], rng: np.random.Generator) -> None:
    """Split a block, merge two or change one, in place; whichever is possible, at random."""
    present = present_blocks(params)
    empty = [k for k in range(1, BLOCKS + 1) if k not in present]
    wide = [k for k in present if params[block_gene(k, "filters")] > FILTERS[0]]
    alike = [
        (i, k)
        for i in present
        for k in present
        if i < k and params[block_gene(i, "size")] == params[block_gene(k, "size")]
    ]
    kinds = ["split"] * bool(wide and empty) + ["merge"] * bool(alike) + ["change"] * bool(present)
    if not kinds:
        return  # an empty graph: repairing it or the next draw will do
    kind = kinds[int(rng.integers(len(kinds)))]
    if kind == "split":
        _split(params, _pick(wide, rng), _pick(empty, rng))
    elif kind == "merge":
        _merge(params, *alike[int(rng.integers(len(alike)))])
    else:
        _change(params, _pick(present, rng), rng)


def _split(params: dict[str, Value], block: int, place: int) -> None:
    """Give half of a block's filters to a twin with the same neighbours, as far as order allows."""
    half = FILTERS[FILTERS.index(params[block_gene(block, "filters")]) - 1]
    params[block_gene(block, "filters")] = half
    for name in ("operation", "filters", "size"):
        params[block_gene(place, name)] = params[block_gene(block, name)]
    for other in (0, *present_blocks(params)):
        if other in (block, place):
            continue
        theirs, twins = _between(other, block), _between(other, place)
        same_side = (other < block) == (other < place)
        params[twins] = bool(same_side and params.get(theirs, False))
    params[_between(block, place)] = False


def _merge(params: dict[str, Value], block: int, other: int) -> None:
    """Let a block take over another's filters and connections."""
    both = params[block_gene(block, "filters")] + params[block_gene(other, "filters")]
    params[block_gene(block, "filters")] = max(f for f in FILTERS if f <= both)
    for third in (0, *present_blocks(params)):
        if third in (block, other):
            continue
        mine, theirs = _between(third, block), _between(third, other)
        if (third < block) == (third < other):
            params[mine] = bool(params[mine] or params[theirs])
    params[block_gene(other, "operation")] = "none"


def _change(params: dict[str, Value], block: int, rng: np.random.Generator) -> None:
    """Another operation, number of filters or size."""
    choices: dict[str, Sequence[Value]] = {
        "operation": OPERATIONS,
        "filters": FILTERS,
        "size": SIZES,
    }
    name = list(choices)[int(rng.integers(len(choices)))]
    gene = block_gene(block, name)
    others = [choice for choice in choices[name] if choice != params[gene]]
    params[gene] = others[int(rng.integers(len(others)))]


def _connections(params: Mapping[str, Value]) -> list[str]:
    """Connections that are possible between the blocks present."""
    blocks = (0, *present_blocks(params))
    return [connection_gene(i, k) for k in blocks for i in blocks if i < k]


def _between(one: int, other: int) -> str:
    return connection_gene(min(one, other), max(one, other))


def _gate(trial: Trial, connection: str) -> float:
    name = gate_metric(connection.removeprefix("connect "))
    if name not in trial.metrics:
        raise MetricError(
            f"connection evolution needs metric {name!r} of trial {trial.number}; observe trials "
            "with all metrics that optformer.data.systems.architectures.connections.measure returns"
        )
    return trial.metrics[name]


def _pick(items: Sequence[int], rng: np.random.Generator) -> int:
    return items[int(rng.integers(len(items)))]
