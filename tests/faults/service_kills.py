"""Kill servers and workers at random moments: no observed value is lost or doubled.

    python tests/faults/service_kills.py [--kills 100] [--server postgresql]

Two servers share a storage, SQLite or a database server of the test's own. Four workers ask for
trials, write down what they measure, observe, and write down what was answered.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from searches import report
from servers import SERVERS, server
from service import RefusedError, Service, patiently

import optformer as of
from optformer.data.studies.study_config import StudyConfig

SERVICES, WORKERS = 2, 4
LEASE = 15.0  # seconds
STUDY = "/v1/studies/kills"
CONFIG = StudyConfig(of.SearchSpace(x=of.Float(0.0, 1.0)), metric="m", goal="maximize")


def work(folder: Path, addresses: list[str]) -> None:
    """Run trials until a file says that it is enough."""
    rng = random.Random()
    with (folder / f"worker-{uuid.uuid4().hex}.log").open("a", buffering=1) as log:
        while not (folder / "enough").exists():
            rng.shuffle(addresses)
            ask = {"lease": LEASE}
            (trial,) = patiently(addresses, "POST", f"{STUDY}/suggestions", ask)["trials"]
            log.write(f"given {trial['number']}\n")
            time.sleep(rng.uniform(0.0, 0.2))
            value = rng.random()
            log.write(f"measured {value!r}\n")
            path = f"{STUDY}/trials/{trial['number']}/observation"
            try:
                patiently(addresses, "POST", path, {"value": value})
            except RefusedError as refused:  # not even as what comes late
                log.write(f"refused {refused.status}\n")
            else:
                log.write(f"observed {value!r}\n")


def disturb(folder: Path, storage: str, kills: int, rng: random.Random) -> list[str]:
    services = [Service(storage) for _ in range(SERVICES)]
    addresses = [service.address for service in services]
    start_worker = [sys.executable, __file__, "--work", str(folder), *addresses]
    with ExitStack() as stack:
        services[0].start()  # the first one makes the tables
        stack.callback(services[0].kill)
        services[0].await_answer()
        patiently(
            addresses[:1], "POST", "/v1/studies", {"name": "kills", "config": CONFIG.to_dict()}
        )
        for service in services[1:]:
            service.start()
            stack.callback(service.kill)
        workers = [subprocess.Popen(start_worker) for _ in range(WORKERS)]
        stack.callback(lambda: [worker.kill() for worker in workers])
        killed: Counter[str] = Counter()
        began = time.monotonic()
        for count in range(kills):
            time.sleep(rng.uniform(0.0, 8.0))
            if rng.random() < 0.5:
                service = rng.choice(services)
                service.kill()
                service.start()
                killed["servers"] += 1
            else:
                number = rng.randrange(WORKERS)
                workers[number].kill()
                workers[number].wait()
                workers[number] = subprocess.Popen(start_worker)
                killed["workers"] += 1
            if count % 10 == 9:
                print(f"{count + 1} kills, {time.monotonic() - began:.0f} s", flush=True)
        (folder / "enough").touch()
        ended = [worker.wait() for worker in workers]
        time.sleep(LEASE + 15.0)  # whatever the killed workers had is given up by then
        trials = patiently(addresses, "GET", f"{STUDY}/trials")["trials"]
    print(f"killed {dict(killed)}: ", end="")
    faults = [f"a worker ended with status {status}" for status in ended if status]
    return faults + faults_of(folder, trials)


def faults_of(folder: Path, trials: list[dict[str, Any]]) -> list[str]:
    """What is wrong with the study after the kills."""
    told: dict[str, list[str]] = {"given": [], "measured": [], "observed": [], "refused": []}
    for log in folder.glob("worker-*.log"):
        for line in log.read_text().splitlines():
            kind, what = line.split()
            told[kind].append(what)
    stored = Counter(repr(trial["value"]) for trial in trials if trial["value"] is not None)
    statuses = Counter(trial["status"] for trial in trials)
    faults = [
        f"{value} was observed and is not stored"
        for value in told["observed"]
        if value not in stored
    ]
    faults += [f"{value} is stored {n} times" for value, n in stored.items() if n > 1]
    faults += [f"{value} was never measured" for value in stored if value not in told["measured"]]
    faults += [f"trial {n} was given {m} times" for n, m in Counter(told["given"]).items() if m > 1]
    faults += [f"an observation was refused: {status}" for status in told["refused"]]
    faults += [f"trial {t['number']} is pending" for t in trials if t["status"] == "pending"]
    counts = f"{len(trials)} trials {dict(statuses)}, {len(told['observed'])} observed"
    print(f"{counts}, {len(faults)} faults")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--server", choices=SERVERS, help="instead of SQLite")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(Path(args.work[0]), args.work[1:])
        return 0
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        storage = f"sqlite:///{name}/s.db"
        if args.server:
            storage = stack.enter_context(server(args.server)).address
        return report(disturb(Path(name), storage, args.kills, rng))


if __name__ == "__main__":
    sys.exit(main())
