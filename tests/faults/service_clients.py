"""Fifty clients ask two servers for trials of one study at once: no point is given twice.

    python tests/faults/service_clients.py [--clients 50] [--server postgresql] [--model]

What the servers draw follows from the number of trials alone: two that do not wait for each other
draw the same point. With `--model` the model suggests instead.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from searches import report
from servers import SERVERS, server
from service import Service, patiently

import optformer as of
from optformer.data.studies.study_config import StudyConfig

SERVICES = 2
STUDY = "/v1/studies/clients"
CONFIG = StudyConfig(of.SearchSpace(x=of.Float(0.0, 1.0)), metric="m", goal="maximize")


def search(addresses: list[str], me: int, each: int) -> tuple[list[float], list[float]]:
    """The points that one client is given, and the seconds that each took."""
    points, seconds = [], []
    for _ in range(each):
        began = time.monotonic()
        addresses = [addresses[-1], *addresses[:-1]]
        (trial,) = patiently(addresses, "POST", f"{STUDY}/suggestions", {})["trials"]
        seconds.append(time.monotonic() - began)
        points.append(trial["params"]["x"])
        path = f"{STUDY}/trials/{trial['number']}/observation"
        if (me + len(points)) % 3:  # a third stays pending
            patiently(addresses, "POST", path, {"value": -abs(points[-1] - 0.3)})
    return points, seconds


def share(storage: str, clients: int, each: int, model: bool) -> list[str]:
    services = [Service(storage, model=model) for _ in range(SERVICES)]
    addresses = [service.address for service in services]
    with ExitStack() as stack:
        for service in services:
            service.start()
            stack.callback(service.kill)
            service.await_answer()
        body = {"name": "clients", "config": CONFIG.to_dict(), "seed": 0}
        patiently(addresses, "POST", "/v1/studies", body)
        began = time.monotonic()
        with ThreadPoolExecutor(clients) as pool:
            found = list(
                pool.map(
                    lambda me: search([addresses[me % 2], addresses[1 - me % 2]], me, each),
                    range(clients),
                )
            )
        took = time.monotonic() - began
        trials: list[dict[str, Any]] = patiently(addresses, "GET", f"{STUDY}/trials")["trials"]
        statuses = [service.end() for service in services]
    given = Counter(x for numbers, _ in found for x in numbers)
    seconds = sorted(s for _, each_took in found for s in each_took)
    print(
        f"{clients} clients, {SERVICES} servers: {given.total()} suggestions, "
        f"{len(given)} distinct, {len(trials)} trials; {given.total() / took:.1f} a second, "
        f"median {seconds[len(seconds) // 2]:.2f} s, longest {seconds[-1]:.2f} s"
    )
    faults = [f"point {x} was given {count} times" for x, count in given.items() if count > 1]
    if len(trials) != given.total():
        faults.append(f"{given.total()} trials were given, {len(trials)} are stored")
    observed = sum(trial["status"] == "completed" for trial in trials)
    wanted = sum((me + i + 1) % 3 != 0 for me in range(clients) for i in range(each))
    if observed != wanted:
        faults.append(f"{wanted} trials were observed, {observed} are completed")
    return faults + [f"a server ended with status {s}" for s in statuses if s != 143]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--each", type=int, default=10, help="trials of a client")
    parser.add_argument("--server", choices=SERVERS, help="instead of SQLite")
    parser.add_argument("--model", action="store_true", help="have the model suggest")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        storage = f"sqlite:///{name}/s.db"
        if args.server:
            storage = stack.enter_context(server(args.server)).address
        return report(share(storage, args.clients, args.each, args.model))


if __name__ == "__main__":
    sys.exit(main())
