"""Eight processes share a study on a server: no point is suggested twice, all are observed once.

    python tests/faults/server_turns.py [--only postgresql mariadb] [--address ADDRESS]

Starts servers of its own, or takes the empty database of an address. A server of its own is also
stopped and started again while the processes suggest and observe; they repeat the calls that fail.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from searches import report
from servers import SERVERS, Server, server

import optformer as of
from optformer.data.studies.errors import StorageError, TrialError
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.serving.study.storage import create_store, open_store
from optformer.serving.study.study import Study
from optformer.serving.study.trial_store import StudyRecord

PROCESSES, EACH = 8, 15
POINTS = PROCESSES * EACH
CONFIG = StudyConfig(of.SearchSpace(n=of.Int(1, POINTS)), metric="m", goal="maximize")
PATIENCE = 120.0  # seconds for which a call is repeated
STOPS = (20, 60, 100, 140, 180, 220)  # after so many calls the server is stopped

_Result = TypeVar("_Result")


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
        free = [n for n in range(1, POINTS + 1) if n not in tried]
        return [Point({"n": n}) for n in (free or [POINTS])[:count]]

    def predict(self, *_: Any) -> Sequence[Any]:
        raise NotImplementedError


def patiently(call: Callable[[], _Result]) -> _Result:
    """Repeat a call while the storage fails."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return call()
        except StorageError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def suggest(address: str, name: str, _: int) -> list[int]:
    """The points that one process is given."""
    store, _name, record = patiently(lambda: open_store(address, name))
    planner: Any = FirstFree()
    study = Study(record, store, name=name, planner=planner)
    return [study_point(study) for _ in range(EACH)]


def study_point(study: Study) -> int:
    time.sleep(0.02)
    point = patiently(study.suggest).params["n"]
    assert isinstance(point, int)
    return point


def observe(address: str, name: str, me: int) -> list[int]:
    """The trials of which one process was told that it has observed them."""
    store, _, _ = patiently(lambda: open_store(address, name))
    accepted = []
    for trial in patiently(store.all):
        finished = trial.finish(me, metrics={f"own{me}": 1.0})
        with suppress(TrialError):
            patiently(lambda finished=finished: store.update(finished))  # type: ignore[misc]
            accepted.append(trial.number)
    return accepted


def share(address: str, name: str, disturb: Callable[[], None] | None = None) -> list[str]:
    """What goes wrong when eight processes share a study."""
    create_store(address, name, StudyRecord(config=CONFIG, seed=0))
    began = time.monotonic()
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=spawned) as pool:
        given = pool.map(partial(suggest, address, name), range(PROCESSES))
        disturbing = threading.Thread(target=disturb or (lambda: None))
        disturbing.start()
        points = sorted(n for found in given for n in found)
        told = pool.map(partial(observe, address, name), range(PROCESSES))
        accepted = dict(enumerate(told))
        disturbing.join()
    trials = patiently(lambda: open_store(address, name)[0].all())
    kept = sum(is_kept(trial, accepted) for trial in trials)
    print(
        f"{name}: {len(points)} suggestions, {len(set(points))} distinct; {len(trials)} trials, "
        f"{kept} observed once ({time.monotonic() - began:.0f} s)",
        flush=True,
    )
    faults = []
    if points != list(range(1, POINTS + 1)):
        faults.append(f"{name}: points were repeated or left out: {points}")
    if not kept == len(trials) == POINTS:
        odd = [trial for trial in trials if not is_kept(trial, accepted)]
        faults.append(f"{name}: trials were not observed once: {odd}")
    return faults


def is_kept(trial: Trial, accepted: Mapping[int, list[int]]) -> bool:
    """Whether a trial has what the one process that observed it says."""
    winners = [me for me, numbers in accepted.items() if trial.number in numbers]
    right = trial.status is TrialStatus.COMPLETED and trial.value in winners
    return right and len(winners) == 1 and trial.metrics == {f"own{winners[0]}": 1.0}


def stop_often(running: Server, name: str) -> None:
    """Stop a server while the processes suggest and while they observe, and start it again."""
    store, _, _ = open_store(running.address, name)
    for calls in STOPS:
        while sum(1 + (trial.value is not None) for trial in patiently(store.all)) < calls:
            time.sleep(0.01)
        running.stop()
        time.sleep(1.0)
        running.start()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SERVERS, default=list(SERVERS))
    parser.add_argument("--address", help="of an empty database, instead of own servers")
    args = parser.parse_args()
    if args.address:
        return report(share(args.address, "turns"))
    faults = []
    for kind in args.only:
        with server(kind) as running:
            print(f"{kind}:")
            faults += share(running.address, "turns")
            faults += share(running.address, "stopped", partial(stop_often, running, "stopped"))
    return report(faults)


if __name__ == "__main__":
    sys.exit(main())
