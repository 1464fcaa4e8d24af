from __future__ import annotations

import signal
import threading
import time

import pytest

from optformer.data.runtime.interrupts import no_interrupt, one_interrupt


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)
    time.sleep(0)  # Python handles a signal between two steps


def test_one_interrupt__pressed_again__only_the_first_counts() -> None:
    pressed: list[int] = []

    def block() -> None:
        with one_interrupt():
            try:
                ctrl_c()
            finally:
                ctrl_c()
                pressed.append(2)

    with pytest.raises(KeyboardInterrupt):
        block()
    assert pressed == [2]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt):
        ctrl_c()


def test_no_interrupt__pressed__is_ignored_inside_alone() -> None:
    with one_interrupt(), no_interrupt():
        ctrl_c()
    with pytest.raises(KeyboardInterrupt):
        ctrl_c()


def test_interrupts__own_handler_or_thread__is_left_alone() -> None:
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        with one_interrupt(), no_interrupt():
            ctrl_c()
    finally:
        signal.signal(signal.SIGINT, before)
    assert pressed == [signal.SIGINT]

    def in_a_thread() -> None:
        with one_interrupt(), no_interrupt():
            pressed.append(0)

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    assert pressed[-1] == 0
