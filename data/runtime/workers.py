"""Processes that make calls, and survive the death of any of them."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from optformer.data.runtime.threads import limit_to_one_thread

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class WorkerPool(Executor):
    """An executor whose processes die alone: the call of a dead one is made again by a new one.

    Calls begin in the order they are submitted. A process uses one thread, is started when there is
    a call for it, and ends with this one, however this one ends. Functions are those of a module,
    or a `functools.partial` of one, so that a fresh process can import them.

    Leaving the pool's block waits for the calls under way and drops those that have not begun.

    Args:
        processes: How many calls are made at a time, at least 1.
        attempts: How many processes may die over a call, at least 1, before its future raises
            `concurrent.futures.process.BrokenProcessPool`.
    """

    def __init__(self, processes: int, *, attempts: int = 3) -> None:
        self._attempts = attempts
        self._threads = ThreadPoolExecutor(processes)
        # A thread hands its calls to a process of its own: a pool of one breaks alone.
        self._processes: dict[int, ProcessPoolExecutor] = {}

    def submit(
        self,
        fn: Callable[_Arguments, _Result],
        /,
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> Future[_Result]:
        """Have a process make a call; see `concurrent.futures.Executor.submit`."""
        return self._threads.submit(self._call, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop the processes; see `concurrent.futures.Executor.shutdown`."""
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
        for process in list(self._processes.values()):
            process.shutdown(wait)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shutdown(cancel_futures=True)

    def _call(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Make a call in the process of this thread."""
        for _ in range(self._attempts):
            try:
                return self._submit(function, args, kwargs).result()
            except BrokenProcessPool:
                self._drop_process()
        raise BrokenProcessPool(f"a worker process died in each of {self._attempts} attempts")

    def _submit(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Future[Any]:
        try:
            return self._process().submit(_call_here, function, args, kwargs)
        except BrokenProcessPool:  # the process died while it had nothing to do
            self._drop_process()
            return self._process().submit(_call_here, function, args, kwargs)

    def _process(self) -> ProcessPoolExecutor:
        thread = threading.get_ident()
        if thread not in self._processes:
            context = multiprocessing.get_context("spawn")  # forking a process with threads hangs
            self._processes[thread] = ProcessPoolExecutor(1, mp_context=context, initializer=_begin)
        return self._processes[thread]

    def _drop_process(self) -> None:
        self._processes.pop(threading.get_ident()).shutdown()


def _begin() -> None:
    """Start the life of a worker process."""
    limit_to_one_thread()  # processes do not fight over cores, and sums do not depend on them
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End a worker whose parent was killed: it would wait for ever for its next call."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _call_here(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Make a call; an error that the parent could not read is replaced by its text."""
    try:
        return function(*args, **kwargs)
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except (pickle.PickleError, AttributeError, TypeError):
            raise RuntimeError(f"{type(error).__name__}: {error}") from error
        raise
