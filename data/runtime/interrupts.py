"""Ctrl-C that comes once: what it has begun is not cut short by pressing it again."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


@contextmanager
def one_interrupt() -> Iterator[None]:
    """Let Ctrl-C interrupt the block once, and ignore it from then to the block's end.

    Nothing changes in other threads than the main one, or where the program has a handler of its
    own for Ctrl-C.
    """
    with _handled_by(_interrupt):
        yield


@contextmanager
def no_interrupt() -> Iterator[None]:
    """Ignore Ctrl-C in the block, in the same cases."""
    with _handled_by(signal.SIG_IGN):
        yield


@contextmanager
def _handled_by(
    handler: Callable[[int, FrameType | None], NoReturn] | signal.Handlers,
) -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    ours = before in (signal.default_int_handler, _interrupt)
    if not ours or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt
