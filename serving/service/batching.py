"""Suggestions are computed in a thread of their own, together where requests meet.

While one batch is computed, requests for the next one gather. A batch has one request a study, so
that every request of a study sees the trials of those before it, as one by one.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from optformer.data.studies.parameters import Value
from optformer.data.studies.trials import Trial
from optformer.serving.service.client_store import Asked
from optformer.serving.service.problems import RETRY_SECONDS, Problem
from optformer.serving.service.served_study import ServedStudy
from optformer.serving.study.planning_ahead import end_processes
from optformer.serving.study.study import prepare_suggestions

_LOG = logging.getLogger("optformer.service")

_LARGEST = 32  # requests of one batch
_READY_SECONDS = 240.0  # since their last plan in which processes have surely not ended


@dataclass(frozen=True, eq=False)
class _Request:
    study: ServedStudy
    asked: Asked
    count: int
    fixed: Mapping[str, Value]
    budget: int | None
    answer: Future[Sequence[Trial]] = field(default_factory=Future)


class _Together:
    """Plans the suggestions of several studies at once, by processes.

    These take seconds to start. Meanwhile each request is planned alone.
    """

    def __init__(self) -> None:
        self._starting: threading.Thread | None = None
        self._ready_until = 0.0

    def plan(self, batch: Sequence[_Request]) -> None:
        """Plan what is better planned together; the rest is planned when it is answered."""
        studies = [r.study for r in batch if r.count == 1 and not r.fixed and r.budget is None]
        if len(studies) < 2:
            return
        if time.monotonic() < self._ready_until:
            self._try(studies)
        elif self._starting is None or not self._starting.is_alive():
            self._starting = threading.Thread(
                target=self._try, args=(studies,), name="optformer-start", daemon=True
            )
            self._starting.start()

    def end(self) -> None:
        """End the processes."""
        if self._starting is not None:
            self._starting.join()
            end_processes()

    def _try(self, studies: Sequence[ServedStudy]) -> None:
        try:
            prepare_suggestions(studies)
        except Exception as error:  # noqa: BLE001 - it comes again where it is somebody's answer
            _LOG.warning("suggestions are computed one by one: %s", error)
        else:
            self._ready_until = time.monotonic() + _READY_SECONDS


class SuggestionQueue:
    """Answers requests for suggestions.

    Args:
        most: Requests that may wait.
        batched: Whether requests of several studies are answered together.
        note_batch: Told the size of every batch.
        prepare: Called first, in the thread that answers.
    """

    def __init__(
        self,
        *,
        most: int,
        batched: bool,
        note_batch: Callable[[int], None],
        prepare: Callable[[], object],
    ) -> None:
        self._most, self._note_batch, self._prepare = most, note_batch, prepare
        self._largest = _LARGEST if batched else 1
        self._waiting: deque[_Request] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._together = _Together()
        self._thread = threading.Thread(target=self._run, name="optformer-suggest", daemon=True)

    def start(self) -> None:
        """Begin to answer; the first request does so, too."""
        with self._changed:
            if not self._thread.is_alive():
                self._thread.start()

    def end(self) -> None:
        """Answer what waits, and end."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        self._together.end()

    async def suggest(
        self,
        study: ServedStudy,
        asked: Asked,
        count: int,
        fixed: Mapping[str, Value],
        budget: int | None,
    ) -> Sequence[Trial]:
        """The trials of one request; see `ServedStudy.hand_out`.

        Raises:
            Problem: Too many requests wait.
            OptFormerError: What the study raises.
        """
        self.start()
        request = _Request(study, asked, count, fixed, budget)
        with self._changed:
            if len(self._waiting) >= self._most:
                raise Problem(
                    429,
                    "ConfigError",
                    field="request",
                    expected=f"at most {self._most} requests that wait for suggestions",
                    got="one more",
                    headers={"Retry-After": str(RETRY_SECONDS)},
                )
            self._waiting.append(request)
            self._changed.notify()
        return await asyncio.wrap_future(request.answer)

    def _run(self) -> None:
        self._prepare()
        while batch := self._take():
            self._note_batch(len(batch))
            self._together.plan(batch)
            for request in batch:
                _answer(request)

    def _take(self) -> list[_Request]:
        """The next batch; empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended)
            batch: dict[int, _Request] = {}
            left: deque[_Request] = deque()
            while self._waiting and len(batch) < self._largest:
                request = self._waiting.popleft()
                known = id(request.study) in batch
                if known:
                    left.append(request)
                else:
                    batch[id(request.study)] = request
            self._waiting.extendleft(reversed(left))
        return list(batch.values())


def _answer(request: _Request) -> None:
    if not request.answer.set_running_or_notify_cancel():
        return  # its client has gone before it was begun
    try:
        trials = request.study.hand_out(request.asked, request.count, request.fixed, request.budget)
    except BaseException as error:  # noqa: BLE001 - it is the answer
        request.answer.set_exception(error)
    else:
        request.answer.set_result(trials)
