"""Servers of `optformer serve` for a test, and clients that repeat what was not answered."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RANDOM = ROOT / "serving" / "cli" / "random_optformer.py"
_MAIN = "import sys; from optformer.serving.cli import main; sys.exit(main())"
START_SECONDS = 120.0
PATIENCE = 180.0  # seconds for which a request is repeated


class RefusedError(Exception):
    """An answer that repeating does not change.

    Args:
        status: Its status.
        told: Its body.
    """

    def __init__(self, status: int, told: str) -> None:
        super().__init__(f"{status}: {told}")
        self.status = status


class Service:
    """A server on a port of its own, which can be killed and started again.

    Args:
        storage: Where the studies are.
        options: Options of `optformer serve`.
        model: Whether the model suggests; otherwise points are drawn at random.
    """

    def __init__(self, storage: str, *options: str, model: bool = False) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        program = ["-c", _MAIN] if model else [str(RANDOM)]
        self._command = [
            *(sys.executable, "-P", *program),
            *("serve", "--storage", storage, "--port", str(port), "--rate", "100000", *options),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it answers some time later."""
        self._process = subprocess.Popen(
            self._command, stderr=subprocess.DEVNULL, start_new_session=True
        )

    def await_answer(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                request(self.address, "GET", "/health")
            except (OSError, RefusedError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return

    def kill(self) -> None:
        """End it at once, and the processes that it has started."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def end(self) -> int:
        """End it in order; its exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait()


def request(
    address: str,
    method: str,
    path: str,
    body: Any = None,
    key: str | None = None,
    token: str | None = None,
) -> dict[str, Any]:
    """One request, once."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    if key is not None:
        headers["Idempotency-Key"] = key
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    asked = urllib.request.Request(address + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
            read: dict[str, Any] = json.loads(answer.read() or b"{}")
            return read
    except urllib.error.HTTPError as error:
        raise RefusedError(error.code, error.read().decode()) from None


def patiently(
    addresses: list[str], method: str, path: str, body: Any = None, key: str | None = None
) -> dict[str, Any]:
    """A request of a key of its own, repeated at all servers until one answers."""
    key = key or uuid.uuid4().hex
    deadline = time.monotonic() + PATIENCE
    tries = 0
    while True:
        address = addresses[tries % len(addresses)]
        tries += 1
        try:
            return request(address, method, path, body, key)
        except RefusedError as refused:
            if refused.status not in (429, 503) or time.monotonic() > deadline:
                raise
        except (OSError, ValueError):  # killed while it answered, or not there yet
            if time.monotonic() > deadline:
                raise
        time.sleep(min(0.1 * tries, 1.0))
