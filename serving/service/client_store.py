"""A study whose pending trials belong to clients, not to the process that stores them.

A client has its trial for a lease, which every sign of life renews. A write knows the request that
asked for it, so that a request that is repeated finds what it has done, whichever process answers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from optformer.data.studies.errors import TrialError
from optformer.data.studies.parameters import Value
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.serving.service.problems import Problem
from optformer.serving.service.wire import explanation_from_wire, explanation_to_wire
from optformer.serving.study.optuna_store import HEARTBEAT, MARK, OWNER, OptunaStore
from optformer.serving.study.optuna_trials import RECORD

_SUGGESTED = "optformer:suggested"  # trial system attribute: the request that was given it
_ENQUEUED = "optformer:enqueued"  # the same: the request that has enqueued it
_OBSERVED = "optformer:observed"  # the same: the request that has observed it
_EXPLANATION = "optformer:explanation"  # the same: why it was suggested

_AT_ONCE = 0.02  # seconds; a plan takes longer

DEFAULT_LEASE = 300.0
"""Seconds that a client has a trial for after its last sign of life."""


@dataclass(frozen=True)
class Asked:
    """Who asks for a write.

    Attributes:
        key: The client's name of the request, the same when it is repeated; None when it is not.
        digest: What tells this request from another one.
        lease: Seconds for which pending trials are the client's, from its last sign of life; None
            leaves the lease that a trial has.
        worker: Who runs them, for people to read.
    """

    key: str | None = None
    digest: str = ""
    lease: float | None = None
    worker: str | None = None


@dataclass(frozen=True)
class Lease:
    """How long a client has a pending trial for.

    Attributes:
        trial_id: The trial's id in the storage.
        sign: What the last sign of life has left; every sign leaves another one.
        seconds: How long it holds from there.
    """

    trial_id: int
    sign: str
    seconds: float


def read_lease(frozen: FrozenTrial) -> Lease | None:
    """The lease of a trial, None where no client has it."""
    owner = frozen.system_attrs.get(OWNER)
    if frozen.state is not TrialState.RUNNING or not isinstance(owner, dict):
        return None
    seconds = owner.get("lease")
    if not isinstance(seconds, int | float):
        return None
    return Lease(frozen._trial_id, repr(frozen.system_attrs.get(HEARTBEAT)), float(seconds))


class ClientStore(OptunaStore):
    """Keeps the trials of one study for its clients; see `OptunaStore`."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._asking = threading.local()  # each request has a thread of its own

    @property
    def described(self) -> Mapping[str, Any]:
        """The study's record, and what was noted beside it; empty of a study of Optuna's."""
        attributes = self._ask(
            "read a study", lambda: self._storage.get_study_user_attrs(self._study_id)
        )
        found: Mapping[str, Any] = attributes.get(RECORD) or {}
        return found

    @contextmanager
    def asked(self, asked: Asked) -> Iterator[None]:
        """What this thread writes meanwhile is asked for by a client."""
        self._asking.now = asked
        try:
            yield
        finally:
            self._asking.now = Asked()

    @property
    def _asked(self) -> Asked:
        asked: Asked = getattr(self._asking, "now", Asked())
        return asked

    def suggested(self) -> list[Trial]:
        """The trials that the request under way was given before, in order.

        Raises:
            Problem: Its key is that of another request.
        """
        found = self._written(_SUGGESTED)
        for frozen in found:  # it is in safe hands, whether or not its writer was told
            self._unsure.pop(str(frozen.system_attrs.get(MARK)), None)
        return [self._trial(frozen) for frozen in found]

    def observed(self) -> Trial | None:
        """The trial that the request under way has observed before; raises as `suggested`."""
        return next(map(self._trial, self._written(_OBSERVED)), None)

    def read(self, number: int) -> Trial | None:
        """One trial, read alone: much quicker than all where many are pending; None without it."""
        frozen = self._read(number)
        return None if frozen is None else self._trial(frozen)

    def is_observed(self, number: int) -> bool:
        """Whether the request under way has observed a trial before; raises as `suggested`."""
        frozen = self._read(number)
        if frozen is None or not frozen.state.is_finished():
            return False
        if frozen.system_attrs.get(_OBSERVED) is None:  # it may have come late, as a new trial
            return self.observed() is not None
        return bool(self._of_request([frozen], _OBSERVED))

    @contextmanager
    def reads_together(self) -> Iterator[None]:
        """Reads of this thread that follow at once see the same; for whoever has the turn."""
        self._asking.together = True
        self._asking.frozen = None
        try:
            yield
        finally:
            self._asking.together = False

    def hand_out(self, trial: Trial) -> bool:
        """Turn an enqueued trial into a pending one; see `TrialStore.hand_out`."""
        self._asking.frozen = None
        return super().hand_out(trial)

    def _frozen(self) -> list[FrozenTrial]:
        if not getattr(self._asking, "together", False):
            return super()._frozen()
        known = self._asking.frozen
        if known is None or time.monotonic() - known[1] > _AT_ONCE:
            known = self._asking.frozen = (super()._frozen(), time.monotonic())
        frozen: list[FrozenTrial] = known[0]
        return frozen

    def _read(self, number: int) -> FrozenTrial | None:
        wanted = Trial(number=number, params={}, study=self._study.study_name)
        try:
            trial_id = self._trial_id(wanted)
        except TrialError:
            return None
        what = f"read trial {number} of study {wanted.study!r}"
        return self._ask(what, lambda: self._storage.get_trial(trial_id))

    def enqueue(self, params: Mapping[str, Value]) -> Trial:
        """Store a trial to be handed out, once a request; see `TrialStore.enqueue`."""
        with self._locks.write():
            found = self._written(_ENQUEUED)
            return self._trial(found[0]) if found else super().enqueue(params)

    def append(self, trial: Trial) -> Trial:
        """Store a new trial, a finished one once a request; see `TrialStore.append`."""
        if trial.status is TrialStatus.PENDING:
            return super().append(trial)
        with self._locks.write():
            return self.observed() or super().append(trial)

    def beat(self, trial: Trial) -> None:
        """Renew the lease of a pending trial; whoever asks for a lease of its own takes it over.

        Raises:
            TrialError: It has ended.
        """
        what = f"renew the lease of trial {trial.number} of study {trial.study!r}"
        trial_id, frozen = self._running(what, trial)
        if frozen.state is not TrialState.RUNNING:
            return  # nobody has it yet
        if self._asked.lease is None:
            now = time.time()
            self._tell(
                what,
                trial,
                lambda: self._storage.set_trial_system_attr(trial_id, HEARTBEAT, now),
            )
        else:
            self._tell(what, trial, lambda: self._own(trial_id))

    def expire(self, leases: Mapping[int, Lease]) -> list[Trial]:
        """Fail trials whose leases have ended, as interrupted, unless their clients have said more.

        Args:
            leases: The leases that have ended, by the trial's id.
        """

        def is_silent(frozen: FrozenTrial) -> bool:
            lease = leases.get(frozen._trial_id)
            return lease is not None and read_lease(frozen) == lease

        return self._give_up(is_silent)

    def _claim(self, helper: int | None = None) -> dict[str, Any]:
        asked = self._asked
        worker = {} if asked.worker is None else {"worker": asked.worker}
        return {HEARTBEAT: time.time(), OWNER: {"lease": asked.lease or DEFAULT_LEASE, **worker}}

    def _keep_alive(self, trial_id: int) -> None:
        """Nothing: the client says itself that it is there."""

    def _append(self, template: FrozenTrial, trial: Trial) -> Trial:
        request = self._request()
        if template.state is TrialState.RUNNING:
            wired = explanation_to_wire(trial.explanation)
            explained = {} if wired is None else {_EXPLANATION: wired}
            marks = {**explained, **({_SUGGESTED: request} if request else {})}
        else:
            name = _ENQUEUED if template.state is TrialState.WAITING else _OBSERVED
            marks = {name: request} if request else {}
        template.system_attrs = {**template.system_attrs, **marks}
        self._asking.frozen = None
        return super()._append(template, trial)

    def _run(self, trial_id: int, trial: Trial, mark: str | None = None) -> None:
        request = self._request()
        if mark is not None and request:  # it is handed out
            self._storage.set_trial_system_attr(trial_id, _SUGGESTED, request)
        super()._run(trial_id, trial, mark)

    def _finish(self, trial_id: int, trial: Trial) -> None:
        request = self._request()
        if request and not trial.interrupted:
            self._storage.set_trial_system_attr(trial_id, _OBSERVED, request)
        super()._finish(trial_id, trial)

    def _observe_finished(self, stored: Trial, trial: Trial) -> Trial:
        return self.observed() or super()._observe_finished(stored, trial)

    def _explanation(self, frozen: FrozenTrial) -> Any:
        return explanation_from_wire(frozen.system_attrs.get(_EXPLANATION))

    def _request(self) -> dict[str, str] | None:
        """What tells which request is under way; None when it has no key."""
        asked = self._asked
        return None if asked.key is None else {"key": asked.key, "digest": asked.digest}

    def _written(self, attribute: str) -> list[FrozenTrial]:
        """The trials that the request under way has written, by number."""
        return self._of_request(self._frozen(), attribute) if self._request() else []

    def _of_request(self, trials: list[FrozenTrial], attribute: str) -> list[FrozenTrial]:
        """Those of some trials that the request under way has written."""
        request = self._request()
        if request is None:
            return []
        found = [
            frozen
            for frozen in trials
            if (frozen.system_attrs.get(attribute) or {}).get("key") == request["key"]
        ]
        if any(frozen.system_attrs[attribute] != request for frozen in found):
            raise key_of_another(request["key"])
        return found


def key_of_another(key: str) -> Problem:
    """The answer to a key that another request has used."""
    return Problem(
        422,
        "ConfigError",
        field="Idempotency-Key",
        expected="a new key for a new request; this one was used with another path or body",
        got=key,
    )
