"""Which leases have ended, by this process's own clock.

A lease is silent since this process first saw its last sign of life. No clock of the day is asked,
so a clock that jumps ends no lease; a server that starts again gives every client a whole lease.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from optformer.serving.service.client_store import Lease


class Leases:
    """Remembers since when each lease has been silent.

    Args:
        clock: Seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[int, tuple[Lease, float]] = {}

    def ended(self, leases: Iterable[Lease]) -> dict[int, Lease]:
        """The leases that have ended, by their trials' ids.

        Args:
            leases: All leases of the storage, as they are now; the others are forgotten.
        """
        now = self._clock()
        seen = {}
        for lease in leases:
            before, since = self._seen.get(lease.trial_id, (None, now))
            seen[lease.trial_id] = (lease, since if before == lease else now)
        self._seen = seen
        return {
            trial_id: lease
            for trial_id, (lease, since) in seen.items()
            if now - since >= lease.seconds
        }
