"""Random numbers of the process, which are the caller's."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def random_untouched() -> Iterator[None]:
    """Put the generator of `random` back as it was: some libraries draw when they are imported."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)
