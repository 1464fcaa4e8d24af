"""Database servers of a test's own, which can be stopped and started again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

PLACES = (*Path("/usr/lib/postgresql").glob("*/bin"), Path("/usr/sbin"), Path("/usr/local/bin"))
START_SECONDS = 60.0


class Server(ABC):
    """A database server on a port of its own.

    Args:
        folder: Where its data will be; made here.
    """

    user: str  # of the system, who runs it when we are root

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        if os.geteuid() == 0:
            shutil.chown(folder, self.user)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.data = folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._run(*self.prepare())

    @property
    @abstractmethod
    def address(self) -> str:
        """Of an empty database."""

    @abstractmethod
    def prepare(self) -> list[str]:
        """The command that makes the data of the server."""

    @abstractmethod
    def serve(self) -> list[str]:
        """The command that runs the server."""

    def start(self) -> None:
        """Start it and wait until it answers."""
        log = subprocess.DEVNULL
        self._process = subprocess.Popen(
            _found(self.serve()), user=self._user, stdout=log, stderr=log, cwd="/"
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"{type(self).__name__} does not start")
            time.sleep(0.1)

    def stop(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()

    @contextmanager
    def running(self) -> Iterator[Server]:
        """Have it run."""
        self.start()
        try:
            yield self
        finally:
            self.stop()

    @property
    def _user(self) -> str | None:
        return self.user if os.geteuid() == 0 else None

    def _answers(self) -> bool:
        from sqlalchemy import NullPool, create_engine
        from sqlalchemy.exc import SQLAlchemyError

        try:
            create_engine(self.address, poolclass=NullPool).connect().close()
        except SQLAlchemyError:
            return False
        return True

    def _run(self, *command: str) -> None:
        subprocess.run(_found(command), check=True, user=self._user, capture_output=True, cwd="/")


class PostgreSQL(Server):
    """PostgreSQL, of the Debian package `postgresql`; needs `pip install "psycopg[binary]"`."""

    user = "postgres"

    @property
    def address(self) -> str:
        return f"postgresql+psycopg://tuner@127.0.0.1:{self.port}/postgres"

    def prepare(self) -> list[str]:
        return ["initdb", "-D", str(self.data), "-U", "tuner", "--auth", "trust", "--no-sync"]

    def serve(self) -> list[str]:
        listen = ["-k", str(self.data), "-c", "listen_addresses=127.0.0.1"]
        return ["postgres", "-D", str(self.data), "-p", str(self.port), *listen]


class MariaDB(Server):
    """MariaDB, of the Debian package `mariadb-server`; needs `pip install pymysql`."""

    user = "mysql"

    @property
    def address(self) -> str:
        return f"mysql+pymysql://root@127.0.0.1:{self.port}/test"

    def prepare(self) -> list[str]:
        options = ["--auth-root-authentication-method=normal", "--skip-name-resolve"]
        return ["mariadb-install-db", "--no-defaults", f"--datadir={self.data}", *options]

    def serve(self) -> list[str]:
        place = [f"--datadir={self.data}", f"--socket={self.data}/socket", f"--port={self.port}"]
        return ["mariadbd", "--no-defaults", *place, "--bind-address=127.0.0.1"]

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


SERVERS: dict[str, type[Server]] = {"postgresql": PostgreSQL, "mariadb": MariaDB}


@contextmanager
def server(kind: str) -> Iterator[Server]:
    """A running server of a kind, whose data go away with it."""
    with TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        with SERVERS[kind](Path(name) / kind).running() as running:
            yield running


def _found(command: list[str] | tuple[str, ...]) -> list[str]:
    """A command with the path of its program, which Debian keeps off the usual ones."""
    program, *arguments = command
    path = os.pathsep.join([os.environ.get("PATH", ""), *map(str, PLACES)])
    found = shutil.which(program, path=path)
    if found is None:
        raise FileNotFoundError(f"{program} is not installed")
    return [found, *arguments]
