"""Eight processes share a study on a server: no point is suggested twice, all are observed once.

    python tests/faults/server_turns.py postgresql+psycopg://user@host/database

The address is that of an empty database, which is left with a study named `turns`.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import optformer as of
from optformer.data.studies.errors import TrialError
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial
from optformer.serving.study.storage import create_store, open_store
from optformer.serving.study.study import Study
from optformer.serving.study.trial_store import StudyRecord

PROCESSES, EACH = 8, 15
POINTS = PROCESSES * EACH
CONFIG = StudyConfig(of.SearchSpace(n=of.Int(1, POINTS)), metric="m", goal="maximize")


@dataclass
class Point:
    params: dict[str, Any]
    explanation: None = None


class FirstFree:
    """Suggests the first points that are not in the history."""

    def suggest(
        self, config: StudyConfig, history: Sequence[Trial], count: int, **_: Any
    ) -> list[Point]:
        tried = {trial.params["n"] for trial in history}
        return [Point({"n": n}) for n in range(1, POINTS + 1) if n not in tried][:count]

    def predict(self, *_: Any) -> Sequence[Any]:
        raise NotImplementedError


def suggest(address: str, _: int) -> list[object]:
    store, name, record = open_store(address, "turns")
    planner: Any = FirstFree()
    study = Study(record, store, name=name, planner=planner)
    return [study.suggest().params["n"] for _ in range(EACH)]


def observe(address: str, me: int) -> list[int]:
    store, _, _ = open_store(address, "turns")
    accepted = []
    for trial in store.all():
        with suppress(TrialError):
            store.update(trial.finish(me, metrics={f"own{me}": 1.0}))
            accepted.append(trial.number)
    return accepted


def is_kept(trial: Trial, accepted: Mapping[int, list[int]]) -> bool:
    winners = [me for me, numbers in accepted.items() if trial.number in numbers]
    return len(winners) == 1 and trial.metrics == {f"own{winners[0]}": 1.0}


def main(address: str) -> int:
    create_store(address, "turns", StudyRecord(config=CONFIG, seed=0))
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=spawned) as pool:
        found = pool.map(partial(suggest, address), range(PROCESSES))
        distinct = len({n for points in found for n in points})
        accepted = dict(enumerate(pool.map(partial(observe, address), range(PROCESSES))))
    kept = sum(is_kept(trial, accepted) for trial in open_store(address, "turns")[0].all())
    print(f"{distinct} of {POINTS} suggestions are distinct, {kept} were observed once")
    return 0 if distinct == kept == POINTS else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
