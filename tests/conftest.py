"""Settings all tests share."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest
from hypothesis import settings

# One thread each, subprocesses too: tiny models lose time in pools. Set before torch is loaded.
os.environ["OMP_NUM_THREADS"] = "1"

# The same examples everywhere, no files left behind, and no limit that a busy machine would break.
settings.register_profile("project", database=None, deadline=None, derandomize=True)
settings.load_profile("project")

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that reaches for another machine fails at once, not when that machine is away."""
    connect = socket.socket.connect

    def loopback_only(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in _LOOPBACK:
            raise RuntimeError(f"tests may not use the network, this one connects to {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", loopback_only)
