"""One thread instead of many.

Small matrices gain nothing from more; several threads wait for each other at every operation, on a
busy machine for seconds; and sums round alike everywhere when one thread adds them up.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Have torch use one thread, then as many as before.

    The setting is the process's: blocks that run at once in several threads of Python may leave
    torch with one.
    """
    import torch

    before = torch.get_num_threads()
    if before == 1:  # set explicitly, it would outlast a limit that is in force for now
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def one_thread() -> Iterator[None]:
    """Have torch and the loaded libraries of linear algebra use one thread, then as before."""
    from threadpoolctl import threadpool_limits

    with one_torch_thread(), threadpool_limits(1):
        yield


def limit_to_one_thread() -> None:
    """Give this process one thread for good, in libraries that are loaded later, too."""
    from threadpoolctl import threadpool_limits

    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = "1"
    threadpool_limits(1)
