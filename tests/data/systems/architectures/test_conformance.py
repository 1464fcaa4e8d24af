"""What the search method of every architecture system must do, with nothing trained."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import pytest

from optformer.data.methods import SearchMethod
from optformer.data.studies.errors import ConfigError
from optformer.data.studies.parameters import Value
from optformer.data.studies.trials import Trial
from optformer.data.systems.architectures.genes import BLOCKS, connection_gene, gate_metric
from optformer.data.systems.architectures.registry import ARCHITECTURES
from optformer.data.systems.architectures.search import System

TRIALS = 15
GATES = {
    gate_metric(connection_gene(i, k).removeprefix("connect ")): 0.1 * (1 + (i + k) % 9)
    for k in range(1, BLOCKS + 1)
    for i in range(k)
}


def finished(trial: Trial) -> Trial:
    """The trial with a made-up value and the gates that connection evolution reads."""
    return trial.finish(float(len(repr(trial.params)) % 7), metrics=GATES)


def run(method: SearchMethod, trials: int, *, batch: int = 1) -> list[Trial]:
    """A search in which every fifth trial fails."""
    history: list[Trial] = []
    while len(history) < trials:
        rng = np.random.default_rng([3, len(history)])
        for params in method.suggest(history, batch, rng):
            trial = Trial(len(history), params)
            history.append(trial.fail("crash") if trial.number % 5 == 4 else finished(trial))
    return history


@pytest.fixture(scope="module", params=ARCHITECTURES.names())
def system(request: pytest.FixtureRequest) -> System:
    return ARCHITECTURES[request.param]()


def fresh(system: System) -> SearchMethod:
    return system.method(system.config, TRIALS)


def key(params: Mapping[str, Value]) -> str:
    return repr(sorted(params.items()))


@pytest.mark.parametrize("batch", [1, 4])
def test_suggest__whole_search__gives_legal_points_that_are_never_repeated(
    system: System, batch: int
) -> None:
    history = run(fresh(system), 2 * TRIALS, batch=batch)
    for trial in history:
        assert system.config.space.validate(trial.params) == trial.params
    assert len({key(trial.params) for trial in history}) == len(history)


def test_suggest__same_history_and_seed__repeats_itself_in_a_fresh_method(system: System) -> None:
    used = fresh(system)
    for trials in (0, TRIALS // 2, TRIALS):
        history = run(used, trials)
        again = [
            method.suggest(history, 3, np.random.default_rng(7))
            for method in (used, used, fresh(system))
        ]
        assert again[0] == again[1] == again[2]


def test_suggest__pending_and_failed_trials__are_read_and_not_repeated(system: System) -> None:
    points = fresh(system).suggest([], 6, np.random.default_rng(1))
    pending = [Trial(i, point) for i, point in enumerate(points)]
    for history in (
        pending,
        [trial.fail("crash") for trial in pending],
        [finished(t) if t.number % 2 else t for t in pending],
        [finished(t) if t.number % 3 else t.fail("crash") for t in pending],
    ):
        for point in fresh(system).suggest(history, 3, np.random.default_rng(2)):
            system.config.space.validate(point)
            assert key(point) not in {key(trial.params) for trial in history}


def test_suggest__history__is_not_changed(system: System) -> None:
    method = fresh(system)
    history = run(method, 6)
    before = copy.deepcopy(history)
    for point in method.suggest(history, 4, np.random.default_rng(0)):
        point.clear()
    assert history == before


@pytest.mark.parametrize("count", [0, -1])
def test_suggest__count_below_one__is_refused(system: System, count: int) -> None:
    with pytest.raises(ConfigError, match=f"count must be at least 1, got {count}"):
        fresh(system).suggest([], count, np.random.default_rng(0))
