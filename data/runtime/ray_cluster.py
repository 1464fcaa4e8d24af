"""A connection to a Ray cluster."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

_PATIENCE = 10.0  # seconds until somebody has to answer


@contextmanager
def connection(address: str | None = None) -> Iterator[None]:
    """A block in which Ray is connected; a connection that is there already is left as it is.

    Args:
        address: The cluster, as `ray.init` takes it; without one that of `RAY_ADDRESS`, or else a
            cluster of this machine, which ends with the block.

    Raises:
        OSError: Nobody answers at the address.
        ValueError: The address cannot be read.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    _check(address or os.environ.get("RAY_ADDRESS", ""))
    ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


def _check(address: str) -> None:
    """Look whether somebody is there; Ray tries for minutes, and then ends the process."""
    found = re.fullmatch(r"([^:/]+):(\d+)", address)
    if found is not None:
        socket.create_connection((found[1], int(found[2])), timeout=_PATIENCE).close()
