"""Stop the database under a server and start it again: 503 meanwhile, then all goes on.

python tests/faults/service_database.py [--stops 10] [--server postgresql]
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from searches import report
from servers import SERVERS, Server, server
from service import PATIENCE, RefusedError, Service, patiently, request

import optformer as of
from optformer.data.studies.study_config import StudyConfig

CLIENTS = 4
STUDY = "/v1/studies/database"
CONFIG = StudyConfig(of.SearchSpace(x=of.Float(0.0, 1.0)), metric="m", goal="maximize")


def search(address: str, me: int, ended: threading.Event, answers: Counter[int]) -> list[float]:
    """The values that one client was told are stored."""
    rng, observed = random.Random(me), []
    while not ended.is_set():
        (trial,) = keep_asking(address, f"{STUDY}/suggestions", {}, answers)["trials"]
        value = rng.random()
        path = f"{STUDY}/trials/{trial['number']}/observation"
        keep_asking(address, path, {"value": value}, answers)
        observed.append(value)
    return observed


def keep_asking(address: str, path: str, body: dict, answers: Counter[int]) -> dict:  # type: ignore[type-arg]
    """A request with a key, repeated while the database is away; counts the answers."""
    key = f"{time.monotonic_ns()}-{threading.get_ident()}"
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            answer = request(address, "POST", path, body, key)
        except RefusedError as refused:
            answers[refused.status] += 1
            if refused.status != 503 or time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            answers[200] += 1
            return answer


def disturb(database: Server, stops: int, rng: random.Random) -> list[str]:
    service = Service(database.address)
    service.start()
    answers: Counter[int] = Counter()
    ended = threading.Event()
    back = []
    try:
        service.await_answer()
        body = {"name": "database", "config": CONFIG.to_dict()}
        patiently([service.address], "POST", "/v1/studies", body)
        with ThreadPoolExecutor(CLIENTS) as pool:
            found = [
                pool.submit(search, service.address, me, ended, answers) for me in range(CLIENTS)
            ]
            for _ in range(stops):
                time.sleep(rng.uniform(1.0, 4.0))
                database.stop()
                time.sleep(rng.uniform(0.5, 4.0))
                database.start()
                began, before = time.monotonic(), answers[200]
                while answers[200] == before and time.monotonic() - began < 60:
                    time.sleep(0.05)
                back.append(time.monotonic() - began)
            ended.set()
            observed = [value for future in found for value in future.result()]
        trials = patiently([service.address], "GET", f"{STUDY}/trials")["trials"]
    finally:
        ended.set()
        service.kill()
    stored = Counter(trial["value"] for trial in trials if trial["value"] is not None)
    pending = sum(trial["status"] == "pending" for trial in trials)
    print(
        f"stopped {stops} times: {dict(answers)} answers by status, {len(observed)} values "
        f"observed, {len(trials)} trials, {pending} pending; back after "
        f"{sorted(back)[len(back) // 2]:.1f} s (median), {max(back):.1f} s (longest)"
    )
    faults = [
        f"{value} was observed and is not stored" for value in observed if value not in stored
    ]
    faults += [f"{value} is stored {count} times" for value, count in stored.items() if count > 1]
    faults += [f"an answer had status {s}" for s in answers if s not in (200, 503)]
    if not answers[503]:
        faults.append("no request was told that the database is away")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stops", type=int, default=10)
    parser.add_argument("--server", choices=SERVERS, default="postgresql")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with server(args.server) as database:
        return report(disturb(database, args.stops, random.Random(args.seed)))


if __name__ == "__main__":
    sys.exit(main())
