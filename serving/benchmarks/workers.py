"""Spread calls over this process, over processes of this machine, or over a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from optformer.data.runtime.ray_cluster import connection
from optformer.data.runtime.workers import WorkerPool
from optformer.data.studies.errors import ObjectiveError
from optformer.data.studies.extras import importing

Item = TypeVar("Item")
Result = TypeVar("Result")

_DIED = (
    "a worker process died (out of memory?); finished runs are kept, "
    "run the same command again with fewer workers"
)


class BenchmarkWorkers(Protocol):
    """Something that calls functions."""

    def run(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result]]:
        """Call a function of a module on all items.

        Returns:
            Each item with its result, in the order in which they are ready.

        Raises:
            ObjectiveError: A worker process died.
        """


@contextmanager
def open_workers(processes: int, *, ray: bool = False) -> Iterator[BenchmarkWorkers]:
    """Start workers and stop them in the end.

    Args:
        processes: How many processes; 1 is this one.
        ray: Call on a Ray cluster instead, a CPU a call: the one that is connected already, else
            the one of the variable RAY_ADDRESS, else a local one that starts now.

    Raises:
        MissingExtraError: Ray is wanted and not installed.
    """
    if ray:
        with _ray_cluster() as workers:
            yield workers
    elif processes == 1:
        yield _ThisProcess()
    else:
        with WorkerPool(processes, attempts=1) as pool:
            yield _Processes(pool)


class _ThisProcess:
    def run(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result]]:
        for item in items:
            yield item, function(item)


class _Processes:
    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool

    def run(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result]]:
        waiting = {self._pool.submit(function, item): item for item in items}
        for done in as_completed(waiting):
            try:
                result = done.result()
            except BrokenProcessPool as error:
                raise ObjectiveError(_DIED) from error
            yield waiting[done], result


class _RayCluster:
    def __init__(self, ray: Any) -> None:
        self._ray = ray

    def run(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result]]:
        errors = self._ray.exceptions
        remote = self._ray.remote(num_cpus=1)(function)
        waiting = {remote.remote(item): item for item in items}
        while waiting:
            (done,), _ = self._ray.wait(list(waiting))
            try:
                result = self._ray.get(done)
            except errors.RayTaskError as error:
                raise error.cause from error  # what the function raised, as in this process
            except errors.RayError as error:
                raise ObjectiveError(_DIED) from error
            yield waiting.pop(done), result


@contextmanager
def _ray_cluster() -> Iterator[BenchmarkWorkers]:
    with importing("runs on a cluster", "ray", extra="ray"):
        import ray
    with connection():
        yield _RayCluster(ray)
