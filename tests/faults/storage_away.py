"""Stop a PostgreSQL server under `optformer tune` and start it again; the search goes on."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from searches import Search, report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10, help="how often the server is stopped")
    parser.add_argument("--seconds", type=float, default=8.0, help="for how long at most")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        folder = Path(name)
        with Server(folder / "server").running() as server:
            search = Search(folder, folder / "out", server.address, trials=20 * args.times)
            process = search.start()
            stopped = 0
            while stopped < args.times and process.poll() is None:
                time.sleep(rng.uniform(1.0, 4.0))
                server.stop()
                time.sleep(rng.uniform(0.0, args.seconds))
                server.start()
                stopped += 1
            status = process.wait()
            print(f"server stopped {stopped} times, exit status {status}: ", end="")
            faults = search.faults() + ([f"exit status {status}"] if status else [])
        if faults:
            shutil.copyfile(search.log, "storage_away.log")
            print("what the search wrote is in storage_away.log")
    return report(faults)


class Server:
    """A PostgreSQL server on a port of its own, run by `postgres` when we are root."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._data = folder / "data"
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(folder, self._user)
        self.address = f"postgresql+psycopg://tuner@127.0.0.1:{self._port}/postgres"
        self._run("initdb", "-D", str(self._data), "-U", "tuner", "--auth", "trust")

    @contextmanager
    def running(self) -> Iterator[Server]:
        self.start()
        try:
            yield self
        finally:
            self.stop()

    def start(self) -> None:
        options = f"-p {self._port} -k {self._data} -c listen_addresses=127.0.0.1"
        log = str(self._data / "log")
        self._run("pg_ctl", "-D", str(self._data), "-w", "-l", log, "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self._data), "-w", "-m", "immediate", "stop")

    def _run(self, *command: str) -> None:
        subprocess.run(command, check=True, user=self._user, stdout=subprocess.DEVNULL, cwd="/")


if __name__ == "__main__":
    sys.exit(main())
