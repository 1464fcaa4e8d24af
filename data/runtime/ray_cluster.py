"""A connection to a Ray cluster."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def connection(address: str | None = None) -> Iterator[None]:
    """A block in which Ray is connected; a connection that is there already is left as it is.

    Args:
        address: The cluster, as `ray.init` takes it; without one that of `RAY_ADDRESS`, or else a
            cluster of this machine, which ends with the block.

    Raises:
        ConnectionError: There is no cluster at the address.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()
