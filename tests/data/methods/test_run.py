"""The loop that lets a search method work on an objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from optformer.data.methods.run import run_method
from optformer.data.studies.errors import ObjectiveError, SearchSpaceError
from optformer.data.studies.parameters import Float
from optformer.data.studies.spaces import SearchSpace
from optformer.data.studies.trials import Trial

SPACE = SearchSpace(x=Float(0, 10))


class Recording:
    """Suggests the number of trials it saw, and notes them."""

    def __init__(self) -> None:
        self.seen: list[list[float | None]] = []
        self.drawn: list[int] = []

    def suggest(
        self, history: Sequence[Trial], count: int, rng: np.random.Generator
    ) -> list[dict[str, Any]]:
        self.seen.append([trial.value for trial in history])
        self.drawn.append(int(rng.integers(2**31)))
        return [{"x": float(len(history))} for _ in range(count)]


def value(params: Mapping[str, Any]) -> float:
    if params["x"] == 1.0:
        raise ObjectiveError("out of memory")
    return float("nan") if params["x"] == 2.0 else float(params["x"])


def generator(number: int) -> np.random.Generator:
    return np.random.default_rng([7, number])


def test_run_method__failures_and_values__are_the_history_of_the_next_trial() -> None:
    method = Recording()
    done = list(run_method(method, SPACE, value, 4, generator))
    assert [timed.trial.number for timed in done] == [0, 1, 2, 3]
    assert [timed.trial.value for timed in done] == [0.0, None, None, 3.0]
    assert [timed.trial.reason for timed in done[1:3]] == [
        "out of memory",
        "the objective returned nan",
    ]
    assert method.seen == [[], [0.0], [0.0, None], [0.0, None, None]]
    assert method.drawn == [generator(number).integers(2**31) for number in range(4)]
    assert all(timed.suggesting is not None and timed.evaluating >= 0 for timed in done)


def test_run_method__given_points_and_batches__are_told_together() -> None:
    method = Recording()
    given = [{"x": 5.0}, {"x": 6.0}]
    done = list(run_method(method, SPACE, value, 7, generator, given=given, batch=3))
    assert [timed.trial.params["x"] for timed in done] == [5.0, 6.0, 2.0, 2.0, 2.0, 5.0, 5.0]
    assert [timed.suggesting is None for timed in done] == [True] * 2 + [False] * 5
    assert method.seen == [[5.0, 6.0], [5.0, 6.0, None, None, None]]


def test_run_method__illegal_point__is_refused() -> None:
    class Illegal(Recording):
        def suggest(self, *args: Any) -> list[dict[str, Any]]:
            return [{"x": 99.0}]

    with pytest.raises(SearchSpaceError, match="'x'"):
        list(run_method(Illegal(), SPACE, value, 1, generator))
