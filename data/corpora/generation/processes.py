"""Spread calls over processes, so that one that dies takes only its own call with it."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

Job = TypeVar("Job", bound=Hashable)


def run_jobs(
    function: Callable[[Job], None], jobs: Sequence[Job], processes: int
) -> Iterator[tuple[Job, BaseException | None]]:
    """Call a function on all jobs, each process with one thread.

    A job whose process died is tried once more, after the others.

    Args:
        function: Of a module, so that a fresh process can import it.
        jobs: Its arguments, each different.
        processes: How many to start, at least 1.

    Yields:
        Each job when it is done, with what it raised, or None.
    """
    waiting = deque(jobs)
    retried: set[Job] = set()
    running: dict[Future[None], tuple[Job, ProcessPoolExecutor]] = {}
    # A pool of one process each: when a process dies, its pool is the only one that breaks.
    idle = [_pool() for _ in range(min(processes, len(jobs)))]
    try:
        while waiting or running:
            while waiting and idle:
                pool = idle.pop()
                job = waiting.popleft()
                try:
                    future = pool.submit(function, job)
                except BrokenProcessPool:  # its process died while it had nothing to do
                    pool = _pool()
                    future = pool.submit(function, job)
                running[future] = job, pool
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job, pool = running.pop(future)
                error = future.exception()
                if isinstance(error, BrokenProcessPool):
                    pool.shutdown()
                    pool = _pool()
                    if job not in retried:
                        retried.add(job)
                        waiting.append(job)
                        idle.append(pool)
                        continue
                idle.append(pool)
                yield job, error
    finally:
        for pool in [*idle, *(pool for _, pool in running.values())]:
            pool.shutdown(cancel_futures=True)


def _pool() -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")  # forking a process with threads hangs
    return ProcessPoolExecutor(1, mp_context=context, initializer=_prepare)


def _prepare() -> None:
    """One thread, so that processes do not fight over cores and sums do not depend on them."""
    from threadpoolctl import threadpool_limits

    for library in ("OMP", "OPENBLAS", "MKL"):  # those that are loaded later, torch's too
        os.environ[f"{library}_NUM_THREADS"] = "1"
    threadpool_limits(1)
    parent = multiprocessing.parent_process()
    if parent is not None:

        def end_with_parent() -> None:  # the pool alone would wait for ever
            parent.join()
            os._exit(1)

        threading.Thread(target=end_with_parent, daemon=True).start()
