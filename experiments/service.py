"""How many suggestions a second a server makes, and how long one takes, beside Optuna's TPE.

python experiments/service.py --out docs/results/data/service.csv

The server is a process of its own, on an SQLite file or in memory; its clients are threads of this
one: both share the machine. Each client has a study of its own and asks for a trial as soon as it
has observed the one before. A study begins with twenty trials, so that TPE is past its random
start.
"""

from __future__ import annotations

import argparse
import csv
import http.client
import json
import math
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

PLANNERS = ("optformer, batched", "optformer, one by one", "tpe")
STORAGES = ("SQLite", "memory")
CLIENTS = (1, 10, 50)
BEFORE = 20  # trials of a study before it is timed
_STARTING = 10.0  # seconds
SUGGESTIONS = {1: 40, 10: 20, 50: 6}  # of each client, that are timed
CONFIG = {
    "metric": "loss",
    "goal": "minimize",
    "metadata": {"task": "classification", "model": "perceptron"},
    "space": {
        **{
            f"rate_{i}": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True} for i in range(4)
        },
        **{f"layers_{i}": {"type": "int", "low": 1, "high": 8} for i in range(2)},
        "optimizer": {"type": "categorical", "choices": ["adam", "sgd", "lion"]},
    },
}


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        storage: Where studies are kept, one of `STORAGES`.
        planner: Who suggests, one of `PLANNERS`.
        clients: How many ask at a time.
        per_second: Suggestions a second, each observed before the next.
        p50: Median milliseconds from the request for a suggestion to its answer.
        p99: Their 99th percentile.
        load: Processes that wanted the processor before, a minute's average.
    """

    storage: str
    planner: str
    clients: int
    per_second: float
    p50: float
    p99: float
    load: float


def loss(params: Mapping[str, Any]) -> float:
    """Something smooth in all numbers of the space."""
    rates = [(math.log10(params[f"rate_{i}"]) + 3) ** 2 for i in range(4)]
    layers = [(params[f"layers_{i}"] - 3) ** 2 / 10 for i in range(2)]
    return sum(rates) + sum(layers) + (params["optimizer"] != "adam")


class TPE:
    """Optuna's TPE sampler where a server expects a planner."""

    def __init__(self, record: Any) -> None:
        from optformer.data.methods import METHODS

        self._method = METHODS["tpe"](record.config)

    def suggest(
        self, config: Any, history: Sequence[Any], count: int, *, seed: int, fixed: Any = None
    ) -> list[Any]:
        """Propose points; fixed values are not used here."""
        from optformer.planning.planner import Suggestion

        rng = np.random.default_rng([seed, len(history)])
        points = self._method.suggest(history, count, rng)
        return [Suggestion(point, None) for point in points]  # type: ignore[arg-type]


def serve(planner: str, storage: str, port: int) -> None:
    """Be the server."""
    import uvicorn
    from optuna.storages import InMemoryStorage

    from optformer.serving.service.app import create_app
    from optformer.serving.service.limits import Limits

    make: Any = TPE if planner == "tpe" else None
    limits = Limits(rate=1e9, burst=10**9)
    batched = planner != "optformer, one by one"
    kept: Any = storage or InMemoryStorage()
    app = create_app(kept, limits=limits, batched=batched, make_planner=make)
    uvicorn.run(app, port=port, log_level="warning", access_log=False, timeout_keep_alive=300)


class Client:
    """One connection, which is kept."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The answer to a request.

        Raises:
            RuntimeError: It is an error.
        """
        headers = {"Content-Type": "application/json"}
        self._connection.request("POST", f"/v1{path}", json.dumps(body), headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{path}: {answer.status} {text.decode()}")
        return json.loads(text)


def create(client: Client, name: str, seed: int) -> None:
    """Make a study with its first trials."""
    from optformer.data.studies.spaces import SearchSpace

    client.post("/studies", {"name": name, "config": CONFIG, "seed": seed})
    space, rng = SearchSpace.from_dict(CONFIG["space"]), np.random.default_rng(seed)  # type: ignore[arg-type]
    for _ in range(BEFORE):
        params = space.sample(rng)
        client.post(f"/studies/{name}/observations", {"params": params, "value": loss(params)})


def search(client: Client, name: str, count: int, begun: threading.Barrier) -> list[float]:
    """Suggest and observe; the seconds that each suggestion took."""
    seconds = []
    begun.wait()
    for _ in range(count):
        started = time.perf_counter()
        (trial,) = client.post(f"/studies/{name}/suggestions", {})["trials"]
        seconds.append(time.perf_counter() - started)
        path = f"/studies/{name}/trials/{trial['number']}/observation"
        client.post(path, {"value": loss(trial["params"])})
    return seconds


def measure(storage: str, planner: str, clients: int, port: int, wanted: int) -> Row:
    """Time clients that ask at a time."""
    load = os.getloadavg()[0]
    connections = [Client(port) for _ in range(clients)]
    names = [f"{clients}-{i}" for i in range(clients)]
    for seed, (client, name) in enumerate(zip(connections, names, strict=True)):
        create(client, name, seed)
    ready = threading.Barrier(clients + 1)
    with ThreadPoolExecutor(clients) as pool:
        for pause in (_STARTING, 0):  # what is not loaded yet, and processes that plan, start
            warm = threading.Barrier(clients)
            list(pool.map(lambda i: search(connections[i], names[i], 1, warm), range(clients)))  # noqa: B023
            time.sleep(pause)
        running = [
            pool.submit(search, connections[i], names[i], wanted, ready) for i in range(clients)
        ]
        ready.wait()
        started = time.perf_counter()
        seconds = [second for run in running for second in run.result()]
        took = time.perf_counter() - started
    p50, p99 = np.quantile(seconds, [0.5, 0.99]) * 1000
    return Row(storage, planner, clients, len(seconds) / took, float(p50), float(p99), load)


def with_server(storage: str, planner: str, use: Callable[[int], None]) -> None:
    """Use a server that is there as long as that takes."""
    with tempfile.TemporaryDirectory() as folder:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        address = f"sqlite:///{folder}/studies.db" if storage == "SQLite" else ""
        options = ["--serve", planner, "--storage", address, "--port", str(port)]
        server = subprocess.Popen([sys.executable, __file__, *options])
        try:
            _wait(port, server)
            use(port)
        finally:
            server.terminate()
            server.wait()


def _wait(port: int, server: subprocess.Popen[bytes]) -> None:
    while server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"the server ended with status {server.returncode}")


def main() -> None:
    """Measure, and write a line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--storages", nargs="+", default=STORAGES, choices=STORAGES)
    parser.add_argument("--planners", nargs="+", default=PLANNERS, choices=PLANNERS)
    parser.add_argument("--clients", nargs="+", type=int, default=CLIENTS)
    parser.add_argument("--share", type=float, default=1.0, help="of the suggestions to time")
    parser.add_argument("--out", type=Path, metavar="CSV")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--storage", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve, args.storage, args.port)
        return

    rows: list[Row] = []

    def measure_all(port: int) -> None:
        for clients in args.clients:
            wanted = math.ceil(args.share * SUGGESTIONS.get(clients, 6))
            row = measure(storage, planner, clients, port, wanted)
            print(row, flush=True)
            rows.append(row)

    for storage, planner in product(args.storages, args.planners):
        with_server(storage, planner, measure_all)
    if args.out:
        with args.out.open("w", newline="") as file:
            table = csv.DictWriter(file, [*asdict(rows[0])], lineterminator="\n")
            table.writeheader()
            table.writerows(
                {k: f"{v:.1f}" if isinstance(v, float) else v for k, v in asdict(row).items()}
                for row in rows
            )


if __name__ == "__main__":
    main()
