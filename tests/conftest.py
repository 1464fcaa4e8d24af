"""Settings all tests share."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import settings

# One thread each, subprocesses too: tiny models lose time in pools. Set before torch is loaded.
os.environ["OMP_NUM_THREADS"] = "1"

# The same examples everywhere, no files left behind, and no limit that a busy machine would break.
settings.register_profile("project", database=None, deadline=None, derandomize=True)
settings.load_profile("project")

Weights = dict[str, Any]

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


@pytest.fixture(autouse=True, scope="module")
def _no_idle_workers() -> Iterator[None]:
    """joblib keeps its processes for its next call: end them, they are of this module."""
    yield
    loky = sys.modules.get("joblib.externals.loky.reusable_executor")
    executor = getattr(loky, "_executor", None)
    if executor is not None:
        executor.shutdown(wait=True, kill_workers=True)


@pytest.fixture(scope="session")
def formerly() -> Callable[[Weights], Weights]:
    """Gives weights the names that they had in checkpoints of format 1 to 3."""
    from optformer.model.state_keys import RENAMED

    former = {today: name for name, today in RENAMED.items()}

    def renamed(weights: Weights) -> Weights:
        found = {}
        for name, weight in weights.items():
            module = max((m for m in former if f"{name}.".startswith(f"{m}.")), key=len)
            found[former[module] + name.removeprefix(module)] = weight
        return found

    return renamed
