"""The trials of a study on a server."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import TYPE_CHECKING, Any

from optformer.data.runtime.text import shorten
from optformer.data.studies.errors import OptFormerError, StorageError
from optformer.data.studies.parameters import Value
from optformer.data.studies.study_config import StudyConfig, Weighted
from optformer.data.studies.trials import Trial, TrialStatus
from optformer.serving.client.study_routes import Outbox, StudyRoutes, new_key
from optformer.serving.service.wire import number_to_wire, prediction_from_wire, trial_from_wire
from optformer.serving.study.owners import Heartbeat
from optformer.serving.study.trial_store import settled

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

_MOST, _MOST_POINTS = 256, 1000  # trials and points of one request
_BEATS = 5  # in a lease: some may be lost
_REASON_CHARACTERS = 9_900  # the server takes texts of 10,000


class RemoteStore:
    """Asks a server for what `TrialStore` promises; the server itself takes turns.

    Args:
        routes: The routes of the study.
        outbox: Sends its observations.
        config: What its metric means.
        lease: Seconds that the server waits for a sign of whoever has a trial.
    """

    def __init__(
        self, routes: StudyRoutes, outbox: Outbox, config: StudyConfig, lease: float
    ) -> None:
        self.connection, self.outbox = routes.connection, outbox
        self._routes, self._config = routes, config
        self._ended: list[Trial] = []  # the first trials, for as long as all of them have ended
        self._heartbeat = Heartbeat(self._beat, lambda number: None, lease / _BEATS)

    @property
    def address(self) -> str | None:
        """The server's address."""
        return self.connection.url

    def suggest(self, count: int, fixed: Mapping[str, Value]) -> list[Trial]:
        """New pending trials, which this process keeps alive until they are observed."""
        trials: list[Trial] = []
        while len(trials) < count:
            ask = {"count": min(count - len(trials), _MOST), "fixed": dict(fixed)}
            trials += self._suggested(ask)
        return trials

    def suggest_within(self, budget: int) -> Trial | None:
        """A new pending trial; None when the study has as many as `budget`."""
        return next(iter(self._suggested({"budget": budget})), None)

    def preview(self) -> Trial:
        """What would be suggested now."""
        return self._trial(self.call("POST", "/preview"))

    def predict(self, points: Sequence[Mapping[str, Value]]) -> list[Any]:
        """What the server's model expects of points."""
        predicted: list[Any] = []
        for first in range(0, len(points), _MOST_POINTS):
            some = [dict(point) for point in points[first : first + _MOST_POINTS]]
            predicted += self.call("POST", "/predictions", {"points": some})["predictions"]
        return list(map(prediction_from_wire, predicted))

    def suggest_lock(self) -> AbstractContextManager[None]:
        """No lock: the server takes turns."""
        return nullcontext()

    def append(self, trial: Trial) -> Trial:
        """Store a finished trial; one that cannot be sent has no number yet."""
        body = {"params": dict(trial.params), **self._outcome(trial)}
        return self._observe("/observations", body, trial)

    def update(self, trial: Trial) -> Trial:
        """Tell the server what became of a trial; see `TrialStore.update`."""
        observed = self._observe(f"/trials/{trial.number}/observation", self._outcome(trial), trial)
        self._heartbeat.remove(trial.number)
        return observed

    def report(self, trial: Trial, step: int, value: float) -> float:
        """Store what a trial measured at a step; see `TrialStore.report`."""
        if not self.tell(trial, step, number_to_wire(value)):
            return value
        told = self._trial(self.call("GET", f"/trials/{trial.number}"))
        return told.intermediate_values[step]

    def tell(self, trial: Trial, step: int, value: Any) -> list[str]:
        """Store what a trial measured, as it is on the wire; what to warn of."""
        body = {"value": value, "step": step}
        answer = self.call("POST", f"/trials/{trial.number}/reports", body, key=new_key())
        warned: list[str] = answer["warnings"]
        return warned

    def should_prune(self, trial: Trial, pruner: BasePruner) -> bool:
        """Whether the server's pruner would stop a trial."""
        del pruner
        answer = self.call("POST", f"/trials/{trial.number}/should-prune")
        return bool(answer["should_prune"])

    def set_user_attr(self, trial: Trial, key: str, value: Any) -> None:
        """Store something else about a trial; see `TrialStore.set_user_attr`."""
        body = {"key": key, "value": value}
        self.call("POST", f"/trials/{trial.number}/user-attributes", body, key=new_key())

    def enqueue(self, params: Mapping[str, Value]) -> Trial:
        """Store a trial to be handed out; see `TrialStore.enqueue`."""
        return self._trial(self.call("POST", "/enqueued", {"params": dict(params)}, key=new_key()))

    def waiting(self) -> list[Trial]:
        """Trials to be handed out: those that have not begun."""
        return [trial for trial in self._pending() if trial.datetime_start is None]

    def hand_out(self, trial: Trial) -> bool:
        """Not here: the server hands trials out itself, before any suggestion."""
        return False

    def adopt(self, trial: Trial, helper: int | None = None) -> None:
        """Keep a pending trial alive from now on, whoever was given it."""
        self.call("POST", f"/trials/{trial.number}/heartbeat", {"worker": worker_name()})
        self._heartbeat.add(trial.number)

    def under_way(self) -> list[Trial]:
        """Pending trials that somebody runs: the server gives up those of others."""
        return [trial for trial in self._pending() if trial.datetime_start is not None]

    def reclaim(self, *, grace: float, older_than: float | None = None) -> list[Trial]:
        """Have the server give up trials whose owner is gone; see `TrialStore.reclaim`."""
        answer = self.call("POST", "/stale-trials", {"older_than": older_than})
        return list(map(self._trial, answer["trials"]))

    def all(self) -> list[Trial]:
        """All trials by number; those that have ended are read once."""
        known = self._ended
        answer = self.call("GET", "/trials", params={"from": len(known)})
        trials = [*known, *map(self._trial, answer["trials"])]
        pending = (i for i, trial in enumerate(trials) if trial.status is TrialStatus.PENDING)
        self._ended = trials[: next(pending, len(trials))]
        return trials

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Any:
        """Make a request about the study, after the observations that wait."""
        self.flush()
        return self._routes.call(method, path, body, key=key, params=params)

    def flush(self) -> int:
        """Send the observations that wait; see `Outbox.flush`."""
        return self.outbox.flush()

    def _observe(self, path: str, body: Mapping[str, Any], outcome: Trial) -> Trial:
        """Send an observation, or keep it: the trial as recorded, or as it will be."""
        about = f"trial {outcome.number}" if outcome.number >= 0 else "a point"
        answer = self.outbox.send(path, body, about)
        if answer is None:
            return settled(outcome, outcome, datetime.now())
        return self._trial(answer["trial"])

    def _outcome(self, trial: Trial) -> dict[str, Any]:
        """What became of a trial, as it is on the wire."""
        if trial.status is TrialStatus.FAILED:
            return {"failed": shorten(trial.reason or "", _REASON_CHARACTERS)}
        stopped = trial.status is TrialStatus.STOPPED
        if trial.metrics:
            return {"value": dict(trial.metrics), "stopped": stopped}
        if isinstance(self._config.metric, Weighted) or self._config.several:
            return {"stopped": stopped}  # with what it has reported
        return {"value": trial.value, "stopped": stopped}

    def _suggested(self, ask: Mapping[str, Any]) -> list[Trial]:
        body = {**ask, "worker": worker_name()}
        answer = self.call("POST", "/suggestions", body, key=new_key())
        trials = list(map(self._trial, answer["trials"]))
        for trial in trials:
            self._heartbeat.add(trial.number)
        return trials

    def _pending(self) -> list[Trial]:
        answer = self.call("GET", "/trials", params={"status": TrialStatus.PENDING.value})
        return list(map(self._trial, answer["trials"]))

    def _beat(self, number: int) -> None:
        try:
            self._routes.call("POST", f"/trials/{number}/heartbeat", {}, patience=0.0)
        except StorageError as error:
            raise TimeoutError(str(error)) from error  # for a while
        except OptFormerError as error:
            raise KeyError(number) from error  # it has ended

    def _trial(self, described: Mapping[str, Any]) -> Trial:
        return trial_from_wire(described, self._routes.name)


def worker_name() -> str:
    """This process, for people to read."""
    return f"{socket.gethostname()}:{os.getpid()}"
