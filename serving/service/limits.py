"""How much a client may ask for, and how often."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

_REMEMBERED = 10_000  # clients whose rate is known


@dataclass(frozen=True)
class Limits:
    """What one client may ask for.

    Attributes:
        body: Bytes of a request.
        rate: Requests a second of one owner, or of one address without tokens, in the long run.
        burst: Requests at once.
        studies: Studies of one owner.
        waiting: Requests for suggestions that wait at a time, of all clients.
    """

    body: int = 1 << 20
    rate: float = 200.0
    burst: int = 1000
    studies: int = 1000
    waiting: int = 1000


class Rates:
    """Counts the requests of each client: a bucket that fills at a rate and holds a burst.

    Args:
        rate: Requests a second.
        burst: Requests at once.
        clock: Seconds that only go forward.
    """

    def __init__(
        self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, client: str) -> int:
        """Count a request; the seconds to wait before the next try, 0 when it may pass.

        Args:
            client: Whose request it is.
        """
        now = self._clock()
        with self._lock:
            filled, since = self._buckets.pop(client, (float(self._burst), now))
            filled = min(self._burst, filled + (now - since) * self._rate)
            passes = filled >= 1
            self._buckets[client] = (filled - passes, now)
            if len(self._buckets) > _REMEMBERED:
                self._buckets.popitem(last=False)
        return 0 if passes else math.ceil((1 - filled) / self._rate)
