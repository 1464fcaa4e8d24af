"""Studies under kills and contention: nothing observed is lost, doubled or overwritten.

    python tests/faults/storage.py [--rounds 100] [--only NAME ...]

Kills workers and creations of studies on SQLite and on a journal with a relative path; has eight
processes observe the same trials, also while another one keeps its turn, and open a new file
together; has two write at once. Prints a line a run, with how long the survivors had to wait, and
exits with 1 when anything was lost or is unusable. Takes some minutes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import optformer as of
from optformer.data.studies.errors import OptFormerError, StudyError, TrialError
from optformer.data.studies.study_config import StudyConfig
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.serving.study.optuna_access import open_storage
from optformer.serving.study.storage import create_store, open_store
from optformer.serving.study.trial_store import StudyRecord

ADDRESSES = ("sqlite:///s.db", "runs/s.journal")
SPACE = of.SearchSpace(x=of.Float(0, 1))
RECORD = StudyRecord(config=StudyConfig(SPACE, metric="m", goal="maximize"), seed=0)
POINT = {"x": 0.5}
PROCESSES = 8
_Result = TypeVar("_Result")
_START = multiprocessing.get_context("fork")


def kill_workers(address: str, rounds: int) -> str:
    """Workers that add and observe trials are killed; what they reported must be there."""
    create_store(address, "s", RECORD)
    reported: list[tuple[int, float]] = []
    waits = Waits()
    for _ in range(rounds):
        reader, writer = os.pipe()
        worker = _start(_work, address, writer)
        os.close(writer)
        with os.fdopen(reader) as lines:
            first = lines.readline()
            time.sleep(random.uniform(0, 0.02))
            _kill(worker)
            told = [line for line in [first, *lines] if line.endswith("\n")]
        reported += [(int(number), float(value)) for number, value in map(str.split, told)]
        waits.measure(lambda: _add(address), lambda: _add(address))
    trials = open_store(address, "s")[0].all()
    for number, value in reported:
        check(trials[number].value == value, f"trial {number} has {trials[number]}, not {value}")
        check(trials[number].metrics == {"m": value}, f"trial {number} has {trials[number]}")
    return f"{len(reported)} observed trials are there, {waits.told()}"


def kill_creations(address: str, rounds: int) -> str:
    """Creations of studies are killed; every name must be usable afterwards."""
    open_storage(address)
    for number in range(rounds):
        reader, writer = os.pipe()
        worker = _start(_create, address, number, writer)
        os.close(writer)
        os.read(reader, 1)  # it has opened the storage
        os.close(reader)
        time.sleep(random.uniform(0.0, 0.15 if address.startswith("sqlite") else 0.02))
        _kill(worker)
    waits = Waits()
    taken_over = 0
    names = {name for number in range(rounds) for name in _names(number)}
    for name in sorted(names):
        taken_over += waits.measure(
            partial(_take, address, name), partial(_take, address, f"{name}-of-nobody")
        )
    made = len(names) - taken_over
    return f"{len(names)} names are usable, {made} were made by the killed, {waits.told()}"


def observe_together(address: str, rounds: int) -> str:
    """Eight processes observe the same trials; each is observed once and keeps its value."""
    store = create_store(address, "s", RECORD)
    for _ in range(rounds):
        store.append(Trial(number=-1, params=POINT, study="s"))
    results = _START.Queue()
    start = _START.Event()
    workers = [_start(_observe, address, me, start, results) for me in range(PROCESSES)]
    time.sleep(1.0)
    start.set()
    accepted = dict(results.get() for _ in workers)
    for worker in workers:
        worker.join()
    trials = open_store(address, "s")[0].all()
    for number in range(rounds):
        winners = [me for me, numbers in accepted.items() if number in numbers]
        check(len(winners) == 1, f"trial {number} was observed by {winners}")
        found = trials[number]
        right = {"m": float(winners[0]), f"own{winners[0]}": 1.0}
        check(found.value == winners[0], f"trial {number} has {found.value}, not {winners[0]}")
        check(found.metrics == right, f"trial {number} has the metrics of several: {found.metrics}")
    return f"{rounds} trials were observed once each"


def observe_during_turns(address: str, rounds: int) -> str:
    """Eight processes observe while another one suggests all the time; nobody waits for it."""
    store = create_store(address, "s", RECORD)
    for _ in range(rounds):
        store.append(Trial(number=-1, params=POINT, study="s"))
    results = _START.Queue()
    start = _START.Event()
    workers = [_start(_observe, address, me, start, results) for me in range(PROCESSES)]
    time.sleep(1.0)
    with store.suggest_lock():  # of a suggestion that takes as long as it likes
        started = time.monotonic()
        start.set()
        accepted = dict(results.get() for _ in workers)
        seconds = time.monotonic() - started
    for worker in workers:
        worker.join()
    observed = sorted(number for numbers in accepted.values() for number in numbers)
    check(observed == list(range(rounds)), f"observed were {observed}")
    return f"{rounds} trials were observed by {PROCESSES} processes in {seconds:.1f} s of one turn"


def two_writers(address: str, rounds: int) -> str:
    """Two processes add and observe trials at once; all of them are there, numbered in order."""
    create_store(address, "s", RECORD)
    results = _START.Queue()
    workers = [_start(_write, address, me, rounds, results) for me in range(2)]
    told = dict(pair for _ in workers for pair in results.get().items())
    for worker in workers:
        worker.join()
    trials = open_store(address, "s")[0].all()
    check([trial.number for trial in trials] == list(range(2 * rounds)), "trials are missing")
    found = {trial.number: trial.value for trial in trials}
    check(found == told, f"stored were {found}, written {told}")
    return f"{2 * rounds} trials are there"


def open_together(address: str, rounds: int) -> str:
    """Eight processes open a new file at once."""
    failed = 0
    for number in range(max(1, rounds // 10)):
        start = _START.Event()
        fresh = address.replace("s.", f"s{number}.")
        workers = [_start(_open, fresh, start) for _ in range(PROCESSES)]
        time.sleep(0.2)
        start.set()
        for worker in workers:
            worker.join()
            failed += worker.exitcode != 0
    check(not failed, f"{failed} of the processes could not open it")
    return f"{max(1, rounds // 10)} files were opened by {PROCESSES} processes each"


class Waits:
    """How long the survivors take, beside how long the same takes when nobody has died."""

    def __init__(self) -> None:
        self._after: list[float] = []
        self._else: list[float] = []

    def measure(self, call: Callable[[], _Result], usual: Callable[[], object]) -> _Result:
        """Do something after somebody died, and then the like where nobody has."""
        started = time.monotonic()
        result = call()
        between = time.monotonic()
        usual()
        self._after.append(between - started)
        self._else.append(time.monotonic() - between)
        return result

    def told(self) -> str:
        """The longest of both; raises `WrongError` where the dead have cost 2 s."""
        after, usual = max(self._after), max(self._else)
        check(after - usual < 2.0, f"somebody took {after:.1f} s after a kill, else {usual:.1f} s")
        return f"at most {after:.2f} s after a kill, {usual:.2f} s else"


def _add(address: str) -> None:
    store, _, _ = open_store(address, "s")
    store.append(Trial(number=-1, params=POINT, study="s").finish(0.0))


def _take(address: str, name: str) -> bool:
    """Create a study or open it; whether it was created."""
    try:
        create_store(address, name, RECORD)
    except StudyError:
        open_store(address, name)
        return False
    return True


def _work(address: str, told: int) -> None:
    store, _, _ = open_store(address, "s")
    while True:
        value = random.random()
        trial = store.append(Trial(number=-1, params=POINT, study="s"))
        store.update(trial.finish(value, metrics={"m": value}))
        os.write(told, f"{trial.number} {value!r}\n".encode())


def _names(number: int) -> list[str]:
    return [f"s{number}-{index}" for index in range(3)]


def _create(address: str, number: int, ready: int) -> None:
    storage = open_storage(address)
    os.write(ready, b"!")
    for name in _names(number):
        create_store(storage, name, RECORD)


def _observe(address: str, me: int, start: Any, results: Any) -> None:
    store, _, _ = open_store(address, "s")
    trials = store.all()
    start.wait()
    accepted = []
    for trial in trials:
        with suppress(TrialError):
            store.update(trial.finish(me, metrics={"m": float(me), f"own{me}": 1.0}))
            accepted.append(trial.number)
    results.put((me, accepted))


def _write(address: str, me: int, rounds: int, results: Any) -> None:
    store, _, _ = open_store(address, "s")
    written = {}
    for index in range(rounds):
        trial = store.append(Trial(number=-1, params=POINT, study="s"))
        value = float(10 * index + me)
        written[trial.number] = value
        store.update(trial.finish(value))
    results.put(written)


def _open(address: str, start: Any) -> None:
    start.wait()
    storage = open_storage(address)
    with suppress(StudyError):
        create_store(storage, "s", RECORD)
    store, _, _ = open_store(address, "s")
    trial = store.append(Trial(number=-1, params=POINT, study="s"))
    store.update(trial.finish(1.0))
    if store.all()[trial.number].status is not TrialStatus.COMPLETED:
        raise SystemExit(1)


def _start(target: Callable[..., None], *args: Any) -> Any:
    process = _START.Process(target=target, args=args)
    process.start()
    return process


def _kill(worker: Any) -> None:
    with suppress(ProcessLookupError):
        os.kill(worker.pid, signal.SIGKILL)
    worker.join()


class WrongError(Exception):
    """Something was lost, doubled or is unusable."""


def check(right: bool, text: str) -> None:
    """Raise `WrongError` unless something is right."""
    if not right:
        raise WrongError(text)


RUNS = {
    "kill-workers": kill_workers,
    "kill-creations": kill_creations,
    "observe-together": observe_together,
    "observe-during-turns": observe_during_turns,
    "two-writers": two_writers,
    "open-together": open_together,
}


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100, help="kills, or trials (default 100)")
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS))
    args = parser.parse_args()
    wrong = 0
    for name in args.only:
        for address in ADDRESSES:
            with tempfile.TemporaryDirectory() as folder:
                os.chdir(folder)
                Path("runs").mkdir()
                started = time.monotonic()
                try:
                    said = RUNS[name](address, args.rounds)
                except (WrongError, OptFormerError) as error:
                    said, wrong = f"WRONG: {error}", wrong + 1
                seconds = time.monotonic() - started
                print(f"{name} {address}: {said} ({seconds:.0f} s)", flush=True)
                os.chdir("/")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
